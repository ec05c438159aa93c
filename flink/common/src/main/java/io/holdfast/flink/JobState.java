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
 * One job under one leadership: its fence, its checkpoint ids and its discards. Ids come in blocks that the daemon
 * never hands out again, so a trigger costs no call; commits bring the next block along.
 */
final class JobState implements CheckpointIDCounter {
    static final int BLOCK = 16;

    final Cluster cluster;
    final JobID job;
    final Leadership fence;
    final Discards discards = new Discards();
    private final ArrayDeque<long[]> blocks = new ArrayDeque<>();
    private long next = INITIAL_CHECKPOINT_ID;

    JobState(Cluster cluster, JobID job, Leadership fence) {
        this.cluster = cluster;
        this.job = job;
        this.fence = fence;
    }

    String path(String rest) {
        return cluster.path + "/jobs/" + job.toHexString() + rest;
    }

    JsonNode call(String method, String rest, ObjectNode body, String what) throws IOException {
        Client.Call call = new Client.Call(method, path(rest)).fenced(fence);
        if (body != null) {
            call.json(body);
        }
        return cluster.write(call, cluster.commitTimeout, what + " of job " + job).json();
    }

    JsonNode list() throws IOException {
        return cluster.client.call(new Client.Call("GET", path("/checkpoints")), cluster.commitTimeout).json();
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

    /** What the daemon has as the next id, for those who only ask. */
    synchronized void nextIs(long id) {
        next = Math.max(next, id);
    }

    @Override
    public void start() {}

    @Override
    public synchronized long getAndIncrement() throws Exception {
        if (blocks.isEmpty()) {
            ObjectNode body = Client.object();
            body.put("count", BLOCK);
            add(call("POST", "/counter/reserve", body, "reservation of checkpoint ids"));
        }
        long[] block = blocks.element();
        long id = block[0]++;
        if (block[0] > block[1]) {
            blocks.remove();
        }
        next = id + 1;
        return id;
    }

    @Override
    public synchronized long get() {
        return blocks.isEmpty() ? next : blocks.element()[0];
    }

    @Override
    public synchronized void setCount(long count) throws Exception {
        ObjectNode body = Client.object();
        body.put("to", count);
        call("POST", "/counter/raise", body, "checkpoint id counter");
        /* Reserved ids below it would go back in time; above it they are as good as new ones. */
        while (!blocks.isEmpty() && blocks.element()[1] < count) {
            blocks.remove();
        }
        if (!blocks.isEmpty() && blocks.element()[0] < count) {
            blocks.element()[0] = count;
        }
        nextIs(count);
    }

    /** The counter goes with the job's data, when Flink cleans that up. */
    @Override
    public CompletableFuture<Void> shutdown(JobStatus status) {
        return CompletableFuture.completedFuture(null);
    }
}
