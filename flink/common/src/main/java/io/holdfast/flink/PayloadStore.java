package io.holdfast.flink;

import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.persistence.PossibleInconsistentStateException;
import org.apache.flink.runtime.persistence.StateHandleStore;
import org.apache.flink.runtime.state.RetrievableStateHandle;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.util.InstantiationUtil;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;
import java.io.Serializable;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

/**
 * Job graphs, execution plans and applications: their bytes go through the daemon, so nothing is left behind in
 * high-availability.storageDir.
 *
 * <p>A failed write is expensive here: Flink answers it by deleting all HA data of that job, checkpoints included. So
 * writes are tried for as long as the dispatcher's main thread may be held up. What cannot be read is quarantined, and
 * the other jobs of the cluster recover without it.
 */
public final class PayloadStore<T extends Serializable> implements StateHandleStore<T, Version> {
    private static final Logger LOG = LoggerFactory.getLogger(PayloadStore.class);
    private static final Duration WRITE_TIME = Duration.ofSeconds(8);

    private final Cluster cluster;
    private final String kind;
    private volatile Leadership fence;

    public PayloadStore(Cluster cluster, String kind) {
        this.cluster = cluster;
        this.kind = kind;
        this.fence = cluster.leadership();
    }

    private Leadership fence() throws HoldfastException {
        Leadership now = fence;
        if (now == null) {
            now = cluster.requireLeadership(kind);
            fence = now;
        }
        return now;
    }

    private String path(String name) {
        return cluster.path + "/" + kind + "/" + name;
    }

    private static String digest(byte[] bytes) throws IOException {
        try {
            StringBuilder hex = new StringBuilder("sha256=");
            for (byte b : MessageDigest.getInstance("SHA-256").digest(bytes)) {
                hex.append(String.format("%02x", b));
            }
            return hex.toString();
        } catch (NoSuchAlgorithmException e) {
            throw new IOException(e);
        }
    }

    private void put(String name, T state, String condition) throws Exception {
        byte[] bytes = InstantiationUtil.serializeObject(state);
        try {
            cluster.write(
                    new Client.Call("PUT", path(name))
                            .bytes(bytes, "Holdfast-If", condition, "Holdfast-Digest", digest(bytes))
                            .fenced(fence()),
                    WRITE_TIME,
                    kind + "/" + name);
        } catch (HoldfastException e) {
            if (e.isAmbiguous()) {
                throw new PossibleInconsistentStateException(
                        "It is not known whether " + kind + "/" + name + " was stored", e);
            }
            if (e.is("EXISTS")) {
                throw new AlreadyExistException(kind + "/" + name + " exists with other content", e);
            }
            if (e.is("NOT_FOUND") || e.is("CONFLICT")) {
                throw new NotExistException(kind + "/" + name + ": " + e.getMessage(), e);
            }
            throw e;
        }
    }

    @Override
    public RetrievableStateHandle<T> addAndLock(String name, T state) throws Exception {
        /* A quarantined payload counts as absent: submitting the job again is how people replace it. */
        JsonNode there = info(name);
        put(name, state, there != null && there.hasNonNull("quarantined") ? "any" : "absent");
        return new Handle(name);
    }

    @Override
    public void replace(String name, Version version, T state) throws Exception {
        put(name, state, version.isExisting() ? "revision=" + version.revision : "absent");
    }

    private JsonNode info(String name) throws IOException {
        try {
            return cluster.client.call(new Client.Call("GET", path(name) + "/info"), WRITE_TIME).json();
        } catch (HoldfastException e) {
            if (e.is("NOT_FOUND")) {
                return null;
            }
            throw e;
        }
    }

    @Override
    public Version exists(String name) throws Exception {
        JsonNode info = info(name);
        return info == null || info.hasNonNull("quarantined") ? Version.ABSENT : new Version(info.path("revision").asLong());
    }

    @Override
    public RetrievableStateHandle<T> getAndLock(String name) throws Exception {
        if (!exists(name).isExisting()) {
            throw new NotExistException(kind + "/" + name + " does not exist");
        }
        return new Handle(name);
    }

