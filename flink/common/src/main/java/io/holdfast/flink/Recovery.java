package io.holdfast.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.CheckpointIDCounter;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.CompletedCheckpointStore;
import org.apache.flink.runtime.state.SharedStateRegistry;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executor;

/** The checkpoints of the cluster's jobs: recovery, the stores Flink then uses, and the clean-up at the end. */
public final class Recovery {
    private static final Logger LOG = LoggerFactory.getLogger(Recovery.class);
    private static final Duration LAST_DELETIONS = Duration.ofSeconds(60);

    /** Flink's registry factory, with the claim mode of the Flink at hand already in it. */
    public interface Registry {
        SharedStateRegistry create(Executor deleter, Collection<CompletedCheckpoint> checkpoints);
    }

    private final Cluster cluster;
    private final Map<JobID, JobState> jobs = new HashMap<>();
    private final Set<JobID> keepData = new HashSet<>();

    Recovery(Cluster cluster) {
        this.cluster = cluster;
    }

    /** One state for the store and the counter of a job. */
    private synchronized JobState job(JobID id) throws HoldfastException {
        Leadership now = cluster.requireLeadership("checkpoints of job " + id);
        JobState state = jobs.get(id);
        if (state == null || !state.fence.same(now)) {
            state = new JobState(cluster, id, now);
            jobs.put(id, state);
        }
        return state;
    }

    public CheckpointIDCounter counter(JobID id) throws HoldfastException {
        return job(id);
    }

    // -------------------------------------------------------------- recovery

    public CompletedCheckpointStore recover(JobID id, int retained, Registry registry, Executor io) throws Exception {
        JobState job = job(id);
        int retain = Math.max(1, retained);
        DeletionTracker tracker = new DeletionTracker(io);
        JsonNode listed = job.list();
        job.nextIs(listed.path("next_id").asLong(CheckpointIDCounter.INITIAL_CHECKPOINT_ID));
        List<CompletedCheckpoint> recovered = recovered(job, listed.path("checkpoints"), tracker);
        List<CompletedCheckpoint> leftovers = leftovers(job, listed.path("discards"), tracker);
        LOG.info(
                "Holdfast: recovered {} checkpoint(s) of job {}, newest {}",
                recovered.size(), id,
                recovered.isEmpty() ? "none" : recovered.get(recovered.size() - 1).getCheckpointID());
        SharedStateRegistry shared;
        try {
            /* Half deleted checkpoints count as old users of their shared files: those go with them, or stay in use. */
            List<CompletedCheckpoint> known = new ArrayList<>(leftovers);
            known.addAll(recovered);
            known.sort((a, b) -> Long.compare(a.getCheckpointID(), b.getCheckpointID()));
            shared = registry.create(tracker, known);
        } catch (RuntimeException e) {
            if (leftovers.isEmpty()) {
                throw e;
            }
            LOG.warn("Holdfast: {} half deleted checkpoint(s) of job {} do not fit the recovered ones and are left alone",
                    leftovers.size(), id, e);
            leftovers = List.of();
            shared = registry.create(tracker, recovered);
        }
        return new HoldfastCheckpointStore(
                retain, job, new CheckpointHandles(job, retain), recovered, leftovers, shared, tracker);
    }

    private OwnedCheckpoint load(JobState job, JsonNode entry, DeletionTracker tracker) throws IOException {
        long deadline = System.nanoTime() + cluster.commitTimeout.toNanos();
        for (long pause = 100; ; pause = Math.min(2 * pause, 2000)) {
            try {
                return CheckpointCodec.load(job.job, entry, tracker, job.discards);
            } catch (CheckpointCodec.Unreadable e) {
                throw e;
            } catch (IOException e) {
                if (System.nanoTime() > deadline || Thread.currentThread().isInterrupted()) {
                    throw e;
                }
                LOG.warn("Holdfast: checkpoint {} of job {} could not be read, trying again: {}",
                        entry.path("id"), job.job, e.toString());
                Client.sleep(pause);
            }
        }
    }

    private List<CompletedCheckpoint> recovered(JobState job, JsonNode entries, DeletionTracker tracker)
            throws IOException {
        List<CompletedCheckpoint> recovered = new ArrayList<>();
        int left = entries.size();
        for (JsonNode entry : entries) {
            left--;
            if (entry.hasNonNull("quarantined")) {
                LOG.warn("Holdfast: checkpoint {} of job {} is quarantined and not recovered: {}",
                        entry.path("id"), job.job, entry.path("quarantined").asText());
                continue;
            }
            try {
                recovered.add(load(job, entry, tracker));
            } catch (CheckpointCodec.Unreadable e) {
                if (left > 0 || cluster.allowOlder) {
                    quarantine(job, entry, e, left == 0);
                } else if (hasEnded(job)) {
                    LOG.error("Holdfast: checkpoint {} of the ended job {} cannot be read; files it alone named are left: {}",
                            entry.path("id"), job.job, e.getMessage());
                } else {
                    synchronized (this) {
                        keepData.add(job.job);
                    }
                    String message = newestUnreadable(job.job, entry, e);
                    LOG.error("Holdfast: {}", message);
                    throw new IOException(message, e);
                }
            }
        }
        return recovered;
    }

    private static String newestUnreadable(JobID job, JsonNode entry, Exception why) {
        return "the newest checkpoint " + entry.path("id") + " of job " + job + " at " + entry.path("pointer").asText("?")
                + " cannot be read (" + why.getMessage() + "). An older one is not taken silently: bring its files back, or "
                + "set " + HoldfastOptions.ALLOW_OLDER.key() + ": true to go on from the next older one";
    }

