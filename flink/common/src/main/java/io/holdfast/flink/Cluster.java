package io.holdfast.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.HighAvailabilityOptions;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.configuration.JobManagerOptions;

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * What the parts of the plugin share in one process: settings, the client, and the present leadership. Making one does
 * no I/O and starts no thread, because TaskManagers and the CLI make one too.
 */
public final class Cluster {
    final Configuration configuration;
    final Client client;
    final String path;
    final Duration sessionTimeout;
    final Duration commitTimeout;
    final LeaderWatch watch;
    private volatile Leadership leadership;

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
            if (!endpoint.startsWith("http://")) {
                throw new IllegalConfigurationException("holdfast.endpoints: '" + endpoint + "' is no http://host:port");
            }
        }
        String id = configuration.get(HighAvailabilityOptions.HA_CLUSTER_ID);
        String name = id.startsWith("/") ? id.substring(1) : id;
        if (name.isEmpty() || name.contains("/")) {
            throw new IllegalConfigurationException(
                    "high-availability.cluster-id: '" + id + "' must be one name without '/' (one leading '/' is fine)");
        }
        this.client = new Client(endpoints, configuration.get(HoldfastOptions.REQUEST_TIMEOUT));
        this.path = "/v1/clusters/" + encode(configuration.get(HoldfastOptions.NAMESPACE)) + "/" + encode(name);
        this.sessionTimeout = configuration.get(HoldfastOptions.SESSION_TIMEOUT);
        this.commitTimeout = configuration.get(HoldfastOptions.COMMIT_TIMEOUT);
        this.watch = new LeaderWatch(this);
    }

    static String encode(String name) {
        return URLEncoder.encode(name, StandardCharsets.UTF_8).replace("+", "%20");
    }

    String holder() {
        return configuration.getOptional(JobManagerOptions.ADDRESS).orElse("localhost")
                + ":" + configuration.get(JobManagerOptions.PORT) + " pid " + ProcessHandle.current().pid();
    }

    Leadership leadership() {
        return leadership;
    }

    void leadership(Leadership next) {
        leadership = next;
    }

    /** The present leadership, for a store object that is made under it. */
    Leadership requireLeadership(String what) throws HoldfastException {
        Leadership now = leadership;
        if (now == null) {
            throw new HoldfastException("FENCED", false, what + ": this process does not hold the leadership", null);
        }
        return now;
    }

    /** Deletes a job's HA data, or with "" the cluster's. Without the leadership there is nothing we may delete. */
    void cleanUp(String below) throws java.io.IOException {
        client.call(new Client.Call("DELETE", path + below).fenced(requireLeadership("clean-up")), commitTimeout);
    }

    public void close() {
        watch.close();
    }
}
