package io.holdfast.flink;

import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.HighAvailabilityOptions;
import org.apache.flink.runtime.leaderelection.LeaderElectionDriver;
import org.apache.flink.runtime.leaderelection.LeaderInformation;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;

/**
 * One session with holdfastd and its place in the line for the cluster's leadership.
 *
 * <p>Four threads, each with one duty: <i>stream</i> reads the events and reconnects; <i>renew</i> keeps the session
 * alive and notices when its life has run out; <i>notify</i> tells Flink, grant and revoke strictly in turn, and may
 * block behind Flink's locks without stopping the others; <i>publish</i> writes the components' addresses in order.
 *
 * <p>Life is counted from the moment a request was <b>sent</b>, less 5 % for clock rates. While it lasts the leadership
 * is kept, whatever happens to connections and daemons.
 */
final class ElectionDriver implements LeaderElectionDriver {
    private static final Logger LOG = LoggerFactory.getLogger(ElectionDriver.class);
    private static final double RATE_MARGIN = 0.95;
    private static final long LINGER_SECONDS = 10;
    private static final Duration SESSION_TIME = Duration.ofSeconds(5);
    private static final SecureRandom RANDOM = new SecureRandom();

    private final Cluster cluster;
    private final Listener listener;
    private final ExecutorService notify = Executors.newSingleThreadExecutor(threads("holdfast-notify"));
    private final ExecutorService publish = Executors.newSingleThreadExecutor(threads("holdfast-publish"));
    private final ScheduledExecutorService renew =
            Executors.newSingleThreadScheduledExecutor(threads("holdfast-renew"));
    private final Thread stream;
    private final Object lock = new Object();

    /* Under the lock. */
    private String session;
    private long endNanos;
    private long wallOffset;
    private Leadership held;

    private volatile boolean closed; /* Flink is told nothing more */
    private volatile boolean released; /* the session is given back, everything stops */
    private volatile InputStream open;
    private volatile long lastLineNanos;
    private volatile long heartbeatMillis = 2000;
    private volatile boolean attached;
    private long complained; /* by the stream's thread only */

    ElectionDriver(Cluster cluster, Listener listener) {
        this.cluster = cluster;
        this.listener = listener;
        cluster.whenFenced(this::fenced);
        this.stream = threads("holdfast-events").newThread(this::runStream);
        this.stream.start();
        long period = Math.max(50, cluster.sessionTimeout.toMillis() / 5);
        renew.scheduleWithFixedDelay(this::renewOnce, period, period, TimeUnit.MILLISECONDS);
        /* Expiry is noticed on its own clock, not behind a renewal that hangs. */
        ScheduledExecutorService watch = Executors.newSingleThreadScheduledExecutor(threads("holdfast-expiry"));
        watch.scheduleWithFixedDelay(() -> checkLife(watch), 50, 50, TimeUnit.MILLISECONDS);
    }

    private static ThreadFactory threads(String name) {
        return runnable -> {
            Thread thread = new Thread(runnable, name);
            thread.setDaemon(true);
            return thread;
        };
    }

    private static String newSessionId() {
        byte[] bytes = new byte[16];
        RANDOM.nextBytes(bytes);
        StringBuilder hex = new StringBuilder();
        for (byte b : bytes) {
            hex.append(String.format("%02x", b));
        }
        return hex.toString();
    }

    // ------------------------------------------------------------------ life

    private void lifeUntil(String of, long sentNanos, long remainingMillis) {
        synchronized (lock) {
            if (!of.equals(session)) {
                return;
            }
            long end = sentNanos + (long) (remainingMillis * RATE_MARGIN * 1_000_000);
            if (end - endNanos > 0) {
                endNanos = end;
            }
        }
    }

    private void checkLife(ScheduledExecutorService self) {
        if (released) {
            self.shutdown();
            return;
        }
        String reason = null;
        synchronized (lock) {
            long nano = System.nanoTime();
            long offset = System.currentTimeMillis() - nano / 1_000_000;
            /* nanoTime stands still while a machine is suspended; the wall clock shows it afterwards. */
            boolean jumped = offset - wallOffset > cluster.sessionTimeout.toMillis() / 4;
            wallOffset = offset;
            if (held != null && (jumped || nano - endNanos >= 0)) {
                reason = jumped ? "the clock jumped: the machine may have slept" : "the session's time-to-live is over";
                revokeLocked(reason);
                session = null;
            }
        }
        if (reason != null) {
            breakStream();
        }
        InputStream in = open;
        if (in != null && System.nanoTime() - lastLineNanos > 3 * heartbeatMillis * 1_000_000) {
            LOG.info("Holdfast: the event stream is silent, reconnecting");
            breakStream();
        }
    }

    private void breakStream() {
        InputStream in = open;
        open = null;
        if (in != null) {
            try {
                in.close();
            } catch (IOException e) {
                LOG.debug("Closing the event stream", e);
            }
        }
    }