    private void quarantine(JobState job, JsonNode entry, Exception why, boolean newest) throws IOException {
        LOG.error(
                "Holdfast: checkpoint {} of job {} cannot be read and is quarantined; {}. Its entry and what is left of its "
                        + "files at {} stay for people to look at. Reason: {}",
                entry.path("id"), job.job,
                newest
                        ? "an older one is taken, as " + HoldfastOptions.ALLOW_OLDER.key() + " says"
                        : "the job goes on from a newer one",
                entry.path("pointer").asText("?"), why.getMessage());
        ObjectNode body = Client.object();
        body.put("reason", Cluster.reason("cannot be read: " + why.getMessage()));
        try {
            job.call("POST", "/checkpoints/" + entry.path("id").asLong() + "/quarantine", body,
                    "quarantine of checkpoint " + entry.path("id"));
        } catch (HoldfastException e) {
            if (!e.is("NOT_FOUND")) {
                throw e;
            }
        }
    }

    private boolean hasEnded(JobState job) throws IOException {
        try {
            cluster.client.call(
                    new Client.Call("GET", cluster.path + "/results/" + job.job.toHexString()), cluster.commitTimeout);
            return true;
        } catch (HoldfastException e) {
            if (e.is("NOT_FOUND")) {
                return false;
            }
            throw e;
        }
    }

    /** Checkpoints whose deletion an earlier leadership has begun or meant to begin. */
    private List<CompletedCheckpoint> leftovers(JobState job, JsonNode entries, DeletionTracker tracker) {
        List<CompletedCheckpoint> leftovers = new ArrayList<>();
        for (JsonNode entry : entries) {
            long id = entry.path("id").asLong();
            if (!CheckpointCodec.isOurs(entry)) {
                job.discards.finished(id); /* somebody else's files: off the list, and nothing more */
                continue;
            }
            try {
                leftovers.add(CheckpointCodec.load(job.job, entry, tracker, job.discards));
            } catch (CheckpointCodec.Unreadable e) {
                if (e.getCause() instanceof java.io.FileNotFoundException) {
                    removeEmptyFolder(entry);
                    job.discards.finished(id);
                } else {
                    LOG.warn("Holdfast: subsumed checkpoint {} of job {} cannot be read, its files are left: {}",
                            id, job.job, e.getMessage());
                }
            } catch (IOException e) {
                LOG.warn("Holdfast: subsumed checkpoint {} of job {} cannot be read now, its files are left until the next "
                        + "recovery: {}", id, job.job, e.toString());
            }
        }
        return leftovers;
    }

    /** {@code _metadata} is gone: it was the last file, so at most the folder is left. */
    private static void removeEmptyFolder(JsonNode entry) {
        try {
            Path folder = new Path(entry.path("pointer").asText());
            FileSystem files = folder.getFileSystem();
            if (files.exists(folder)) {
                files.delete(folder, false);
            }
        } catch (IOException | RuntimeException e) {
            LOG.warn("Holdfast: the folder {} of a deleted checkpoint is left: {}",
                    entry.path("pointer").asText(), e.toString());
        }
    }

    /**
     * Why a job cannot be recovered, or null. Asked before the dispatcher takes the job, since a failure after that
     * would stop the dispatcher and with it all other jobs.
     */
    String whyNotRecoverable(String id) throws IOException {
        if (cluster.allowOlder) {
            return null;
        }
        JobState job = job(JobID.fromHexString(id));
        JsonNode entries = job.list().path("checkpoints");
        JsonNode newest = entries.size() == 0 ? null : entries.get(entries.size() - 1);
        if (newest == null || newest.hasNonNull("quarantined")) {
            return null;
        }
        try {
            load(job, newest, new DeletionTracker(Runnable::run));
            return null;
        } catch (CheckpointCodec.Unreadable e) {
            return newestUnreadable(job.job, newest, e);
        }
    }

    // -------------------------------------------------------------- clean-up

    /** The job's HA data go when its last files are deleted, so that a kill in between leaves no file unnamed. */
    public void cleanUp(JobID id) throws Exception {
        JobState job;
        synchronized (this) {
            if (keepData.contains(id)) {
                LOG.error("Holdfast: the data of job {} are kept although Flink gave the job up: its newest checkpoint could not "
                        + "be read, and its pointers may still be needed", id);
                return;
            }
            job = jobs.get(id);
        }
        if (job != null) {
            if (!job.discards.await(LAST_DELETIONS)) {
                throw new IOException("Holdfast: files of job " + id + " are still being deleted; its data are removed after that");
            }
            if (!job.discards.failed().isEmpty()) {
                tryAgain(job);
            }
        }
        cluster.cleanUp("/jobs/" + id.toHexString());
        synchronized (this) {
            jobs.remove(id, job);
        }
    }

    private void tryAgain(JobState job) throws Exception {
        Set<Long> failed = job.discards.failed();
        for (JsonNode entry : job.list().path("discards")) {
            if (failed.contains(entry.path("id").asLong())) {
                try {
                    CheckpointCodec.load(job.job, entry, new DeletionTracker(Runnable::run), job.discards)
                            .markAsDiscarded()
                            .discard();
                } catch (CheckpointCodec.Unreadable e) {
                    job.discards.finished(entry.path("id").asLong());
                }
            }
        }
        if (!job.discards.failed().isEmpty()) {
            throw new IOException("Holdfast: checkpoints " + job.discards.failed() + " of job " + job.job
                    + " are not wholly deleted; trying again later");
        }
    }
}
