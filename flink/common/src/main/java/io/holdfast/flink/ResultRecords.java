package io.holdfast.flink;

import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;
import java.util.HashSet;
import java.util.NoSuchElementException;
import java.util.Set;

/** Results of jobs or of applications in Holdfast: an unreadable one is quarantined, the dispatcher goes on. */
public final class ResultRecords<T> {
    private static final Logger LOG = LoggerFactory.getLogger(ResultRecords.class);

    private final Cluster cluster;
    private final String kind;
    private final boolean keep;
    private final Class<T> type;
    private final ObjectMapper mapper;

    /** {@code mapper} knows how Flink writes {@code type}; {@code kind} is the protocol's name. */
    public ResultRecords(Cluster cluster, String kind, boolean deleteOnCommit, Class<T> type, ObjectMapper mapper) {
        this.cluster = cluster;
        this.kind = kind;
        this.keep = !deleteOnCommit;
        this.type = type;
        this.mapper = mapper;
    }

    private void write(Client.Call call, String what) throws IOException {
        String said = what + " in " + kind;
        cluster.write(call.fenced(cluster.requireLeadership(said)), cluster.commitTimeout, said);
    }

    private String path(String id) {
        return cluster.path + "/" + kind + "/" + id;
    }

    public void createDirty(String id, T result) throws IOException {
        ObjectNode body = Client.object();
        body.set("result", mapper.valueToTree(result));
        write(new Client.Call("PUT", path(id)).json(body), "result " + id);
    }

    public void markClean(String id) throws IOException {
        ObjectNode body = Client.object();
        body.put("keep", keep);
        try {
            write(new Client.Call("POST", path(id) + "/clean").json(body), "clean result " + id);
        } catch (HoldfastException e) {
            if (e.is("NOT_FOUND")) {
                throw new NoSuchElementException("there is no result " + id + " in " + kind);
            }
            throw e;
        }
    }

    private JsonNode get(String id) throws IOException {
        try {
            return cluster.client.call(new Client.Call("GET", path(id)), cluster.commitTimeout).json();
        } catch (HoldfastException e) {
            if (e.is("NOT_FOUND")) {
                return Client.object();
            }
            throw e;
        }
    }

    public boolean has(String id, String state) throws IOException {
        return get(id).path("state").asText().equals(state);
    }

    /** The result if it is there and clean, else null. */
    public T clean(String id) throws IOException {
        JsonNode record = get(id);
        return record.path("state").asText().equals("clean") ? mapper.treeToValue(record.path("result"), type) : null;
    }

    public Set<T> dirty() throws IOException {
        Set<T> results = new HashSet<>();
        JsonNode list =
                cluster.client
                        .call(new Client.Call("GET", cluster.path + "/" + kind + "?state=dirty"), cluster.commitTimeout)
                        .json()
                        .path(kind);
        for (JsonNode each : list) {
            String id = each.path("id").asText();
            if (each.hasNonNull("quarantined")) {
                LOG.error("Holdfast: {} {} is quarantined, its clean-up does not go on: {}",
                        kind, id, each.path("quarantined").asText());
                continue;
            }
            try {
                results.add(mapper.treeToValue(each.path("result"), type));
            } catch (IOException | RuntimeException e) {
                LOG.error(
                        "Holdfast: {} {} cannot be read and is quarantined; the job is over and not started again, but its "
                                + "clean-up does not go on by itself. The other jobs go on",
                        kind, id, e);
                ObjectNode body = Client.object();
                body.put("reason", Cluster.reason("cannot be read by this Flink: " + e.getMessage()));
                write(new Client.Call("POST", path(id) + "/quarantine").json(body), "quarantine of result " + id);
            }
        }
        return results;
    }
}
