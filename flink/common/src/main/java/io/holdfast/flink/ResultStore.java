package io.holdfast.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.highavailability.JobResultStoreOptions;
import org.apache.flink.runtime.highavailability.AbstractThreadsafeJobResultStore;
import org.apache.flink.runtime.highavailability.JobResultEntry;
import org.apache.flink.runtime.jobmaster.JobResult;
import org.apache.flink.runtime.rest.messages.json.JobResultDeserializer;
import org.apache.flink.runtime.rest.messages.json.JobResultSerializer;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.module.SimpleModule;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;
import java.util.HashSet;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.concurrent.Executor;

/** Job results in Holdfast: an unreadable one is quarantined instead of stopping the dispatcher. */
public final class ResultStore extends AbstractThreadsafeJobResultStore {
    private static final Logger LOG = LoggerFactory.getLogger(ResultStore.class);

    private final Cluster cluster;
    private final boolean keep;
    private final ObjectMapper mapper;

    public ResultStore(Cluster cluster, Executor executor) {
        super(executor);
        this.cluster = cluster;
        this.keep = !cluster.configuration.get(JobResultStoreOptions.DELETE_ON_COMMIT);
        SimpleModule module = new SimpleModule();
        module.addSerializer(JobResult.class, new JobResultSerializer());
        module.addDeserializer(JobResult.class, new JobResultDeserializer());
        this.mapper = new ObjectMapper().registerModule(module);
    }

    private String path(JobID job) {
        return cluster.path + "/results/" + job.toHexString();
    }

    private void write(Client.Call call, String what) throws IOException {
        try {
            cluster.client.call(call.fenced(cluster.requireLeadership(what)), cluster.commitTimeout);
        } catch (HoldfastException e) {
            if (e.is("FENCED")) {
                LOG.warn("Holdfast: write refused as fenced: {}", what);
            }
            throw e;
        }
    }

    @Override
    protected void createDirtyResultInternal(JobResultEntry entry) throws IOException {
        ObjectNode body = Client.object();
        body.set("result", mapper.valueToTree(entry.getJobResult()));
        write(new Client.Call("PUT", path(entry.getJobId())).json(body), "result of job " + entry.getJobId());
    }

    @Override
    protected void markResultAsCleanInternal(JobID job) throws IOException {
        ObjectNode body = Client.object();
        body.put("keep", keep);
        try {
            write(new Client.Call("POST", path(job) + "/clean").json(body), "clean result of job " + job);
        } catch (HoldfastException e) {
            if (e.is("NOT_FOUND")) {
                throw new NoSuchElementException("no result of job " + job);
            }
            throw e;
        }
    }

    private boolean has(JobID job, String state) throws IOException {
        try {
            return cluster.client.call(new Client.Call("GET", path(job)), cluster.commitTimeout)
                    .json().path("state").asText().equals(state);
        } catch (HoldfastException e) {
            if (e.is("NOT_FOUND")) {
                return false;
            }
            throw e;
        }
    }

    @Override
    protected boolean hasDirtyJobResultEntryInternal(JobID job) throws IOException {
        return has(job, "dirty");
    }

    @Override
    protected boolean hasCleanJobResultEntryInternal(JobID job) throws IOException {
        return has(job, "clean");
    }

    @Override
    protected Set<JobResult> getDirtyResultsInternal() throws IOException {
        Set<JobResult> results = new HashSet<>();
        JsonNode list =
                cluster.client.call(new Client.Call("GET", cluster.path + "/results?state=dirty"), cluster.commitTimeout)
                        .json().path("results");
        for (JsonNode each : list) {
            if (each.hasNonNull("quarantined")) {
                continue;
            }
            try {
                results.add(mapper.treeToValue(each.path("result"), JobResult.class));
            } catch (IOException | RuntimeException e) {
                String id = each.path("id").asText();
                LOG.error("Holdfast: the result of job {} cannot be read and is quarantined; its clean-up does not go on "
                        + "by itself, the other jobs do", id, e);
                ObjectNode body = Client.object();
                body.put("reason", String.valueOf(e.getMessage()).substring(0, Math.min(900, String.valueOf(e.getMessage()).length())));
                write(new Client.Call("POST", cluster.path + "/results/" + id + "/quarantine").json(body), "quarantine of a result");
            }
        }
        return results;
    }
}
