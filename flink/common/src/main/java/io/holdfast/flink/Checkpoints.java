package io.holdfast.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.CheckpointStoreUtil;
import org.apache.flink.runtime.checkpoint.CheckpointsCleaner;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.DefaultCompletedCheckpointStore;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.SharedStateRegistry;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.PhysicalStateHandleID;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.util.InstantiationUtil;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.DataInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Executor;

/** Recovery of a job's checkpoints, and the store that Flink then uses. */
public final class Checkpoints {
    private static final Logger LOG = LoggerFactory.getLogger(Checkpoints.class);

    /** Flink's registry factory, with the claim mode of the Flink at hand already in it. */
    public interface Registry {
        SharedStateRegistry create(Executor deleter, Collection<CompletedCheckpoint> checkpoints);
    }

    private static final CheckpointStoreUtil NAMES =
            new CheckpointStoreUtil() {
                @Override
                public String checkpointIDToName(long id) {
                    return CheckpointHandles.name(id);
                }

                @Override
                public long nameToCheckpointID(String name) {
                    return Long.parseLong(name);
                }
            };

    private final Cluster cluster;
    private final Map<JobID, JobState> jobs = new HashMap<>();

    public Checkpoints(Cluster cluster) {
        this.cluster = cluster;
    }

    /** One state for the store and the counter of the same incarnation of a job. */
    public synchronized JobState counter(JobID id) throws HoldfastException {
        JobState state = jobs.get(id);
        if (state == null || !state.fence.same(cluster.leadership())) {
            state = new JobState(cluster, id);
            jobs.put(id, state);
        }
        return state;
    }

    public DefaultCompletedCheckpointStore<Version> recover(JobID id, int retained, Registry registry, Executor io)
            throws Exception {
        JobState job = counter(id);
        DiscardTracker tracker = new DiscardTracker(io);
        CheckpointHandles handles = new CheckpointHandles(job, tracker, Math.max(1, retained));
        JsonNode listed = handles.list();
        List<CompletedCheckpoint> recovered = recovered(job, listed.path("checkpoints"), tracker);
        List<CompletedCheckpoint> discards = discards(job, listed.path("discards"), tracker);
        LOG.info(
                "Holdfast: recovered {} checkpoint(s) of job {}, newest {}",
                recovered.size(), id,
                recovered.isEmpty() ? "none" : recovered.get(recovered.size() - 1).getCheckpointID());
        List<CompletedCheckpoint> known = new ArrayList<>(discards);
        known.addAll(recovered);
        SharedStateRegistry shared = registry.create(tracker, known);
        Store store = new Store(Math.max(1, retained), handles, recovered, shared, tracker);
        finish(discards, recovered, shared, tracker);
        return store;
    }

    /** What the last leadership was deleting when it ended: shared files that nobody else uses, then the rest. */
    private static void finish(
            List<CompletedCheckpoint> discards, List<CompletedCheckpoint> recovered, SharedStateRegistry shared,
            DiscardTracker tracker) {
        if (discards.isEmpty()) {
            return;
        }
        tracker.execute(
                () -> {
                    shared.unregisterUnusedState(
                            recovered.isEmpty() ? Long.MAX_VALUE : recovered.get(0).getCheckpointID());
                    for (CompletedCheckpoint discard : discards) {
                        try {
                            discard.markAsDiscarded().discard();
                        } catch (Exception e) {
                            LOG.warn("Holdfast: files of subsumed checkpoint {} remain", discard.getCheckpointID(), e);
                        }
                    }
                });
    }

    private List<CompletedCheckpoint> recovered(JobState job, JsonNode entries, DiscardTracker tracker) throws Exception {
        List<CompletedCheckpoint> recovered = new ArrayList<>();
        int left = entries.size();
        for (JsonNode entry : entries) {
            left--;
            if (entry.hasNonNull("quarantined")) {
                continue;
            }
            try {
                recovered.add(load(job.job, entry, tracker));
            } catch (IOException | ClassNotFoundException | RuntimeException e) {
                if (left == 0) {
                    throw new IOException(
                            "Holdfast: the newest checkpoint " + entry.path("id") + " of job " + job.job + " ("
                                    + entry.path("pointer").asText() + ") cannot be read. Older ones are not taken silently: "
                                    + "restore its files, or remove it from the list to go on from an older one", e);
                }
                LOG.error("Holdfast: checkpoint {} of job {} cannot be read and is quarantined; newer ones are fine",
                        entry.path("id"), job.job, e);
                ObjectNode body = Client.object();
                body.put("reason", "cannot be read: " + e.getClass().getSimpleName());
                job.call("POST", "/checkpoints/" + entry.path("id").asLong() + "/quarantine", body);
            }
        }
        return recovered;
    }

    private List<CompletedCheckpoint> discards(JobState job, JsonNode entries, DiscardTracker tracker) {
        List<CompletedCheckpoint> discards = new ArrayList<>();
        for (JsonNode entry : entries) {
            try {
                discards.add(load(job.job, entry, tracker));
            } catch (FileNotFoundException e) {
                removeEmptyFolder(entry);
                tracker.finished(entry.path("id").asLong());
            } catch (IOException | ClassNotFoundException | RuntimeException e) {
                LOG.warn("Holdfast: subsumed checkpoint {} cannot be read, its files are left for the sweep",
                        entry.path("id"), e);
            }
        }
        return discards;
    }

    private static void removeEmptyFolder(JsonNode entry) {
        try {
            org.apache.flink.core.fs.Path folder = new org.apache.flink.core.fs.Path(entry.path("pointer").asText());
            folder.getFileSystem().delete(folder, false);
        } catch (IOException | RuntimeException e) {
            LOG.debug("Holdfast: folder of checkpoint {}", entry.path("id"), e);
        }
    }

