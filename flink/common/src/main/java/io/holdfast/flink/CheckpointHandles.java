package io.holdfast.flink;

import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.persistence.PossibleInconsistentStateException;
import org.apache.flink.runtime.persistence.StateHandleStore;
import org.apache.flink.runtime.state.RetrievableStateHandle;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.util.InstantiationUtil;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The pointers of one job's completed checkpoints. One call for each checkpoint: the commit adds the pointer, subsumes
 * old ones by Flink's rules, strikes off finished discards and brings ids for the next checkpoints.
 */
final class CheckpointHandles implements StateHandleStore<CompletedCheckpoint, Version> {
    private static final Logger LOG = LoggerFactory.getLogger(CheckpointHandles.class);
    static final String NOT_ADDRESSABLE = "<checkpoint-not-externally-addressable>";

    private final JobState job;
    private final DiscardTracker tracker;
    private final int retained;
    private final Set<String> subsumed = new HashSet<>();
    private final Set<String> keptAtEnd = new HashSet<>();

    CheckpointHandles(JobState job, DiscardTracker tracker, int retained) {
        this.job = job;
        this.tracker = tracker;
        this.retained = retained;
    }

    static String name(long id) {
        return String.format("%019d", id);
    }

    private static ObjectNode properties(CompletedCheckpoint checkpoint) throws Exception {
        CheckpointProperties props = checkpoint.getProperties();
        ObjectNode node = Client.object();
        node.put("type", props.isSavepoint() ? "SAVEPOINT" : "CHECKPOINT");
        node.put("name", props.getCheckpointType().getName());
        node.put("sharing", props.getCheckpointType().getSharingFilesStrategy().name());
        node.put("unclaimed", props.isUnclaimed());
        String after = null;
        if (props.getCheckpointType() instanceof SavepointType) {
            after = ((SavepointType) props.getCheckpointType()).getPostCheckpointAction().name();
        }
        node.put("post_action", after);
        ArrayNode when = node.putArray("discard_on");
        if (checkpoint.shouldBeDiscardedOnSubsume()) {
            when.add("subsumed");
        }
        node.put("serialized", Base64.getEncoder().encodeToString(InstantiationUtil.serializeObject(props)));
        return node;
    }

    @Override
    public RetrievableStateHandle<CompletedCheckpoint> addAndLock(String name, CompletedCheckpoint checkpoint)
            throws Exception {
        List<Long> finished = tracker.takeFinished();
        ObjectNode body = Client.object();
        body.put("id", checkpoint.getCheckpointID());
        if (checkpoint.getExternalPointer() == null || checkpoint.getExternalPointer().equals(NOT_ADDRESSABLE)) {
            body.put("inline", Base64.getEncoder().encodeToString(InstantiationUtil.serializeObject(checkpoint)));
        } else {
            body.put("pointer", checkpoint.getExternalPointer());
        }
        body.put("started_ms", checkpoint.getTimestamp());
        body.put("completed_ms", checkpoint.getCompletionTimestamp());
        body.put("size", checkpoint.getStateSize());
        body.set("properties", properties(checkpoint));
        body.put("num_retained", retained);
        ArrayNode discarded = body.putArray("discarded");
        finished.forEach(discarded::add);
        body.put("reserve", job.left() < JobState.BLOCK / 2 ? JobState.BLOCK : 0);
        try {
            JsonNode answer = job.call("POST", "/checkpoints", body);
            job.add(answer);
            synchronized (subsumed) {
                answer.path("subsumed").forEach(id -> subsumed.add(name(id.asLong())));
            }
        } catch (HoldfastException e) {
            tracker.giveBack(finished);
            if (e.is("FENCED")) {
                LOG.warn("Holdfast: write refused as fenced: checkpoint {} of job {}", checkpoint.getCheckpointID(), job.job);
            }
            if (e.isAmbiguous()) {
                throw new PossibleInconsistentStateException(e);
            }
            if (e.is("EXISTS")) {
                throw new AlreadyExistException("checkpoint " + checkpoint.getCheckpointID() + " exists", e);
            }
            throw e;
        }
        return null; /* Flink's store does not use it; recovery builds its own */
    }

    @Override
    public void replace(String name, Version version, CompletedCheckpoint state) {
        throw new UnsupportedOperationException("completed checkpoints are never replaced");
    }

    @Override
    public Version exists(String name) throws Exception {
        for (JsonNode each : list().path("checkpoints")) {
            if (name(each.path("id").asLong()).equals(name)) {
                return new Version(0);
            }
        }
        return Version.ABSENT;
    }

    JsonNode list() throws Exception {
        return job.cluster.client.call(new Client.Call("GET", job.path("/checkpoints")), job.cluster.commitTimeout).json();
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
        list().path("checkpoints").forEach(each -> names.add(name(each.path("id").asLong())));
        return names;
    }

    /** The job has ended, and this checkpoint's files are to stay: its entry goes without becoming a discard. */
    void keepAtEnd(long id) {
        keptAtEnd.add(name(id));
    }

    @Override
    public boolean releaseAndTryRemove(String name) throws Exception {
        synchronized (subsumed) {
            if (subsumed.remove(name)) {
                return true; /* went in the commit's own transaction */
            }
        }
        if (!keptAtEnd.contains(name)) {
            job.call("DELETE", "/checkpoints/" + Long.parseLong(name), null);
        }
        return true;
    }

    @Override
    public void clearEntries() throws Exception {
        job.call("DELETE", "/checkpoints", null);
    }

    @Override
    public void release(String name) {}

    @Override
    public void releaseAll() {}
}
