package io.holdfast.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import javax.net.ssl.SSLContext;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/**
 * Whose JobManager this is: on Kubernetes the FlinkDeployment above its pod, or else the Deployment, StatefulSet or Job.
 * The daemon hands what one owner left to nobody else. A pod's name changes with each restart and a Deployment's uid with
 * each upgrade by the operator, so it is the topmost that counts.
 *
 * <p>Asked of the API server once in a process, with the pod's own token, on the thread that opens the session: a
 * JobManager starts meanwhile. Whoever may not ask, or gets no answer in time, goes without.
 */
final class Owner {
    static final Owner NONE = new Owner("", "");
    private static final Logger LOG = LoggerFactory.getLogger(Owner.class);
    private static final Path ACCOUNT = Path.of("/var/run/secrets/kubernetes.io/serviceaccount");
    private static final Duration TRY = Duration.ofSeconds(3);
    private static final int ID_MAX = 200;
    private static final int NAME_MAX = 400;
    private static final int STEPS_MAX = 6;
    private static final Map<String, String> PLACES =
            Map.of(
                    "ReplicaSet", "/apis/apps/v1/namespaces/%s/replicasets/%s",
                    "Deployment", "/apis/apps/v1/namespaces/%s/deployments/%s",
                    "StatefulSet", "/apis/apps/v1/namespaces/%s/statefulsets/%s",
                    "Job", "/apis/batch/v1/namespaces/%s/jobs/%s");

    final String id;
    final String name;

    Owner(String id, String name) {
        this.id = id;
        this.name = name;
    }

    @Override
    public String toString() {
        return name + " (" + id + ")";
    }

    /** Takes at most as long as `patience`. */
    static Owner find(Configuration configuration, Map<String, String> environment, Duration patience) {
        String told = configuration.get(HoldfastOptions.OWNER);
        if (told.equals("auto") && environment.containsKey("HOLDFAST_OWNER")) {
            told = environment.get("HOLDFAST_OWNER");
        }
        if (told.equals("none") || told.isEmpty()) {
            return NONE;
        }
        if (!told.equals("auto")) {
            return checked(new Owner(told, told));
        }
        String host = environment.get("KUBERNETES_SERVICE_HOST");
        if (host == null || !Files.exists(ACCOUNT.resolve("token"))) {
            LOG.info("Holdfast: whose JobManager this is is not told (holdfast.owner), so jobs left under its cluster-id are recovered");
            return NONE;
        }
        String server =
                "https://" + (host.contains(":") ? "[" + host + "]" : host) + ":"
                        + environment.getOrDefault("KUBERNETES_SERVICE_PORT", "443");
        String pod = environment.getOrDefault("HOLDFAST_POD", environment.getOrDefault("HOSTNAME", ""));
        return ask(server, ACCOUNT, pod, patience);
    }

    private static Owner checked(Owner owner) {
        if (Client.utf8(owner.id) > ID_MAX) {
            throw new IllegalArgumentException("holdfast.owner has more than " + ID_MAX + " bytes");
        }
        String shown = owner.name;
        while (Client.utf8(shown) > NAME_MAX) {
            shown = shown.substring(0, shown.length() - 1);
        }
        return new Owner(owner.id, shown);
    }