    private void renewOnce() {
        String of;
        synchronized (lock) {
            of = session;
        }
        if (of == null || released) {
            return;
        }
        long sent = System.nanoTime();
        try {
            JsonNode answer =
                    cluster.client
                            .call(new Client.Call("POST", cluster.path + "/sessions/" + of + "/renew"),
                                    Duration.ofMillis(Math.max(200, cluster.sessionTimeout.toMillis() / 5)))
                            .json();
            /* Retries happen within the call; the time of the first try is the safe one to count from. */
            lifeUntil(of, sent, answer.path("remaining_ms").asLong());
        } catch (HoldfastException e) {
            if (e.is("GONE")) {
                ended(of, "holdfastd has ended the session");
            } else {
                LOG.debug("Holdfast: renewal failed: {}", e.getMessage());
            }
        } catch (Exception e) {
            LOG.debug("Holdfast: renewal failed", e);
        }
    }

    /** A write under this leadership was refused: whatever the clock says, it is over. */
    private void fenced(Leadership lost) {
        synchronized (lock) {
            if (held == null || !held.same(lost)) {
                return;
            }
            revokeLocked("a newer leader has taken over, a write was refused");
            session = null;
        }
        breakStream();
    }

    private void ended(String of, String reason) {
        synchronized (lock) {
            if (!of.equals(session)) {
                return;
            }
            if (held != null) {
                revokeLocked(reason);
            }
            session = null;
        }
        breakStream();
    }

    // ---------------------------------------------------------------- events

    private void runStream() {
        long pause = 10;
        while (!released) {
            attached = false;
            try {
                attach();
            } catch (HoldfastException e) {
                if (e.is("GONE") || e.is("NOT_FOUND")) {
                    String of;
                    synchronized (lock) {
                        of = session;
                    }
                    if (of != null) {
                        ended(of, "holdfastd has ended the session");
                    }
                } else {
                    complain(e);
                }
            } catch (Exception e) {
                complain(e);
            }
            if (attached) {
                pause = 10;
                complained = 0;
            }
            if (!released) {
                Client.sleep(pause);
                pause = Math.min(pause * 2, 500);
            }
        }
    }

    /** Once, and then every half minute: without a session this process can never lead. */
    private void complain(Exception e) {
        long now = System.nanoTime();
        if (!closed && !attached && (complained == 0 || now - complained > 30_000_000_000L)) {
            complained = now;
            LOG.warn("Holdfast: no session with holdfastd, trying on: {}", e.toString());
        } else {
            LOG.debug("Holdfast: the event stream broke: {}", e.toString());
        }
    }

    private String openSession() throws IOException {
        String id;
        synchronized (lock) {
            if (session != null) {
                return session;
            }
            if (closed) {
                throw new IOException("closed");
            }
            id = newSessionId();
        }
        ObjectNode body = Client.object();
        body.put("session", id);
        body.put("holder", cluster.holder());
        body.put("ttl_ms", cluster.sessionTimeout.toMillis());
        body.put("flink_version", EnvironmentInformation.getVersion());
        cluster.configuration.getOptional(HighAvailabilityOptions.HA_STORAGE_PATH)
                .ifPresent(dir -> body.put("storage_dir", dir));
        cluster.configuration.getOptional(CheckpointingOptions.CHECKPOINTS_DIRECTORY)
                .ifPresent(dir -> body.put("checkpoint_dir", dir));
        Owner owner = cluster.owner();
        if (owner != Owner.NONE) {
            body.put("owner", owner.id);
            body.put("owner_name", owner.name);
        }
        long sent = System.nanoTime();
        JsonNode answer = postSession(body, owner);
        synchronized (lock) {
            session = id;
            endNanos = sent + (long) (answer.path("remaining_ms").asLong() * RATE_MARGIN * 1_000_000);
            wallOffset = System.currentTimeMillis() - System.nanoTime() / 1_000_000;
        }
        return id;
    }

    private JsonNode postSession(ObjectNode body, Owner owner) throws IOException {
        JsonNode answer;
        try {
            answer = cluster.client.call(new Client.Call("POST", cluster.path + "/sessions").json(body), SESSION_TIME).json();
        } catch (HoldfastException e) {
            if (!e.is("INVALID") || owner == Owner.NONE) {
                throw e;
            }
            LOG.warn("Holdfast: this holdfastd is older than the plugin and knows no owners: {}", e.getMessage());
            body.remove(List.of("owner", "owner_name"));
            return cluster.client.call(new Client.Call("POST", cluster.path + "/sessions").json(body), SESSION_TIME).json();
        }
        JsonNode left = answer.path("quarantine");
        if (left.isObject()) {
            LOG.error(
                    "Holdfast: {} job graph(s) and the checkpoints of {} job(s) under this cluster-id are of another owner, {} ({}). They "
                            + "are quarantined and not recovered here: `holdfast clusters adopt` gives them to this cluster, quarantine {}",
                    left.path("graphs").asLong(), left.path("jobs").asLong(), left.path("owner_name").asText(),
                    left.path("owner").asText(), left.path("id").asText());
        }
        return answer;
    }

