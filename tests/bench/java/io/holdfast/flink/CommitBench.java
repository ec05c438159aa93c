package io.holdfast.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.HighAvailabilityOptions;
import org.apache.flink.core.execution.RestoreMode;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.CheckpointRetentionPolicy;
import org.apache.flink.runtime.checkpoint.CheckpointsCleaner;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.CompletedCheckpointStore;
import org.apache.flink.runtime.leaderelection.LeaderElectionDriver;
import org.apache.flink.runtime.leaderelection.LeaderInformation;
import org.apache.flink.runtime.leaderelection.LeaderInformationRegister;
import org.apache.flink.runtime.state.SharedStateRegistry;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.filesystem.FsCompletedCheckpointStorageLocation;
import org.apache.flink.runtime.util.ZooKeeperUtils;

import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.locks.LockSupport;

/**
 * What one completed checkpoint costs in the HA store: Flink's own DefaultCompletedCheckpointStore, over ZooKeeper or
 * over Holdfast, one store and one thread for each job, in closed loops. Only addCheckpointAndSubsumeOldestOne is timed.
 * The checkpoints themselves are real folders and files, made before and deleted after by Flink; they lie in memory,
 * since neither store has a part in them.
 * Arguments: holdfast|zookeeper, endpoint or quorum, folder of the HA storage, folder of the checkpoints, jobs, warm-up
 * seconds, seconds, milliseconds from the begin of one checkpoint of a job to the begin of its next (0: closed loops).
 * Prints "measuring" when it is warm, and one JSON line at the end; client_cpu_us is the processor time of this whole process for each commit.
 */
public final class CommitBench {
    private static final byte[] METADATA = new byte[2400];

    private CommitBench() {}

    /** A checkpoint with a real folder and a real `_metadata`, as large as that of a small job. */
    private static CompletedCheckpoint checkpoint(java.nio.file.Path folder, JobID job, long id) throws Exception {
        java.nio.file.Path chk = folder.resolve("chk-" + id);
        Files.createDirectories(chk);
        java.nio.file.Path metadata = chk.resolve("_metadata");
        Files.write(metadata, METADATA);
        FileStateHandle handle = new FileStateHandle(new Path(metadata.toUri()), METADATA.length);
        Path path = new Path(chk.toUri());
        return new CompletedCheckpoint(
                job, id, id, id + 1, new HashMap<>(), List.of(),
                CheckpointProperties.forCheckpoint(CheckpointRetentionPolicy.NEVER_RETAIN_AFTER_TERMINATION),
                new FsCompletedCheckpointStorageLocation(path.getFileSystem(), path, handle, path.toString()), null);
    }

    private interface Stores {
        CompletedCheckpointStore open(JobID job) throws Exception;
    }

    private static final class Wait implements LeaderElectionDriver.Listener {
        final CountDownLatch granted = new CountDownLatch(1);

        @Override
        public void onGrantLeadership(UUID id) {
            granted.countDown();
        }

        @Override
        public void onRevokeLeadership() {
            System.err.println("leadership lost");
        }

        @Override
        public void onLeaderInformationChange(String component, LeaderInformation information) {}

        @Override
        public void onLeaderInformationChange(LeaderInformationRegister register) {}

        @Override
        public void onError(Throwable t) {
            t.printStackTrace();
        }
    }

    private static SharedStateRegistry registry(
            java.util.concurrent.Executor deleter, java.util.Collection<CompletedCheckpoint> known) {
        return SharedStateRegistry.DEFAULT_FACTORY.create(deleter, known, RestoreMode.CLAIM);
    }

    private static Stores holdfast(Configuration conf, String endpoint, ExecutorService io) throws Exception {
        conf.setString("holdfast.endpoints", endpoint);
        Cluster cluster = new Cluster(conf);
        Wait wait = new Wait();
        cluster.elect(wait);
        wait.granted.await();
        return job -> cluster.recovery().recover(job, 1, CommitBench::registry, io);
    }

