package io.holdfast.flink;

import org.apache.flink.runtime.leaderelection.LeaderInformation;
import org.apache.flink.runtime.leaderretrieval.LeaderRetrievalDriver;
import org.apache.flink.runtime.leaderretrieval.LeaderRetrievalEventHandler;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * The cluster's leader map, followed over one connection for the whole process.
 *
 * <p>The last known address is kept while Holdfast is away and while nobody leads: on a TaskManager "no leader" fails the
 * job's tasks, so it is never said because of an outage. It is said when a component was removed by its leader, and when
 * somebody else has been granted the leadership: then the old address is certainly wrong, and a ResourceManager that
 * still believed in it would turn the new JobMaster away for half a minute.
 */
final class LeaderWatch {
    private static final Logger LOG = LoggerFactory.getLogger(LeaderWatch.class);
    private static final long SILENCE_NANOS = 8_000_000_000L;

    private final Cluster cluster;
    private final Map<String, LeaderInformation> known = new HashMap<>();
    private final Set<Retrieval> retrievals = new HashSet<>();
    /** One thread, so that an older address never arrives after a newer one; gone when there is nothing to tell. */
    private final ThreadPoolExecutor tellers =
            new ThreadPoolExecutor(
                    1, 1, 10, TimeUnit.SECONDS, new LinkedBlockingQueue<>(),
                    task -> {
                        Thread teller = new Thread(task, "holdfast-watch-notify");
                        teller.setDaemon(true);
                        return teller;
                    });
    private JsonNode last;
    private Thread thread;
    private volatile boolean closed;
    private volatile InputStream open;
    private volatile long lastLineNanos;

    LeaderWatch(Cluster cluster) {
        this.cluster = cluster;
        tellers.allowCoreThreadTimeOut(true);
    }

    /** One name that one service wants to know. */
    final class Retrieval implements LeaderRetrievalDriver {
        final String component;
        final LeaderRetrievalEventHandler handler;
        LeaderInformation told = LeaderInformation.empty(); /* under the watch's lock */

        Retrieval(String component, LeaderRetrievalEventHandler handler) {
            this.component = component;
            this.handler = handler;
        }

        @Override
        public void close() {
            synchronized (LeaderWatch.this) {
                retrievals.remove(this);
            }
        }
    }

    Retrieval retrieve(String component, LeaderRetrievalEventHandler handler) {
        Retrieval retrieval = new Retrieval(component, handler);
        synchronized (this) {
            retrievals.add(retrieval);
            if (thread == null && !closed) {
                thread = new Thread(this::run, "holdfast-watch");
                thread.setDaemon(true);
                thread.start();
                Thread silence = new Thread(this::watchSilence, "holdfast-watch-silence");
                silence.setDaemon(true);
                silence.start();
            }
            /* What is known already is told from another thread: the service is not listening yet. */
            tellers.execute(this::tell);
        }
        return retrieval;
    }

    private void run() {
        long pause = 10;
        while (!closed) {
            try (InputStream in = cluster.client.stream(cluster.path + "/leader/watch")) {
                lastLineNanos = System.nanoTime();
                open = in;
                pause = 10;
                BufferedReader reader = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
                for (String line = reader.readLine(); line != null && !closed; line = reader.readLine()) {
                    lastLineNanos = System.nanoTime();
                    take(Client.JSON.readTree(line));
                }
            } catch (Exception e) {
                LOG.debug("Holdfast: the watch of the leader map broke: {}", e.toString());
            } finally {
                open = null;
            }
            if (!closed) {
                Client.sleep(pause);
                pause = Math.min(pause * 2, 1000);
            }
        }
    }

    private void watchSilence() {
        while (!closed) {
            Client.sleep(500);
            InputStream in = open;
            if (in != null && System.nanoTime() - lastLineNanos > SILENCE_NANOS) {
                try {
                    in.close();
                } catch (IOException e) {
                    LOG.debug("Closing the watch", e);
                }
            }
        }
    }

    private void take(JsonNode map) {
        if (map.path("event").asText().equals("leader")) {
            synchronized (this) {
                last = map;
                apply();
            }
        }
    }

    /** A grant or its end in this process: it is known here before the map says so. */
    synchronized void leadershipChanged() {
        apply();
    }

    private synchronized void apply() {
        Leadership own = cluster.leadership();
        if (own != null) {
            known.values().removeIf(each -> !own.leaderSession.equals(each.getLeaderSessionID()));
        }
        String leader = last == null ? null : last.path("leader_session").asText(null);
        if (leader != null && (own == null || own.leaderSession.toString().equals(leader))) {
            known.clear();
            last.path("components")
                    .fields()
                    .forEachRemaining(
                            field ->
                                    known.put(
                                            field.getKey(),
                                            LeaderInformation.known(
                                                    UUID.fromString(field.getValue().path("leader_session").asText()),
                                                    field.getValue().path("address").asText())));
        }
        if (!closed) {
            tellers.execute(this::tell);
        }
    }

    /** Tells each service what it does not know yet; outside the lock, since it takes locks of its own. */
    private void tell() {
        Map<Retrieval, LeaderInformation> news = new HashMap<>();
        synchronized (this) {
            for (Retrieval retrieval : retrievals) {
                LeaderInformation now = known.getOrDefault(retrieval.component, LeaderInformation.empty());
                if (!now.equals(retrieval.told)) {
                    retrieval.told = now;
                    news.put(retrieval, now);
                }
            }
        }
        news.forEach((retrieval, now) -> retrieval.handler.notifyLeaderAddress(now));
    }

    synchronized void close() {
        closed = true;
        InputStream in = open;
        if (in != null) {
            try {
                in.close();
            } catch (IOException e) {
                LOG.debug("Closing the watch", e);
            }
        }
        if (thread != null) {
            thread.interrupt();
        }
    }
}
