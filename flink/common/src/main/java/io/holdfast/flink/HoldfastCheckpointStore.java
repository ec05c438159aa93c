package io.holdfast.flink;

import org.apache.flink.api.common.JobStatus;
import org.apache.flink.runtime.checkpoint.CheckpointStoreUtil;
import org.apache.flink.runtime.checkpoint.CheckpointsCleaner;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.DefaultCompletedCheckpointStore;
import org.apache.flink.runtime.state.SharedStateRegistry;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

/**
 * Flink's own store over Holdfast's handles. What an earlier leadership left half deleted is handed to Flink's cleaner
 * with the first checkpoint that completes, or with the end of the job: from there it goes the way of all subsumed
 * checkpoints, and whatever is still in use stays.
 */
final class HoldfastCheckpointStore extends DefaultCompletedCheckpointStore<Version> {
    private static final CheckpointStoreUtil NAMES =
            new CheckpointStoreUtil() {
                @Override
                public String checkpointIDToName(long id) {
                    return CheckpointHandles.name(id);
                }

                @Override
                public long nameToCheckpointID(String name) {
                    try {
                        return Long.parseLong(name);
                    } catch (NumberFormatException e) {
                        return INVALID_CHECKPOINT_ID;
                    }
                }
            };

    private final JobState job;
    private final CheckpointHandles handles;
    private final DeletionTracker tracker;
    private final List<CompletedCheckpoint> leftovers;

    HoldfastCheckpointStore(
            int retained, JobState job, CheckpointHandles handles, Collection<CompletedCheckpoint> recovered,
            Collection<? extends CompletedCheckpoint> leftovers, SharedStateRegistry shared, DeletionTracker tracker) {
        super(retained, handles, NAMES, recovered, shared, tracker);
        this.job = job;
        this.handles = handles;
        this.tracker = tracker;
        this.leftovers = new ArrayList<>(leftovers);
    }

    private void handOver(CheckpointsCleaner cleaner) {
        leftovers.forEach(cleaner::addSubsumedCheckpoint);
        leftovers.clear();
        handles.takeSubsumedElsewhere().forEach(cleaner::addSubsumedCheckpoint);
    }

    @Override
    public CompletedCheckpoint addCheckpointAndSubsumeOldestOne(
            CompletedCheckpoint checkpoint, CheckpointsCleaner cleaner, Runnable postCleanup) throws Exception {
        tracker.hold();
        try {
            handOver(cleaner);
            return super.addCheckpointAndSubsumeOldestOne(
                    new OwnedCheckpoint(checkpoint, tracker, job.discards), cleaner, postCleanup);
        } finally {
            tracker.release();
        }
    }

    @Override
    public void shutdown(JobStatus status, CheckpointsCleaner cleaner) throws Exception {
        tracker.hold();
        try {
            if (status.isGloballyTerminalState()) {
                handOver(cleaner);
                for (CompletedCheckpoint checkpoint : getAllCheckpoints()) {
                    if (!checkpoint.shouldBeDiscardedOnShutdown(status)) {
                        handles.keepAtEnd(checkpoint.getCheckpointID());
                    }
                }
            }
            super.shutdown(status, cleaner);
        } finally {
            tracker.release();
        }
    }
}
