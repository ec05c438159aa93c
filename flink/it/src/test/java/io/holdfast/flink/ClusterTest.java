package io.holdfast.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.core.execution.CheckpointType;
import org.apache.flink.runtime.client.JobStatusMessage;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A whole Flink with the plugin: RocksDB, incremental checkpoints, triggered one by one so that none is under way when a
 * leadership ends; then every file that is left at the end is a leak.
 */
@Timeout(180)
class ClusterTest {
    private static final int KEYS = 50;

    @TempDir Path folder;
    private FakeDaemon fake;
    private RealDaemon real;
    private String endpoint;
    private MiniCluster cluster;

    @BeforeEach
    void startDaemon() throws Exception {
        String path = System.getProperty("holdfast.it.daemon", "");
        if (path.isEmpty()) {
            fake = new FakeDaemon();
            endpoint = fake.endpoint();
        } else {
            real = new RealDaemon(path, folder.resolve("daemon"));
            endpoint = real.endpoint();
        }
    }

    @AfterEach
    void stop() throws Exception {
        if (cluster != null) {
            cluster.closeAsyncWithoutCleaningHighAvailabilityData().get(60, TimeUnit.SECONDS);
        }
        if (fake != null) {
            fake.close();
        }
        if (real != null) {
            real.close();
        }
    }

    private Configuration configuration(String... more) {
        Configuration configuration = new Configuration();
        configuration.setString("high-availability.type", HoldfastHaServicesFactory.class.getName());
        configuration.setString("high-availability.cluster-id", "mini");
        configuration.setString("high-availability.storageDir", folder.resolve("ha").toUri().toString());
        configuration.setString("holdfast.endpoints", endpoint);
        configuration.setString("execution.checkpointing.dir", folder.resolve("checkpoints").toUri().toString());
        configuration.setString("execution.checkpointing.num-retained", "2");
        configuration.setString("execution.checkpointing.interval", "1 h");
        configuration.setString("execution.checkpointing.incremental", "true");
        configuration.setString("execution.checkpointing.data-inline-threshold", "0 b");
        configuration.setString("state.backend.type", "rocksdb");
        configuration.setString("restart-strategy.type", "fixed-delay");
        configuration.setString("restart-strategy.fixed-delay.attempts", "1000");
        configuration.setString("restart-strategy.fixed-delay.delay", "50 ms");
        configuration.setString("taskmanager.memory.managed.size", "64m");
        configuration.setString("rest.port", "0");
        for (int i = 0; i < more.length; i += 2) {
            configuration.setString(more[i], more[i + 1]);
        }
        return configuration;
    }

    private void startCluster(String... more) throws Exception {
        cluster = new MiniCluster(
                new MiniClusterConfiguration.Builder()
                        .setConfiguration(configuration(more))
                        .setNumTaskManagers(1)
                        .setNumSlotsPerTaskManager(2)
                        .build());
        cluster.start();
    }

    private void stopCluster() throws Exception {
        cluster.closeAsyncWithoutCleaningHighAvailabilityData().get(60, TimeUnit.SECONDS);
        cluster = null;
    }

    /** Each key sees its numbers without a gap and without a repeat, or the job fails. */
    private static final class Remember extends KeyedProcessFunction<Long, Long, Long> {
        private static final long serialVersionUID = 1L;
        private transient ValueState<byte[]> last;

        @Override
        public void open(OpenContext context) {
            last = getRuntimeContext().getState(new ValueStateDescriptor<>("last", byte[].class));
        }

        @Override
        public void processElement(Long number, Context context, Collector<Long> out) throws Exception {
            byte[] before = last.value();
            long expected = before == null ? context.getCurrentKey() : ByteBuffer.wrap(before).getLong() + KEYS;
            if (number != expected) {
                throw new IllegalStateException("state mismatch: expected " + expected + ", got " + number);
            }
            byte[] now = new byte[1000];
            new Random(number).nextBytes(now);
            ByteBuffer.wrap(now).putLong(number);
            last.update(now);
        }
    }