    private static <T> T deserialize(String base64) throws IOException, ClassNotFoundException {
        return InstantiationUtil.deserializeObject(
                Base64.getDecoder().decode(base64), Thread.currentThread().getContextClassLoader());
    }

    /** From the pointer alone: there is no second copy of a checkpoint's metadata. */
    private static CompletedCheckpoint load(JobID job, JsonNode entry, DiscardTracker tracker)
            throws IOException, ClassNotFoundException {
        if (entry.hasNonNull("inline")) {
            return deserialize(entry.path("inline").asText());
        }
        String pointer = entry.path("pointer").asText();
        CompletedCheckpointStorageLocation location = AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(pointer);
        CheckpointMetadata metadata;
        try (DataInputStream in = new DataInputStream(location.getMetadataHandle().openInputStream())) {
            metadata = org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(
                    in, Thread.currentThread().getContextClassLoader(), pointer);
        }
        Map<OperatorID, OperatorState> operators = new HashMap<>();
        metadata.getOperatorStates().forEach(each -> operators.put(each.getOperatorID(), each));
        long id = entry.path("id").asLong();
        CheckpointProperties properties = deserialize(entry.path("properties").path("serialized").asText());
        return new CompletedCheckpoint(
                job, id, entry.path("started_ms").asLong(), entry.path("completed_ms").asLong(), operators,
                metadata.getMasterStates(), properties, new Location(id, location, tracker), null,
                metadata.getCheckpointProperties());
    }

    /** A checkpoint whose last step of deletion waits for all others. */
    private static CompletedCheckpoint deferring(CompletedCheckpoint checkpoint, DiscardTracker tracker)
            throws IOException {
        String pointer = checkpoint.getExternalPointer();
        if (pointer == null || pointer.equals(CheckpointHandles.NOT_ADDRESSABLE)) {
            return checkpoint;
        }
        CompletedCheckpointStorageLocation location;
        try {
            location = AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(pointer);
        } catch (IOException e) {
            return checkpoint; /* not on a file system */
        }
        Optional<CheckpointProperties> restored = checkpoint.getRestoredProperties();
        return new CompletedCheckpoint(
                checkpoint.getJobId(), checkpoint.getCheckpointID(), checkpoint.getTimestamp(),
                checkpoint.getCompletionTimestamp(), checkpoint.getOperatorStates(),
                checkpoint.getMasterHookStates(), checkpoint.getProperties(),
                new Location(checkpoint.getCheckpointID(), location, tracker), checkpoint.getStatistic(),
                restored.orElse(null));
    }

    /** The folder of a checkpoint on a file system; `_metadata` goes with it, at the very end. */
    private static final class Location implements CompletedCheckpointStorageLocation {
        private static final long serialVersionUID = 1L;
        private final long id;
        private final CompletedCheckpointStorageLocation location;
        private final transient DiscardTracker tracker;

        Location(long id, CompletedCheckpointStorageLocation location, DiscardTracker tracker) {
            this.id = id;
            this.location = location;
            this.tracker = tracker;
        }

        @Override
        public String getExternalPointer() {
            return location.getExternalPointer();
        }

        @Override
        public StreamStateHandle getMetadataHandle() {
            return new Metadata(location.getMetadataHandle());
        }

        @Override
        public void disposeStorageLocation() {
            tracker.atLast(
                    id,
                    () -> {
                        try {
                            location.getMetadataHandle().discardState();
                        } finally {
                            location.disposeStorageLocation();
                        }
                    });
        }
    }

    /** `_metadata` whose deletion is left to the location. */
    private static final class Metadata implements StreamStateHandle {
        private static final long serialVersionUID = 1L;
        private final StreamStateHandle handle;

        Metadata(StreamStateHandle handle) {
            this.handle = handle;
        }

        @Override
        public FSDataInputStream openInputStream() throws IOException {
            return handle.openInputStream();
        }

        @Override
        public Optional<byte[]> asBytesIfInMemory() {
            return handle.asBytesIfInMemory();
        }

        @Override
        public PhysicalStateHandleID getStreamStateHandleID() {
            return handle.getStreamStateHandleID();
        }

        @Override
        public void discardState() {}

        @Override
        public long getStateSize() {
            return handle.getStateSize();
        }
    }

    /** Flink's own store, over our handles. */
    private static final class Store extends DefaultCompletedCheckpointStore<Version> {
        private final CheckpointHandles handles;
        private final DiscardTracker tracker;

        Store(int retained, CheckpointHandles handles, Collection<CompletedCheckpoint> recovered,
                SharedStateRegistry shared, DiscardTracker tracker) {
            super(retained, handles, NAMES, recovered, shared, tracker);
            this.handles = handles;
            this.tracker = tracker;
        }

        @Override
        public CompletedCheckpoint addCheckpointAndSubsumeOldestOne(
                CompletedCheckpoint checkpoint, CheckpointsCleaner cleaner, Runnable postCleanup) throws Exception {
            return super.addCheckpointAndSubsumeOldestOne(deferring(checkpoint, tracker), cleaner, postCleanup);
        }

        @Override
        public void shutdown(JobStatus status, CheckpointsCleaner cleaner) throws Exception {
            if (status.isGloballyTerminalState()) {
                for (CompletedCheckpoint checkpoint : getAllCheckpoints()) {
                    if (!checkpoint.shouldBeDiscardedOnShutdown(status)) {
                        handles.keepAtEnd(checkpoint.getCheckpointID());
                    }
                }
            }
            super.shutdown(status, cleaner);
        }
    }
}