    /** One connection, until it ends. */
    private void attach() throws IOException, InterruptedException {
        String of = openSession();
        long sent = System.nanoTime();
        try (InputStream in = cluster.client.stream(cluster.path + "/sessions/" + of + "/events?contend=true")) {
            lastLineNanos = System.nanoTime();
            open = in;
            BufferedReader reader = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
            for (String line = reader.readLine(); line != null && !released; line = reader.readLine()) {
                lastLineNanos = System.nanoTime();
                event(of, sent, Client.JSON.readTree(line));
            }
        } finally {
            open = null;
        }
    }

    private void event(String of, long sent, JsonNode event) {
        switch (event.path("event").asText()) {
            case "attached":
                attached = true;
                heartbeatMillis = event.path("heartbeat_ms").asLong(2000);
                lifeUntil(of, sent, event.path("remaining_ms").asLong());
                break;
            case "granted":
                granted(
                        new Leadership(
                                of,
                                event.path("fence").asLong(),
                                UUID.fromString(event.path("leader_session").asText())));
                break;
            case "revoked":
                synchronized (lock) {
                    if (held != null) {
                        revokeLocked(event.path("reason").asText());
                    }
                }
                break;
            case "ended":
                ended(of, event.path("reason").asText());
                break;
            default:
                break; /* heartbeat, replaced */
        }
    }

    private void granted(Leadership grant) {
        synchronized (lock) {
            if (closed || !grant.session.equals(session) || grant.same(held)) {
                return;
            }
            if (held != null) {
                revokeLocked("another grant has taken its place");
            }
            held = grant;
            cluster.leadership(grant);
            LOG.info("Holdfast: leadership granted, leader session {}, fence {}", grant.leaderSession, grant.fence);
            notify.execute(() -> listener.onGrantLeadership(grant.leaderSession));
        }
    }

    private void revokeLocked(String reason) {
        held = null;
        cluster.leadership(null);
        if (!closed) {
            LOG.info("Holdfast: leadership lost: {}", reason);
            notify.execute(listener::onRevokeLeadership);
        }
    }

    // ----------------------------------------------------------------- Flink

    @Override
    public boolean hasLeadership() {
        return !closed && cluster.leadership() != null;
    }

    @Override
    public void publishLeaderInformation(String component, LeaderInformation information) {
        Leadership now = cluster.leadership();
        if (now == null || closed) {
            return;
        }
        if (information.isEmpty()) {
            deleteLeaderInformation(component);
            return;
        }
        ObjectNode body = Client.object();
        body.put("leader_session", information.getLeaderSessionID().toString());
        body.put("address", information.getLeaderAddress());
        publish.execute(() -> write(now, "PUT", component, body));
    }

    @Override
    public void deleteLeaderInformation(String component) {
        Leadership now = cluster.leadership();
        if (now != null && !closed) {
            publish.execute(() -> write(now, "DELETE", component, null));
        }
    }

    /** Tried for as long as that leadership lasts; the order of writes is kept by the single thread. */
    private void write(Leadership under, String method, String component, ObjectNode body) {
        while (under.same(cluster.leadership()) && !released) {
            try {
                Client.Call call = new Client.Call(method, cluster.path + "/leader/" + Cluster.encode(component));
                if (body != null) {
                    call.json(body);
                }
                cluster.write(call.fenced(under), cluster.commitTimeout, "address of " + component);
                return;
            } catch (HoldfastException e) {
                if (e.is("FENCED")) {
                    return;
                }
                if (!released) {
                    LOG.warn("Holdfast: the address of {} could not be published, trying again: {}", component, e.getMessage());
                }
                Client.sleep(200);
            } catch (IOException e) {
                LOG.error("Holdfast: the address of {} cannot be published", component, e);
                return;
            }
        }
    }

    /**
     * Flink closes its election before it has finished: results of jobs that just ended are still to be written, their
     * data and at the end of an application all data to be removed. So a leader keeps its session for that, until the HA
     * services are closed too, or for {@link #LINGER_SECONDS}. A killed process has given it back by then anyway.
     */
    @Override
    public void close() {
        boolean leads;
        synchronized (lock) {
            if (closed) {
                return;
            }
            closed = true;
            leads = held != null;
        }
        notify.shutdown();
        if (leads) {
            cluster.lingering(this);
            renew.schedule(this::release, LINGER_SECONDS, TimeUnit.SECONDS);
        } else {
            release();
        }
    }

    /** Gives the session back; the next in line leads. */
    void release() {
        String of;
        synchronized (lock) {
            closed = true;
            if (released) {
                return;
            }
            released = true;
            of = session;
            session = null;
            if (held != null && held.same(cluster.leadership())) {
                cluster.leadership(null);
            }
            held = null;
        }
        notify.shutdown();
        publish.shutdown();
        if (of != null) {
            try {
                cluster.client.call(
                        new Client.Call("DELETE", cluster.path + "/sessions/" + of), Duration.ofSeconds(2));
            } catch (HoldfastException e) {
                LOG.info("Holdfast: the session was not closed and ends by itself: {}", e.getMessage());
            }
        }
        breakStream();
        stream.interrupt();
        renew.shutdownNow();
    }
}