    private JobID submit(String... more) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(configuration(more));
        env.setParallelism(1);
        GeneratorFunction<Long, Long> identity = index -> index;
        env.fromSource(
                        new DataGeneratorSource<>(identity, Long.MAX_VALUE, RateLimiterStrategy.perSecond(2000), Types.LONG),
                        WatermarkStrategy.noWatermarks(), "numbers")
                .uid("numbers")
                .keyBy(n -> n % KEYS)
                .process(new Remember())
                .uid("remember")
                .sinkTo(new DiscardingSink<>());
        JobGraph graph = env.getStreamGraph().getJobGraph();
        cluster.submitJob(graph).get(60, TimeUnit.SECONDS);
        running(graph.getJobID());
        return graph.getJobID();
    }

    private JobStatus status(JobID job) {
        try {
            return cluster.getJobStatus(job).get(60, TimeUnit.SECONDS);
        } catch (Exception e) {
            return null; /* no dispatcher leads just now, or the job is not there */
        }
    }

    private void running(JobID job) throws Exception {
        Await.until("job " + job + " running", 120, () -> status(job) == JobStatus.RUNNING);
    }

    private long checkpoint(JobID job) throws Exception {
        long[] id = {0};
        Await.until("a checkpoint", 120, () -> {
            try {
                id[0] = cluster.triggerCheckpoint(job, CheckpointType.CONFIGURED).get(60, TimeUnit.SECONDS);
                return true;
            } catch (Exception e) {
                return false; /* not all tasks run yet */
            }
        });
        return id[0];
    }

    private void cancel(JobID job) throws Exception {
        cluster.cancelJob(job).get(60, TimeUnit.SECONDS);
        Await.until("job " + job + " over", 120, () -> {
            JobStatus now = status(job);
            return now == null || now.isGloballyTerminalState();
        });
    }

    private List<Path> files() throws IOException {
        Path root = folder.resolve("checkpoints");
        if (!Files.exists(root)) {
            return List.of();
        }
        List<Path> files = new ArrayList<>();
        Files.walkFileTree(
                root,
                new SimpleFileVisitor<>() {
                    @Override
                    public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                        files.add(root.relativize(file));
                        return FileVisitResult.CONTINUE;
                    }

                    @Override
                    public FileVisitResult visitFileFailed(Path file, IOException deletedMeanwhile) {
                        return FileVisitResult.CONTINUE;
                    }

                    @Override
                    public FileVisitResult postVisitDirectory(Path directory, IOException deletedMeanwhile) {
                        return FileVisitResult.CONTINUE;
                    }
                });
        return files;
    }

    /** When nothing is deleted any more: Flink does that in the background, and says nowhere that it is done. */
    private List<Path> filesAtRest() throws Exception {
        List<List<Path>> seen = new ArrayList<>();
        Await.until("files at rest", () -> {
            Thread.sleep(500);
            seen.add(files());
            int last = seen.size() - 1;
            return last >= 3 && seen.get(last).equals(seen.get(last - 1)) && seen.get(last).equals(seen.get(last - 3));
        });
        return seen.get(seen.size() - 1);
    }

    private void noFileLeft() throws Exception {
        try {
            Await.until("no checkpoint file", () -> files().isEmpty());
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + "; there are " + files(), e);
        }
    }

    @Test
    void job_comes_back_after_a_bounce_and_in_a_second_cluster_and_leaves_no_file() throws Exception {
        startCluster();
        JobID job = submit();
        long last = 0;
        for (int i = 0; i < 4; i++) {
            long id = checkpoint(job);
            assertTrue(id > last);
            last = id;
        }
        if (fake != null) {
            assertEquals(2, fake.checkpoints(job.toHexString()).size());
            for (int i = 0; i < 2; i++) {
                /* Wait for the recovery: a checkpoint of the ending leadership would be aborted, and its files are named by nobody. */
                String list = "GET /v1/clusters/default/mini/jobs/" + job.toHexString() + "/checkpoints";
                long recoveries = fake.count(list);
                fake.bounce();
                Await.until("recovered", () -> fake.count(list) > recoveries);
                running(job);
                for (int k = 0; k < 3; k++) {
                    long id = checkpoint(job);
                    assertTrue(id > last, "id " + id + " after " + last);
                    last = id;
                }
            }
        }
        stopCluster();
        startCluster();
        running(job);
        for (int i = 0; i < 3; i++) {
            long id = checkpoint(job);
            assertTrue(id > last, "id " + id + " after " + last);
            last = id;
        }
        assertFalse(files().isEmpty());
        cancel(job);
        noFileLeft();
        if (fake != null) {
            Await.until("the job's data are gone", () -> !fake.jobs().contains(job.toHexString()));
            assertFalse(fake.hasPayload("graphs", job.toHexString()));
            Await.until("a tombstone", () -> "tombstone".equals(fake.result(job.toHexString())));
        }
        stopCluster();
        startCluster();
        assertEquals(List.of(), jobs(), "an ended job never comes back");
    }

    @Test
    void cancelled_right_after_a_recovery_leaves_no_file() throws Exception {
        startCluster();
        JobID job = submit();
        for (int i = 0; i < 3; i++) {
            checkpoint(job);
        }
        stopCluster();
        startCluster();
        running(job);
        cancel(job);
        noFileLeft();
    }

    @Test
    void retained_checkpoint_survives_and_a_new_job_starts_from_it() throws Exception {
        String[] retain = {"execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION"};
        startCluster();
        JobID first = submit(retain);
        for (int i = 0; i < 3; i++) {
            checkpoint(first);
        }
        cancel(first);
        Path left;
        try (Stream<Path> all = Files.list(folder.resolve("checkpoints").resolve(first.toHexString()))) {
            left = all.filter(each -> each.getFileName().toString().startsWith("chk-")).max(
                    java.util.Comparator.comparing(each -> Long.parseLong(each.getFileName().toString().substring(4)))).orElse(null);
        }
        assertNotNull(left);
        List<Path> retained = filesAtRest();
        String path = left.toUri().toString();
        JobID second = submit("execution.savepoint.path", path, "execution.state-recovery.path", path);
        for (int i = 0; i < 3; i++) {
            checkpoint(second);
        }
        stopCluster();
        startCluster();
        running(second);
        checkpoint(second);
        cancel(second);
        Await.until("only the retained files of the first job", () -> files().size() == retained.size());
        assertTrue(files().containsAll(retained), "nothing of what the user retained is touched");
    }

    private Collection<JobID> jobs() throws Exception {
        return cluster.listJobs().get(60, TimeUnit.SECONDS).stream()
                .filter(each -> !each.getJobState().isGloballyTerminalState())
                .map(JobStatusMessage::getJobId)
                .collect(Collectors.toList());
    }

    @Test
    void job_whose_newest_checkpoint_is_gone_is_set_aside_and_the_other_runs_on() throws Exception {
        startCluster();
        JobID broken = submit();
        JobID sound = submit();
        checkpoint(sound);
        long newest = 0;
        for (int i = 0; i < 2; i++) {
            newest = checkpoint(broken);
        }
        stopCluster();
        Files.delete(folder.resolve("checkpoints").resolve(broken.toHexString()).resolve("chk-" + newest).resolve("_metadata"));
        startCluster();
        running(sound);
        checkpoint(sound);
        assertEquals(List.of(sound), List.copyOf(jobs()));
        if (fake != null) {
            assertTrue(fake.quarantined("graphs", broken.toHexString()).contains("newest checkpoint " + newest));
            assertEquals(2, fake.checkpoints(broken.toHexString()).size(), "nothing of the job is thrown away");
        }
        cancel(sound);
    }
}
