package io.holdfast.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.RecoveryClaimMode;
import org.apache.flink.runtime.blob.BlobUtils;
import org.apache.flink.runtime.checkpoint.CheckpointIDCounter;
import org.apache.flink.runtime.checkpoint.CheckpointRecoveryFactory;
import org.apache.flink.runtime.checkpoint.CompletedCheckpointStore;
import org.apache.flink.runtime.highavailability.AbstractHaServices;
import org.apache.flink.runtime.jobmanager.DefaultExecutionPlanStore;
import org.apache.flink.runtime.jobmanager.ExecutionPlanStore;
import org.apache.flink.runtime.jobmanager.ExecutionPlanStoreUtil;
import org.apache.flink.runtime.jobmanager.NoOpExecutionPlanStoreWatcher;
import org.apache.flink.runtime.leaderretrieval.DefaultLeaderRetrievalService;
import org.apache.flink.runtime.leaderretrieval.LeaderRetrievalService;
import org.apache.flink.runtime.state.SharedStateRegistryFactory;

import java.util.concurrent.Executor;

/** The services as Flink 2.0 to 2.2 want them. All that matters is in the common part. */
public final class HaServicesV20 extends AbstractHaServices {
    private final Cluster cluster;

    public HaServicesV20(Configuration configuration, Executor executor) throws Exception {
        this(configuration, executor, new Cluster(configuration));
    }

    private HaServicesV20(Configuration configuration, Executor executor, Cluster cluster) throws Exception {
        super(
                configuration,
                cluster::elect,
                executor,
                BlobUtils.createBlobStoreFromConfig(configuration),
                new ResultStore(cluster, executor));
        this.cluster = cluster;
    }

    @Override
    protected LeaderRetrievalService createLeaderRetrievalService(String leaderName) {
        return new DefaultLeaderRetrievalService((handler, fatal) -> cluster.watch.retrieve(leaderName, handler));
    }

    @Override
    protected CheckpointRecoveryFactory createCheckpointRecoveryFactory() {
        Recovery recovery = cluster.recovery;
        return new CheckpointRecoveryFactory() {
            @Override
            public CompletedCheckpointStore createRecoveredCompletedCheckpointStore(
                    JobID job, int retained, SharedStateRegistryFactory registry, Executor io, RecoveryClaimMode mode)
                    throws Exception {
                /* A job's own recovered checkpoints are its own: without CLAIM their shared files are never deleted. */
                RecoveryClaimMode own = mode == RecoveryClaimMode.LEGACY ? mode : RecoveryClaimMode.CLAIM;
                return recovery.recover(job, retained, (deleter, known) -> registry.create(deleter, known, own), io);
            }

            @Override
            public CheckpointIDCounter createCheckpointIDCounter(JobID job) throws Exception {
                return recovery.counter(job);
            }
        };
    }

    @Override
    protected ExecutionPlanStore createExecutionPlanStore() {
        return new DefaultExecutionPlanStore<>(
                new PayloadStore<>(cluster, "graphs"),
                NoOpExecutionPlanStoreWatcher.INSTANCE,
                new ExecutionPlanStoreUtil() {
                    @Override
                    public String jobIDToName(JobID job) {
                        return job.toHexString();
                    }

                    @Override
                    public JobID nameToJobID(String name) {
                        return JobID.fromHexString(name);
                    }
                });
    }

    @Override
    protected void internalClose() {
        cluster.close();
    }

    @Override
    protected void internalCleanup() throws Exception {
        cluster.cleanUpAll();
    }

    @Override
    protected void internalCleanupJobData(JobID job) throws Exception {
        cluster.recovery.cleanUp(job);
    }

    @Override
    protected String getLeaderPathForResourceManager() {
        return "resource_manager";
    }

    @Override
    protected String getLeaderPathForDispatcher() {
        return "dispatcher";
    }

    @Override
    protected String getLeaderPathForJobManager(JobID job) {
        return "job-" + job.toHexString();
    }

    @Override
    protected String getLeaderPathForRestServer() {
        return "rest_server";
    }
}