    private static Stores zookeeper(Configuration conf, String quorum, ExecutorService io) {
        conf.set(HighAvailabilityOptions.HA_MODE, "zookeeper");
        conf.set(HighAvailabilityOptions.HA_ZOOKEEPER_QUORUM, quorum);
        var client = ZooKeeperUtils.startCuratorFramework(conf, Throwable::printStackTrace).asCuratorFramework();
        return job ->
                ZooKeeperUtils.createCompletedCheckpoints(
                        ZooKeeperUtils.useNamespaceAndEnsurePath(client, "/jobs/" + job), conf, 1,
                        SharedStateRegistry.DEFAULT_FACTORY, io, io, RestoreMode.CLAIM);
    }

    public static void main(String[] args) throws Exception {
        java.nio.file.Path folder = Paths.get(args[2]);
        java.nio.file.Path checkpoints = Paths.get(args[3]);
        int jobs = Integer.parseInt(args[4]);
        long warmUntil = System.nanoTime() + Long.parseLong(args[5]) * 1_000_000_000L;
        long until = warmUntil + Long.parseLong(args[6]) * 1_000_000_000L;
        long paceNs = Long.parseLong(args[7]) * 1_000_000L;
        ExecutorService io = Executors.newFixedThreadPool(8);
        Configuration conf = new Configuration();
        conf.set(HighAvailabilityOptions.HA_CLUSTER_ID, "bench-" + UUID.randomUUID());
        conf.set(HighAvailabilityOptions.HA_STORAGE_PATH, folder.resolve("ha").toUri().toString());
        Stores stores = args[0].equals("holdfast") ? holdfast(conf, args[1], io) : zookeeper(conf, args[1], io);
        long[][] samples = new long[jobs][];
        Thread[] threads = new Thread[jobs];
        ThreadLocalRandom.current().nextBytes(METADATA);
        for (int i = 0; i < jobs; i++) {
            int slot = i;
            JobID job = new JobID();
            CompletedCheckpointStore store = stores.open(job);
            threads[i] =
                    new Thread(
                            () -> {
                                long[] times = new long[1 << 20];
                                int count = 0;
                                long id = 1;
                                /* So that the jobs do not all come at once. */
                                long due = System.nanoTime() + (paceNs == 0 ? 0 : ThreadLocalRandom.current().nextLong(paceNs));
                                try {
                                    CheckpointsCleaner cleaner = new CheckpointsCleaner();
                                    for (; System.nanoTime() < until; id++) {
                                        CompletedCheckpoint next = checkpoint(checkpoints.resolve(job.toString()), job, id);
                                        for (; paceNs > 0 && System.nanoTime() < due; ) {
                                            LockSupport.parkNanos(due - System.nanoTime());
                                        }
                                        due += paceNs;
                                        long start = System.nanoTime();
                                        store.addCheckpointAndSubsumeOldestOne(next, cleaner, () -> {});
                                        long end = System.nanoTime();
                                        if (start >= warmUntil && end < until) {
                                            times[count++] = end - start;
                                        }
                                    }
                                } catch (Exception e) {
                                    e.printStackTrace();
                                    System.exit(1);
                                }
                                samples[slot] = Arrays.copyOf(times, count);
                            });
        }
        for (Thread thread : threads) {
            thread.start();
        }
        var process = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        while (System.nanoTime() < warmUntil) {
            LockSupport.parkNanos(warmUntil - System.nanoTime());
        }
        System.out.println("measuring"); // whoever watches the server's processor time counts from here
        long cpuNs = process.getProcessCpuTime();
        for (Thread thread : threads) {
            thread.join();
        }
        cpuNs = process.getProcessCpuTime() - cpuNs;
        if (Arrays.stream(samples).allMatch(times -> times.length == 0)) {
            System.err.println("no commit was completed in the measured time: the machine is too busy, or --seconds too short");
            System.exit(1);
        }
        long[] all = Arrays.stream(samples).flatMapToLong(Arrays::stream).sorted().toArray();
        System.out.printf(
                "{\"commits\": %d, \"per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
                        + "\"client_cpu_us\": %.1f}%n",
                all.length, all.length / Double.parseDouble(args[6]),
                all[all.length / 2] / 1e6, all[(int) (all.length * 0.99)] / 1e6,
                cpuNs / 1e3 / all.length);
        System.exit(0);
    }
}
