package io.holdfast.flink;

import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

import javax.net.ssl.SSLContext;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Calls to holdfastd. A call is tried at one endpoint after the other until it has an answer that a retry cannot
 * change, or its time is up. Every mutating call of the protocol may be repeated with the same content, so a lost answer
 * is asked for again; what remains in doubt at the end is said so.
 *
 * <p>A replica that sleeps accepts connections and says nothing. So whoever waits for longer than a moment looks about:
 * when another endpoint says that it leads, the call goes there.
 */
final class Client {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final Set<String> RETRY =
            Set.of("NOT_LEADER", "UNAVAILABLE", "UNKNOWN", "TIMEOUT", "LIMIT", "FULL", "NO_MEMORY", "CANCELED");
    private static final Duration SHORTEST = Duration.ofMillis(100);
    private static final Duration PATIENCE = Duration.ofMillis(1000);
    private static final Duration LOOK_PERIOD = Duration.ofMillis(500);

    private final List<String> endpoints;
    private final Duration requestTimeout;
    private final Security security;
    private volatile Made http;
    private volatile String current;
    private int next;

    Client(List<String> endpoints, Duration requestTimeout, Security security) {
        this.security = security;
        this.endpoints = endpoints;
        this.requestTimeout = requestTimeout;
        this.current = endpoints.get(0);
    }

    /** A client of the JDK's keeps its certificates for life. */
    private static final class Made {
        final HttpClient client;
        final SSLContext context;

        Made(SSLContext context) {
            HttpClient.Builder builder =
                    HttpClient.newBuilder()
                            .version(HttpClient.Version.HTTP_1_1)
                            .connectTimeout(Duration.ofSeconds(context == null ? 2 : 4)) /* with the handshake */
                            .followRedirects(HttpClient.Redirect.NEVER);
            if (context != null) {
                builder.sslContext(context);
            }
            this.client = builder.build();
            this.context = context;
        }
    }

    /** Made when first needed, since it has threads of its own, and again when the certificates were replaced. */
    private HttpClient http() {
        security.refresh(false);
        SSLContext context = security.context();
        Made made = http;
        if (made == null || made.context != context) {
            synchronized (this) {
                made = http;
                if (made == null || made.context != context) {
                    made = new Made(context);
                    http = made;
                }
            }
        }
        return made.client;
    }

