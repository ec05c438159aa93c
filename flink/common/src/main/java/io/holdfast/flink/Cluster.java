package io.holdfast.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.HighAvailabilityOptions;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.configuration.JobManagerOptions;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * What the parts of the plugin share in one process: settings, the client, and the present leadership. Making one does
 * no I/O and starts no thread, because TaskManagers and the CLI make one too.
 */
public final class Cluster {
    private static final Logger LOG = LoggerFactory.getLogger(Cluster.class);
    private static final Duration COMMIT_MAX = Duration.ofSeconds(20);
    private static final Duration OWNER_PATIENCE = Duration.ofSeconds(15);
    private static final int REASON_MAX = 900;

    final Configuration configuration;
    final Client client;
    final String path;
    final Duration sessionTimeout;
    final Duration commitTimeout;
    final boolean allowOlder;
    final LeaderWatch watch;
    final Recovery recovery;
    private volatile Leadership leadership;
    private ElectionDriver lingering;
    private final Object ownerLock = new Object();
    private Owner owner;
    private volatile Consumer<Leadership> whenFenced = lost -> {};

    public Cluster(Configuration configuration) {
        this.configuration = configuration;
        List<String> endpoints = new ArrayList<>();
        for (String each : configuration.getOptional(HoldfastOptions.ENDPOINTS).orElse(List.of())) {
            for (String one : each.split("[,\\s]+")) {
                if (!one.isEmpty()) {
                    endpoints.add(one.endsWith("/") ? one.substring(0, one.length() - 1) : one);
                }
            }
        }
        if (endpoints.isEmpty()) {
            throw new IllegalConfigurationException(
                    "holdfast.endpoints is not set: name at least one http://host:port where holdfastd answers");
        }
        for (String endpoint : endpoints) {
            if (!endpoint.startsWith("http://") && !endpoint.startsWith("https://")) {
                throw new IllegalConfigurationException(
                        "holdfast.endpoints: '" + endpoint + "' is no http://host:port and no https://host:port");
            }
        }
        String id = configuration.get(HighAvailabilityOptions.HA_CLUSTER_ID);
        String name = id.startsWith("/") ? id.substring(1) : id;
        if (name.isEmpty() || name.contains("/")) {
            throw new IllegalConfigurationException(
                    "high-availability.cluster-id: '" + id + "' must be one name without '/' (one leading '/' is fine)");
        }
        this.client = new Client(
                        endpoints, configuration.get(HoldfastOptions.REQUEST_TIMEOUT), new Security(configuration));
        this.path = "/v1/clusters/" + encode(configuration.get(HoldfastOptions.NAMESPACE)) + "/" + encode(name);
        this.sessionTimeout = configuration.get(HoldfastOptions.SESSION_TIMEOUT);
        this.commitTimeout = configuration.get(HoldfastOptions.COMMIT_TIMEOUT);
        if (commitTimeout.compareTo(COMMIT_MAX) > 0 || commitTimeout.isNegative() || commitTimeout.isZero()) {
            throw new IllegalConfigurationException(
                    "holdfast.commit.timeout: " + commitTimeout.toMillis() + " ms must be more than 0 and at most "
                            + COMMIT_MAX.toMillis() + " ms, because a checkpoint holds up the job's coordinator meanwhile");
        }
        this.allowOlder = configuration.get(HoldfastOptions.ALLOW_OLDER);
        this.watch = new LeaderWatch(this);
        this.recovery = new Recovery(this);
    }

    static String encode(String name) {
        return URLEncoder.encode(name, StandardCharsets.UTF_8).replace("+", "%20");
    }

    String holder() {
        return configuration.getOptional(JobManagerOptions.ADDRESS).orElse("localhost")
                + ":" + configuration.get(JobManagerOptions.PORT) + " pid " + ProcessHandle.current().pid();
    }

    /** Looked for when it is first needed, which takes a while. */
    Owner owner() {
        synchronized (ownerLock) {
            if (owner == null) {
                owner = Owner.find(configuration, System.getenv(), OWNER_PATIENCE);
            }
            return owner;
        }
    }

    Leadership leadership() {
        return leadership;
    }

    void leadership(Leadership next) {
        leadership = next;
        watch.leadershipChanged();
    }

    /** The present leadership, for a store object that is made under it. */
    Leadership requireLeadership(String what) throws HoldfastException {
        Leadership now = leadership;
        if (now == null) {
            throw new HoldfastException("FENCED", false, what + ": this process does not hold the leadership", null);
        }
        return now;
    }

    /** A fenced write. That it was refused as fenced is said, and ends the leadership it was written under. */
    Client.Answer write(Client.Call call, Duration timeout, String what) throws HoldfastException {
        try {
            return client.call(call, timeout);
        } catch (HoldfastException e) {
            if (e.is("FENCED")) {
                LOG.warn("Holdfast: write refused as fenced: {}", what);
                whenFenced.accept(call.fence);
            }
            throw e;
        }
    }

    /** A closed election that keeps its session until the last writes are done. */
    synchronized void lingering(ElectionDriver driver) {
        lingering = driver;
    }

    private synchronized ElectionDriver takeLingering() {
        ElectionDriver taken = lingering;
        lingering = null;
        return taken;
    }

    private void releaseLingering() {
        ElectionDriver last = takeLingering();
        if (last != null) {
            last.release();
        }
    }

    void whenFenced(Consumer<Leadership> listener) {
        whenFenced = listener;
    }

    /** Deletes a job's HA data, or with "" the cluster's. Without the leadership there is nothing we may delete. */
    void cleanUp(String below) throws java.io.IOException {
        write(
                new Client.Call("DELETE", path + below).fenced(requireLeadership("clean-up")), commitTimeout,
                "clean-up of " + path + below);
    }

    public void cleanUpAll() throws java.io.IOException {
        if (leadership == null) {
            LOG.warn("Holdfast: the data of {} are not removed, because this process does not lead the cluster", path);
            return;
        }
        cleanUp("");
    }

    public Recovery recovery() {
        return recovery;
    }

    public org.apache.flink.runtime.leaderelection.LeaderElectionDriver elect(
            org.apache.flink.runtime.leaderelection.LeaderElectionDriver.Listener listener) {
        releaseLingering();
        return new ElectionDriver(this, listener);
    }

    public org.apache.flink.runtime.leaderretrieval.LeaderRetrievalDriver retrieve(
            String component, org.apache.flink.runtime.leaderretrieval.LeaderRetrievalEventHandler handler) {
        return watch.retrieve(component, handler);
    }

    static String reason(String text) {
        return text.length() > REASON_MAX ? text.substring(0, REASON_MAX) : text;
    }

    public void close() {
        releaseLingering();
        watch.close();
    }
}
