package io.holdfast.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.highavailability.AbstractThreadsafeJobResultStore;
import org.apache.flink.runtime.highavailability.JobResultEntry;
import org.apache.flink.runtime.highavailability.JobResultStoreOptions;
import org.apache.flink.runtime.jobmaster.JobResult;
import org.apache.flink.runtime.rest.messages.json.JobResultDeserializer;
import org.apache.flink.runtime.rest.messages.json.JobResultSerializer;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.module.SimpleModule;

import java.io.IOException;
import java.util.Set;
import java.util.concurrent.Executor;

/** Flink's job results, in Holdfast. */
public final class ResultStore extends AbstractThreadsafeJobResultStore {
    private final ResultRecords<JobResult> records;

    public ResultStore(Cluster cluster, Executor executor) {
        super(executor);
        SimpleModule module = new SimpleModule();
        module.addSerializer(JobResult.class, new JobResultSerializer());
        module.addDeserializer(JobResult.class, new JobResultDeserializer());
        this.records =
                new ResultRecords<>(
                        cluster, "results", cluster.configuration.get(JobResultStoreOptions.DELETE_ON_COMMIT),
                        JobResult.class, new ObjectMapper().registerModule(module));
    }

    @Override
    protected void createDirtyResultInternal(JobResultEntry entry) throws IOException {
        records.createDirty(entry.getJobId().toHexString(), entry.getJobResult());
    }

    @Override
    protected void markResultAsCleanInternal(JobID job) throws IOException {
        records.markClean(job.toHexString());
    }

    @Override
    protected boolean hasDirtyJobResultEntryInternal(JobID job) throws IOException {
        return records.has(job.toHexString(), "dirty");
    }

    @Override
    protected boolean hasCleanJobResultEntryInternal(JobID job) throws IOException {
        return records.has(job.toHexString(), "clean");
    }

    @Override
    protected Set<JobResult> getDirtyResultsInternal() throws IOException {
        return records.dirty();
    }
}
