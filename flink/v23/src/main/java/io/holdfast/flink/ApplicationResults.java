package io.holdfast.flink;

import org.apache.flink.api.common.ApplicationID;
import org.apache.flink.runtime.highavailability.AbstractThreadsafeApplicationResultStore;
import org.apache.flink.runtime.highavailability.ApplicationResult;
import org.apache.flink.runtime.highavailability.ApplicationResultEntry;
import org.apache.flink.runtime.highavailability.ApplicationResultStoreOptions;
import org.apache.flink.runtime.rest.messages.json.ApplicationResultDeserializer;
import org.apache.flink.runtime.rest.messages.json.ApplicationResultSerializer;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.module.SimpleModule;

import java.io.IOException;
import java.util.Set;
import java.util.concurrent.Executor;

/** Flink's application results, in Holdfast. */
final class ApplicationResults extends AbstractThreadsafeApplicationResultStore {
    private final ResultRecords<ApplicationResult> records;

    ApplicationResults(Cluster cluster, Executor executor) {
        super(executor);
        SimpleModule module = new SimpleModule();
        module.addSerializer(ApplicationResult.class, new ApplicationResultSerializer());
        module.addDeserializer(ApplicationResult.class, new ApplicationResultDeserializer());
        this.records =
                new ResultRecords<>(
                        cluster, "application-results",
                        cluster.configuration.get(ApplicationResultStoreOptions.DELETE_ON_COMMIT),
                        ApplicationResult.class, new ObjectMapper().registerModule(module));
    }

    @Override
    protected void createDirtyResultInternal(ApplicationResultEntry entry) throws IOException {
        records.createDirty(entry.getApplicationId().toHexString(), entry.getApplicationResult());
    }

    @Override
    protected void markResultAsCleanInternal(ApplicationID id) throws IOException {
        records.markClean(id.toHexString());
    }

    @Override
    protected boolean hasDirtyApplicationResultEntryInternal(ApplicationID id) throws IOException {
        return records.has(id.toHexString(), "dirty");
    }

    @Override
    protected boolean hasCleanApplicationResultEntryInternal(ApplicationID id) throws IOException {
        return records.has(id.toHexString(), "clean");
    }

    @Override
    protected Set<ApplicationResult> getDirtyResultsInternal() throws IOException {
        return records.dirty();
    }

    @Override
    protected ApplicationResult getCleanApplicationResultInternal(ApplicationID id) throws IOException {
        return records.clean(id.toHexString());
    }
}