    /** Never fails: what cannot be found is NONE, and the log says why and what to do. */
    static Owner ask(String server, Path account, String pod, Duration patience) {
        long end = System.nanoTime() + patience.toNanos();
        String why;
        do {
            try {
                Owner found = new Search(server, account).top(pod);
                LOG.info("Holdfast: this JobManager is of {}", found);
                return checked(found);
            } catch (Refused e) {
                why = e.getMessage();
                break;
            } catch (IOException | RuntimeException e) {
                why = e.toString();
                LOG.debug("Holdfast: looking for the owner of pod {}", pod, e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return NONE;
            }
            Client.sleep(500);
        } while (System.nanoTime() - end < 0);
        LOG.warn(
                "Holdfast: it could not be found out whose JobManager this is, so jobs left under its cluster-id are recovered, whoever "
                        + "left them: {}. Its service account has to be allowed to get pods and deployments (and replicasets) of its "
                        + "namespace; or set holdfast.owner", why);
        return NONE;
    }

    /** No retry changes that. */
    private static final class Refused extends IOException {
        private static final long serialVersionUID = 1L;

        Refused(String message) {
            super(message);
        }
    }

    /** One way up. */
    private static final class Search {
        private final String server;
        private final String namespace;
        private final Security security;
        private final HttpClient http;

        Search(String server, Path account) throws IOException {
            Configuration access = new Configuration();
            access.set(HoldfastOptions.CA_FILE, account.resolve("ca.crt").toString());
            access.set(HoldfastOptions.TOKEN_FILE, account.resolve("token").toString());
            this.server = server;
            this.namespace = Files.readString(account.resolve("namespace")).trim();
            this.security = new Security(access);
            SSLContext context = security.context();
            this.http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(TRY).sslContext(context).build();
        }

        private JsonNode get(String path) throws IOException, InterruptedException {
            HttpRequest request =
                    HttpRequest.newBuilder(URI.create(server + path)).timeout(TRY)
                            .header("Authorization", security.authorization()).header("Accept", "application/json").build();
            HttpResponse<byte[]> answer = http.send(request, HttpResponse.BodyHandlers.ofByteArray());
            int code = answer.statusCode();
            if (code == 403 || code == 404) {
                throw new Refused("GET " + path + ": " + code + " " + Client.JSON.readTree(answer.body()).path("message").asText());
            }
            if (code != 200) {
                throw new IOException("GET " + path + ": " + code);
            }
            return Client.JSON.readTree(answer.body());
        }

        /** Of an object's owners the one that stands for it; null: it has none. */
        private static JsonNode upper(JsonNode object) {
            JsonNode controller = null;
            for (JsonNode each : object.path("metadata").path("ownerReferences")) {
                if (each.path("kind").asText().equals("FlinkDeployment")) {
                    return each; /* which need not say that it is the controller */
                }
                if (each.path("controller").asBoolean()) {
                    controller = each;
                }
            }
            return controller;
        }

        /** A ReplicaSet is named after its Deployment and a hash that its pods bear: who may not read it can do without. */
        private JsonNode replicaSet(JsonNode ref, JsonNode pod) throws IOException, InterruptedException {
            String name = ref.path("name").asText();
            try {
                return get(String.format(PLACES.get("ReplicaSet"), namespace, name));
            } catch (Refused e) {
                String end = "-" + pod.path("metadata").path("labels").path("pod-template-hash").asText();
                if (end.length() < 2 || !name.endsWith(end)) {
                    throw e;
                }
                return Client.JSON.createObjectNode().set(
                        "metadata",
                        Client.JSON.createObjectNode().set(
                                "ownerReferences",
                                Client.JSON.createArrayNode().add(
                                        Client.JSON.createObjectNode().put("kind", "Deployment").put("controller", true)
                                                .put("name", name.substring(0, name.length() - end.length())))));
            }
        }

        Owner top(String podName) throws IOException, InterruptedException {
            JsonNode pod = get("/api/v1/namespaces/" + namespace + "/pods/" + Cluster.encode(podName));
            JsonNode ref = upper(pod);
            if (ref == null) {
                throw new Refused("pod " + namespace + "/" + podName + " has no owner");
            }
            for (int step = 0; step < STEPS_MAX; step++) {
                String kind = ref.path("kind").asText();
                String name = ref.path("name").asText();
                if (!PLACES.containsKey(kind)) {
                    return owner(kind, name, ref.path("uid").asText());
                }
                JsonNode object =
                        kind.equals("ReplicaSet") ? replicaSet(ref, pod)
                                : get(String.format(PLACES.get(kind), namespace, name));
                JsonNode above = upper(object);
                if (above == null) {
                    return owner(kind, name, object.path("metadata").path("uid").asText());
                }
                ref = above;
            }
            throw new Refused("pod " + namespace + "/" + podName + " has more than " + STEPS_MAX + " owners one above the other");
        }

        private Owner owner(String kind, String name, String uid) throws Refused {
            if (uid.isEmpty()) {
                throw new Refused(kind + " " + namespace + "/" + name + " has no uid");
            }
            return new Owner(uid, kind + " " + namespace + "/" + name);
        }
    }
}
