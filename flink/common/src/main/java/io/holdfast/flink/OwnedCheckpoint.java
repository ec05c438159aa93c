package io.holdfast.flink;

import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.MasterState;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.StateObject;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;

/**
 * A completed checkpoint that is deleted in an order which a kill cannot turn into a leak: first its own files, then,
 * when the shared files that went out of use with it are gone too, its {@code _metadata} and its folder.
 */
final class OwnedCheckpoint extends CompletedCheckpoint {
    private static final Logger LOG = LoggerFactory.getLogger(OwnedCheckpoint.class);
    private static final long serialVersionUID = 1L;
    private static final int TRIES = 3;

    private final transient CompletedCheckpointStorageLocation location;
    private final transient DeletionTracker tracker;
    private final transient Discards discards;

    /** As Flink hands it to the store, with its statistics. */
    OwnedCheckpoint(CompletedCheckpoint from, DeletionTracker tracker, Discards discards) {
        this(from, new Folder(from.getExternalPointer(), from.getMetadataHandle()), tracker, discards);
    }

    private OwnedCheckpoint(
            CompletedCheckpoint from, CompletedCheckpointStorageLocation location, DeletionTracker tracker,
            Discards discards) {
        super(
                from.getJobId(), from.getCheckpointID(), from.getTimestamp(), from.getCompletionTimestamp(),
                from.getOperatorStates(), from.getMasterHookStates(), from.getProperties(), location,
                from.getStatistic(), from.getRestoredProperties().orElse(null));
        this.location = location;
        this.tracker = tracker;
        this.discards = discards;
    }

    /** As it is read back from its files. */
    OwnedCheckpoint(
            org.apache.flink.api.common.JobID job, long id, long started, long completed,
            Map<OperatorID, OperatorState> operators, Collection<MasterState> masters, CheckpointProperties properties,
            CompletedCheckpointStorageLocation location, CheckpointProperties written, DeletionTracker tracker,
            Discards discards) {
        super(job, id, started, completed, operators, masters, properties, location, null, written);
        this.location = location;
        this.tracker = tracker;
        this.discards = discards;
    }

    @Override
    public DiscardObject markAsDiscarded() {
        super.markAsDiscarded();
        return new Discard();
    }

    private static void patiently(StateObject object) throws Exception {
        for (int left = TRIES - 1; ; left--) {
            try {
                object.discardState();
                return;
            } catch (Exception e) {
                if (left == 0) {
                    throw e;
                }
                Client.sleep(100);
            }
        }
    }

    private final class Discard implements DiscardObject {
        @Override
        public void discard() {
            discards.begun(getCheckpointID());
            Exception failure = null;
            for (StateObject each : own()) {
                try {
                    patiently(each);
                } catch (Exception e) {
                    failure = e;
                }
            }
            ownFilesDeleted(failure, new CompletableFuture<>());
        }

        /** Completes when the last step is over, so that the end of a job waits for it. */
        @Override
        public CompletableFuture<Void> discardAsync(Executor executor) {
            discards.begun(getCheckpointID());
            List<CompletableFuture<Void>> each = new ArrayList<>();
            for (StateObject object : own()) {
                CompletableFuture<Void> one = new CompletableFuture<>();
                Runnable deletion =
                        () -> {
                            try {
                                patiently(object);
                                one.complete(null);
                            } catch (Throwable e) {
                                one.completeExceptionally(e);
                            }
                        };
                try {
                    executor.execute(deletion);
                } catch (RejectedExecutionException e) {
                    deletion.run();
                }
                each.add(one);
            }
            CompletableFuture<Void> last = new CompletableFuture<>();
            CompletableFuture.allOf(each.toArray(new CompletableFuture[0]))
                    .whenComplete((nothing, failure) -> ownFilesDeleted(failure, last));
            return last;
        }

        private List<StateObject> own() {
            List<StateObject> own = new ArrayList<>();
            getOperatorStates().values().forEach(operator -> own.addAll(operator.getDiscardables()));
            return own;
        }

        private void ownFilesDeleted(Throwable failure, CompletableFuture<Void> last) {
            getOperatorStates().clear();
            if (failure != null) {
                failed(failure, last);
                return;
            }
            tracker.afterPending(
                    () -> {
                        try {
                            patiently(getMetadataHandle());
                            removeFolder();
                            discards.finished(getCheckpointID());
                            last.complete(null);
                        } catch (Throwable e) {
                            failed(e, last);
                        }
                    });
        }

        private void failed(Throwable failure, CompletableFuture<Void> last) {
            LOG.warn("Holdfast: checkpoint {} of job {} at {} is not wholly deleted; it is tried again later",
                    getCheckpointID(), getJobId(), getExternalPointer(), failure);
            discards.failed(getCheckpointID());
            last.completeExceptionally(failure);
        }

        private void removeFolder() {
            try {
                location.disposeStorageLocation();
            } catch (IOException e) {
                LOG.warn("Holdfast: the folder {} is left, something in it is not checkpoint {}'s: {}",
                        getExternalPointer(), getCheckpointID(), e.toString());
            }
        }
    }

    /** The folder that a pointer names, without asking the file system about it. */
    static final class Folder implements CompletedCheckpointStorageLocation {
        private static final long serialVersionUID = 1L;
        private final String pointer;
        private final StreamStateHandle metadata;

        Folder(String pointer, StreamStateHandle metadata) {
            this.pointer = pointer;
            this.metadata = metadata;
        }

        @Override
        public String getExternalPointer() {
            return pointer;
        }

        @Override
        public StreamStateHandle getMetadataHandle() {
            return metadata;
        }

        @Override
        public void disposeStorageLocation() throws IOException {
            if (CheckpointCodec.isAddressable(pointer)) {
                Path folder = new Path(pointer);
                folder.getFileSystem().delete(folder, false);
            }
        }
    }
}