    static int utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8).length;
    }

    /** A request before it is sent: what the retries repeat. */
    static final class Call {
        final String method;
        final String path;
        byte[] body;
        String contentType = "application/json";
        Leadership fence;
        String[] headers = {};

        Call(String method, String path) {
            this.method = method;
            this.path = path;
        }

        Call json(ObjectNode node) throws IOException {
            body = JSON.writeValueAsBytes(node);
            return this;
        }

        Call bytes(byte[] bytes, String... more) {
            body = bytes;
            contentType = "application/octet-stream";
            headers = more;
            return this;
        }

        Call fenced(Leadership leadership) {
            fence = leadership;
            return this;
        }
    }

    static final class Answer {
        final byte[] body;
        final HttpResponse<?> response;

        Answer(byte[] body, HttpResponse<?> response) {
            this.body = body;
            this.response = response;
        }

        JsonNode json() throws IOException {
            return JSON.readTree(body);
        }

        String header(String name) {
            return response.headers().firstValue(name).orElse("");
        }
    }

    static ObjectNode object() {
        return JSON.createObjectNode();
    }

    private synchronized void rotate(String failed) {
        if (failed.equals(current)) {
            next = (next + 1) % endpoints.size();
            current = endpoints.get(next);
        }
    }

    private HttpRequest request(String endpoint, Call call, Duration timeout) {
        HttpRequest.BodyPublisher publisher =
                call.body == null
                        ? HttpRequest.BodyPublishers.noBody()
                        : HttpRequest.BodyPublishers.ofByteArray(call.body);
        HttpRequest.Builder builder =
                HttpRequest.newBuilder(URI.create(endpoint + call.path)).timeout(timeout).method(call.method, publisher);
        if (call.body != null) {
            builder.header("Content-Type", call.contentType);
        }
        authorize(builder);
        if (call.fence != null) {
            builder.header("Holdfast-Session", call.fence.session);
            builder.header("Holdfast-Fence", Long.toString(call.fence.fence));
        }
        if (call.headers.length > 0) {
            builder.headers(call.headers);
        }
        return builder.build();
    }

    private void authorize(HttpRequest.Builder builder) {
        String authorization = security.authorization();
        if (authorization != null) {
            builder.header("Authorization", authorization);
        }
    }

    /** The replica that another one names: by the same scheme. */
    private void follow(String endpoint, JsonNode error) {
        current = URI.create(endpoint).getScheme() + "://" + error.get("leader").asText();
    }

    /** Tries until `timeout` is over. Throws {@link HoldfastException} with the last status. */
    Answer call(Call call, Duration timeout) throws HoldfastException {
        long deadline = System.nanoTime() + timeout.toNanos();
        boolean ambiguous = false;
        boolean mutates = !call.method.equals("GET");
        long pause = 20;
        String status = "UNAVAILABLE";
        String message = "no answer";
        Throwable cause = null;
        for (int attempt = 0; ; attempt++) {
            String endpoint = current;
            HttpClient client = http(); /* which looks for a new token, too */
            Duration left = Duration.ofNanos(Math.max(SHORTEST.toNanos(), deadline - System.nanoTime()));
            Duration limit = left.compareTo(requestTimeout) < 0 ? left : requestTimeout;
            CompletableFuture<HttpResponse<byte[]>> pending =
                    client.sendAsync(request(endpoint, call, limit), HttpResponse.BodyHandlers.ofByteArray());
            try {
                HttpResponse<byte[]> response = await(client, endpoint, pending, limit);
                if (response.statusCode() / 100 == 2) {
                    return new Answer(response.body(), response);
                }
                JsonNode error = errorOf(response.body());
                status = error.path("status").asText("INTERNAL");
                message = error.path("message").asText("HTTP " + response.statusCode());
                ambiguous |= mutates && status.equals("UNKNOWN");
                if (status.equals("NOT_LEADER") && error.hasNonNull("leader")) {
                    follow(endpoint, error);
                } else if (status.equals("UNAUTHENTICATED") && security.refresh(true)) {
                    message = "the token was replaced";
                } else if (RETRY.contains(status)) {
                    rotate(endpoint);
                } else {
                    throw new HoldfastException(status, ambiguous, describe(call, endpoint, status, message), null);
                }
            } catch (HoldfastException e) {
                throw e;
            } catch (IOException e) {
                /* Sent or not, nobody can tell: only a refused connection is certain. */
                ambiguous |= mutates && !(e instanceof java.net.ConnectException);
                status = "UNAVAILABLE";
                message = e.toString();
                cause = e;
                rotate(endpoint);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new HoldfastException("UNKNOWN", mutates, "interrupted: " + call.method + " " + call.path, e);
            } finally {
                pending.cancel(true);
            }
            if (System.nanoTime() + pause * 1_000_000 >= deadline) {
                throw new HoldfastException(
                        ambiguous ? "UNKNOWN" : status, ambiguous, describe(call, endpoint, status, message), cause);
            }
            sleep(ThreadLocalRandom.current().nextLong(pause / 2, pause + 1));
            pause = Math.min(pause * 2, 500);
        }
    }

    /** The answer; {@link HttpTimeoutException} when there is none in time, or when another replica leads meanwhile. */
    private <T> HttpResponse<T> await(
            HttpClient client, String endpoint, CompletableFuture<HttpResponse<T>> pending, Duration limit)
            throws IOException, InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        long wait = PATIENCE.toNanos();
        CompletableFuture<String> elsewhere = new CompletableFuture<>();
        while (true) {
            long left = deadline - System.nanoTime();
            try {
                CompletableFuture.anyOf(pending, elsewhere).get(Math.min(wait, Math.max(left, 0)), TimeUnit.NANOSECONDS);
                if (pending.isDone()) {
                    return pending.get();
                }
                current = elsewhere.get();
                throw new HttpTimeoutException("no answer from " + endpoint + ", and " + current + " leads");
            } catch (ExecutionException e) {
                throw e.getCause() instanceof IOException ? (IOException) e.getCause() : new IOException(e.getCause());
            } catch (TimeoutException e) {
                if (left <= wait) {
                    throw new HttpTimeoutException("no answer from " + endpoint + " within " + limit.toMillis() + " ms");
                }
                wait = LOOK_PERIOD.toNanos();
                lookAbout(client, endpoint, elsewhere);
            }
        }
    }

    private void lookAbout(HttpClient client, String besides, CompletableFuture<String> elsewhere) {
        for (String each : endpoints) {
            if (!each.equals(besides)) {
                client.sendAsync(
                                request(each, new Call("GET", "/readyz"), LOOK_PERIOD),
                                HttpResponse.BodyHandlers.ofByteArray())
                        .thenAccept(
                                answer -> {
                                    if (answer.statusCode() == 200 && errorOf(answer.body()).path("leads").asBoolean()) {
                                        elsewhere.complete(each);
                                    }
                                });
            }
        }
    }

    private static JsonNode errorOf(byte[] body) {
        try {
            JsonNode node = JSON.readTree(body);
            return node == null ? object() : node;
        } catch (IOException e) {
            return object();
        }
    }

    private static String describe(Call call, String endpoint, String status, String message) {
        return "holdfastd at " + endpoint + " answered " + status + " to " + call.method + " " + call.path + ": " + message;
    }

    /** An endless answer. One try at one endpoint. */
    InputStream stream(String path) throws IOException, InterruptedException {
        String endpoint = current;
        HttpClient client = http();
        HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(endpoint + path)).GET();
        authorize(builder);
        HttpResponse<InputStream> response;
        CompletableFuture<HttpResponse<InputStream>> pending =
                client.sendAsync(builder.build(), HttpResponse.BodyHandlers.ofInputStream());
        try {
            /* The time for the header is bounded here, since a timeout of the request would bound the body too. */
            response = await(client, endpoint, pending, requestTimeout);
        } catch (IOException | InterruptedException e) {
            /* An answer that comes after all must not stay open: two streams of one session replace each other. */
            pending.thenAccept(late -> closeQuietly(late.body()));
            if (e instanceof IOException) {
                rotate(endpoint);
            }
            throw e;
        }
        if (response.statusCode() == 200) {
            return response.body();
        }
        try (InputStream in = response.body()) {
            JsonNode error = errorOf(in.readAllBytes());
            String status = error.path("status").asText("INTERNAL");
            if (status.equals("NOT_LEADER") && error.hasNonNull("leader")) {
                follow(endpoint, error);
            } else if (RETRY.contains(status)) {
                rotate(endpoint);
            }
            throw new HoldfastException(status, false, status + ": " + error.path("message").asText(), null);
        }
    }

    static void closeQuietly(InputStream in) {
        try {
            in.close();
        } catch (IOException e) {
            org.slf4j.LoggerFactory.getLogger(Client.class).debug("Closing a stream", e);
        }
    }

    static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