    private JsonNode list() throws IOException {
        return cluster.client.call(new Client.Call("GET", cluster.path + "/" + kind), cluster.commitTimeout).json().path(kind);
    }

    @Override
    public List<Tuple2<RetrievableStateHandle<T>, String>> getAllAndLock() throws Exception {
        List<Tuple2<RetrievableStateHandle<T>, String>> all = new ArrayList<>();
        for (String name : getAllHandles()) {
            all.add(Tuple2.of(new Handle(name), name));
        }
        return all;
    }

    /** The names that can be recovered: each is read once here, since one that cannot be would stop the dispatcher. */
    @Override
    public Collection<String> getAllHandles() throws Exception {
        List<String> names = new ArrayList<>();
        for (JsonNode each : list()) {
            String name = each.path("id").asText();
            if (each.hasNonNull("quarantined")) {
                LOG.error("Holdfast: {} {} is quarantined and not recovered: {}", kind, name, each.path("quarantined").asText());
                continue;
            }
            try {
                new Handle(name).retrieveState();
                String why = kind.equals("graphs") ? cluster.recovery.whyNotRecoverable(name) : null;
                if (why != null) {
                    quarantine(name, why);
                    continue;
                }
                names.add(name);
            } catch (HoldfastException e) {
                if (e.is("NOT_FOUND")) {
                    continue; /* removed since it was listed */
                }
                if (!e.is("CORRUPT")) {
                    throw e;
                }
                quarantine(name, e.getMessage());
            } catch (Unreadable e) {
                quarantine(name, e.getMessage());
            }
        }
        return names;
    }

    /** The stored bytes are not what was written, or not what this Flink can read; no retry changes that. */
    private static final class Unreadable extends IOException {
        private static final long serialVersionUID = 1L;

        Unreadable(String message, Throwable cause) {
            super(message, cause);
        }
    }

    private void quarantine(String name, String reason) throws Exception {
        LOG.error(
                "Holdfast: {} {} cannot be recovered and is quarantined; the other jobs go on. Its data are kept. Submit the job "
                        + "again to replace it, or remove the cause and submit it from a checkpoint. Reason: {}",
                kind, name, reason);
        ObjectNode body = Client.object();
        body.put("reason", Cluster.reason(reason));
        cluster.write(
                new Client.Call("POST", path(name) + "/quarantine").json(body).fenced(fence()), cluster.commitTimeout,
                "quarantine of " + kind + "/" + name);
    }

    @Override
    public boolean releaseAndTryRemove(String name) throws Exception {
        cluster.write(
                new Client.Call("DELETE", path(name)).fenced(fence()), cluster.commitTimeout, "removal of " + kind + "/" + name);
        return true;
    }

    @Override
    public void clearEntries() throws Exception {
        for (JsonNode each : list()) {
            releaseAndTryRemove(each.path("id").asText());
        }
    }

    @Override
    public void release(String name) {}

    @Override
    public void releaseAll() {}

    /** Reads the payload when asked; nothing of it is kept. */
    private final class Handle implements RetrievableStateHandle<T> {
        private static final long serialVersionUID = 1L;
        private final String name;

        Handle(String name) {
            this.name = name;
        }

        @Override
        public T retrieveState() throws IOException, ClassNotFoundException {
            Client.Answer answer = cluster.client.call(new Client.Call("GET", path(name)), cluster.commitTimeout);
            if (!digest(answer.body).equals(answer.header("Holdfast-Digest"))) {
                throw new Unreadable(kind + "/" + name + " does not match its digest", null);
            }
            try {
                return InstantiationUtil.deserializeObject(answer.body, Thread.currentThread().getContextClassLoader());
            } catch (IOException | ClassNotFoundException | RuntimeException e) {
                throw new Unreadable(kind + "/" + name + " cannot be read by this Flink: " + e, e);
            }
        }

        @Override
        public void discardState() {}

        @Override
        public long getStateSize() {
            return 0;
        }
    }
}
