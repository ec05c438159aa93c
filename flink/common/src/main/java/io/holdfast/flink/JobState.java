package io.holdfast.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.runtime.checkpoint.CheckpointIDCounter;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;

/**
 * The checkpoint ids of one job under one leadership. Ids come in blocks that the daemon never hands out again, so a
 * trigger costs no call; commits bring the next block along.
 */
final class JobState implements CheckpointIDCounter {
    static final int BLOCK = 16;

    final Cluster cluster;
    final JobID job;
    final Leadership fence;
    private final ArrayDeque<long[]> blocks = new ArrayDeque<>();
    private long last;

    JobState(Cluster cluster, JobID job) throws HoldfastException {
        this.cluster = cluster;
        this.job = job;
        this.fence = cluster.requireLeadership("checkpoints of job " + job);
    }

    String path(String rest) {
        return cluster.path + "/jobs/" + job.toHexString() + rest;
    }

    JsonNode call(String method, String rest, ObjectNode body) throws IOException {
        Client.Call call = new Client.Call(method, path(rest)).fenced(fence);
        if (body != null) {
            call.json(body);
        }
        return cluster.client.call(call, cluster.commitTimeout).json();
    }

    synchronized int left() {
        long left = 0;
        for (long[] block : blocks) {
            left += block[1] - block[0] + 1;
        }
        return (int) Math.min(left, Integer.MAX_VALUE);
    }

    /** Ids that an answer reserved for us. */
    synchronized void add(JsonNode answer) {
        if (answer.hasNonNull("from")) {
            blocks.add(new long[] {answer.get("from").asLong(), answer.get("to").asLong()});
        }
    }

    @Override
    public void start() throws Exception {
        get();
    }

    private void reserve() throws IOException {
        ObjectNode body = Client.object();
        body.put("count", BLOCK);
        add(call("POST", "/counter/reserve", body));
    }

    @Override
    public synchronized long getAndIncrement() throws Exception {
        if (blocks.isEmpty()) {
            reserve();
        }
        long[] block = blocks.peek();
        long id = block[0]++;
        if (block[0] > block[1]) {
            blocks.remove();
        }
        last = id;
        return id;
    }

    @Override
    public synchronized long get() {
        return blocks.isEmpty() ? last + 1 : blocks.peek()[0];
    }

    @Override
    public synchronized void setCount(long count) throws Exception {
        ObjectNode body = Client.object();
        body.put("to", count);
        call("POST", "/counter/raise", body);
        /* Reserved ids below it would go back in time; above it they are as good as new ones. */
        while (!blocks.isEmpty() && blocks.peek()[1] < count) {
            blocks.remove();
        }
        if (!blocks.isEmpty() && blocks.peek()[0] < count) {
            blocks.peek()[0] = count;
        }
        last = Math.max(last, count - 1);
    }

    /** The counter goes with the job's data, when Flink cleans that up. */
    @Override
    public CompletableFuture<Void> shutdown(JobStatus status) {
        return CompletableFuture.completedFuture(null);
    }
}
