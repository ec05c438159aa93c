package io.holdfast.flink;

import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.persistence.PossibleInconsistentStateException;
import org.apache.flink.runtime.persistence.StateHandleStore;
import org.apache.flink.runtime.state.RetrievableStateHandle;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The pointers of one job's completed checkpoints. One call for each checkpoint: the commit adds the pointer, subsumes
 * old ones by Flink's rules, strikes off finished discards and brings ids for the next checkpoints.
 */
final class CheckpointHandles implements StateHandleStore<CompletedCheckpoint, Version> {
    private static final Logger LOG = LoggerFactory.getLogger(CheckpointHandles.class);
    private static final int REPORT_MAX = 1000;

    private final JobState job;
    private final int retained;
    private final Set<String> subsumed = new HashSet<>();
    private final Set<String> keptAtEnd = new HashSet<>();
    private final Map<Long, CompletedCheckpoint> inDoubt = new HashMap<>();
    private final List<CompletedCheckpoint> subsumedElsewhere = new ArrayList<>();

    CheckpointHandles(JobState job, int retained) {
        this.job = job;
        this.retained = retained;
    }

    static String name(long id) {
        return String.format("%019d", id);
    }

    @Override
    public RetrievableStateHandle<CompletedCheckpoint> addAndLock(String name, CompletedCheckpoint checkpoint)
            throws Exception {
        long id = checkpoint.getCheckpointID();
        ObjectNode body = CheckpointCodec.entry(checkpoint);
        List<Long> finished = job.discards.takeFinished(REPORT_MAX);
        body.put("num_retained", retained);
        ArrayNode discarded = body.putArray("discarded");
        finished.forEach(discarded::add);
        body.put("reserve", job.left() < JobState.BLOCK / 2 ? JobState.BLOCK : 0);
        try {
            JsonNode answer = job.call("POST", "/checkpoints", body, "checkpoint " + id);
            job.add(answer);
            synchronized (this) {
                for (JsonNode each : answer.path("subsumed")) {
                    subsumed.add(name(each.asLong()));
                    CompletedCheckpoint unknown = inDoubt.remove(each.asLong());
                    if (unknown != null) {
                        subsumedElsewhere.add(unknown);
                    }
                }
            }
        } catch (HoldfastException e) {
            job.discards.giveBack(finished);
            if (e.isAmbiguous()) {
                synchronized (this) {
                    inDoubt.put(id, checkpoint);
                }
                throw new PossibleInconsistentStateException(
                        "It is not known whether checkpoint " + id + " of job " + job.job + " was stored", e);
            }
            if (e.is("EXISTS")) {
                throw new AlreadyExistException("checkpoint " + id + " of job " + job.job + " exists with other content", e);
            }
            throw e;
        }
        return null; /* Flink's store does not use it; recovery builds its own */
    }

    /**
     * Checkpoints that were stored although that was not known here, and are subsumed by now. Flink has dropped them
     * from its list, so nobody else deletes their files.
     */
    synchronized List<CompletedCheckpoint> takeSubsumedElsewhere() {
        List<CompletedCheckpoint> taken = new ArrayList<>(subsumedElsewhere);
        subsumedElsewhere.clear();
        return taken;
    }

    @Override
    public void replace(String name, Version version, CompletedCheckpoint state) {
        throw new UnsupportedOperationException("completed checkpoints are never replaced");
    }

    @Override
    public Version exists(String name) throws Exception {
        for (JsonNode each : job.list().path("checkpoints")) {
            if (name(each.path("id").asLong()).equals(name)) {
                return new Version(0);
            }
        }
        return Version.ABSENT;
    }

    @Override
    public RetrievableStateHandle<CompletedCheckpoint> getAndLock(String name) {
        throw new UnsupportedOperationException("recovery reads all checkpoints at once");
    }

    @Override
    public List<Tuple2<RetrievableStateHandle<CompletedCheckpoint>, String>> getAllAndLock() {
        throw new UnsupportedOperationException("recovery reads all checkpoints at once");
    }

    @Override
    public Collection<String> getAllHandles() throws Exception {
        List<String> names = new ArrayList<>();
        job.list().path("checkpoints").forEach(each -> names.add(name(each.path("id").asLong())));
        return names;
    }

    /**
     * The job has ended and this checkpoint's files are to stay: its entry goes with {@link #clearEntries}, which makes
     * no discard of it, so that no later clean-up can take it for garbage.
     */
    synchronized void keepAtEnd(long id) {
        keptAtEnd.add(name(id));
    }

    @Override
    public boolean releaseAndTryRemove(String name) throws Exception {
        synchronized (this) {
            if (subsumed.remove(name) || keptAtEnd.contains(name)) {
                return true; /* went in the commit's own transaction, or goes with all others */
            }
        }
        long id = Long.parseLong(name);
        job.call("DELETE", "/checkpoints/" + id, null, "removal of checkpoint " + id);
        return true;
    }

    @Override
    public void clearEntries() throws Exception {
        job.call("DELETE", "/checkpoints", null, "removal of all checkpoints");
    }

    @Override
    public void release(String name) {}

    @Override
    public void releaseAll() {}

    @Override
    public String toString() {
        return "Holdfast, " + job.path("/checkpoints");
    }
}
