package io.holdfast.flink;

import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;

import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;

/**
 * The protocol in memory, with faults on demand. It holds one cluster and knows nothing of durability: it stands in for
 * holdfastd where a test wants an answer to be lost, late or wrong.
 */
final class FakeDaemon implements AutoCloseable {
    /** What happens to one request. */
    enum Fault { NONE, LOSE_REQUEST, LOSE_ANSWER, UNAVAILABLE, UNKNOWN, FENCED, HANG, SLOW }

    static final class Refused extends Exception {
        final int http;
        final String status;

        Refused(int http, String status) {
            super(status);
            this.http = http;
            this.status = status;
        }
    }

    private static final class Job {
        final TreeMap<Long, ObjectNode> checkpoints = new TreeMap<>();
        final TreeMap<Long, ObjectNode> discards = new TreeMap<>();
        long next = 1;
    }

    private static final class Payload {
        byte[] bytes;
        long revision;
        String quarantined;
    }

    private static final class Stream {
        final ArrayDeque<String> lines = new ArrayDeque<>();
        boolean over;
    }

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long HEARTBEAT = 100;

    /** Of {@link Fault#SLOW}, in milliseconds. */
    static final long SLOW = 2500;

    private final HttpServer server;
    private final HttpServer standby;
    private final ExecutorService threads = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task, "fake-daemon");
        thread.setDaemon(true);
        return thread;
    });
    private final Map<String, Stream> sessions = new LinkedHashMap<>(); /* sid -> attached stream or null */
    private final Map<String, Job> jobs = new HashMap<>();
    private final Map<String, Map<String, Payload>> payloads = new HashMap<>();
    private final Map<String, ObjectNode> results = new LinkedHashMap<>();
    private final List<Stream> watches = new ArrayList<>();
    private final TreeMap<String, ObjectNode> components = new TreeMap<>();
    private final List<String> requests = new ArrayList<>();
    private Function<String, Fault> faults = request -> Fault.NONE;
    private String leader;
    private UUID leaderSession;
    private long fence;
    private long revision;
    private boolean silent;
    volatile long ttl = 15000;
    /** Accepts connections and says nothing, like a stopped process; the standby has taken over. */
    volatile boolean asleep;
    /** False: older than owners. */
    volatile boolean knowsOwners = true;
    /** Whose the last session was; null: it did not say. */
    volatile String owner;

    FakeDaemon() throws IOException {
        server = serve();
        standby = serve();
    }

    private HttpServer serve() throws IOException {
        HttpServer made = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        made.createContext("/v1/clusters/", this::handle);
        made.createContext("/readyz", this::handle);
        made.setExecutor(threads);
        made.start();
        return made;
    }

    /** Of a standby, which leads while the daemon is asleep. */
    String standby() {
        return "http://127.0.0.1:" + standby.getAddress().getPort();
    }

    String endpoint() {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    @Override
    public void close() {
        synchronized (this) {
            sessions.values().forEach(stream -> end(stream));
            watches.forEach(FakeDaemon::end);
            notifyAll();
        }
        server.stop(0);
        standby.stop(0);
        threads.shutdownNow();
    }

    // ---------------------------------------------------------- for the tests

    synchronized void faults(Function<String, Fault> next) {
        faults = next;
    }

    /** The first {@code times} requests that contain {@code part} get the fault. */
    void fault(Fault fault, String part, int times) {
        int[] left = {times};
        faults(request -> request.contains(part) && left[0]-- > 0 ? fault : Fault.NONE);
    }

    synchronized long count(String part) {
        return requests.stream().filter(each -> each.contains(part)).count();
    }

    synchronized List<String> requests() {
        return new ArrayList<>(requests);
    }

    synchronized void forgetRequests() {
        requests.clear();
    }

    synchronized void cutStreams() {
        sessions.values().forEach(FakeDaemon::end);
        watches.forEach(FakeDaemon::end);
        notifyAll();
    }

    synchronized void cutWatches() {
        watches.forEach(FakeDaemon::end);
        notifyAll();
    }

    synchronized int watching() {
        return watches.size();
    }

    synchronized void silence(boolean on) {
        silent = on;
        notifyAll();
    }

    /** Another takes the leadership away and gives it back at once. */
    synchronized void bounce() {
        Stream stream = sessions.get(leader);
        if (stream != null) {
            stream.lines.add("{\"event\":\"revoked\",\"reason\":\"bounced\"}");
        }
        String again = leader;
        leader = null;
        grant(again);
        notifyAll();
    }

    /** The session is over, as after its time-to-live. */
    synchronized void endSession() {
        String sid = leader;
        Stream stream = sessions.remove(sid);
        if (stream != null) {
            stream.lines.add("{\"event\":\"ended\",\"reason\":\"time-to-live\"}");
            end(stream);
        }
        leader = null;
        contend();
        notifyAll();
    }

    /** A foreign leader takes over without this one hearing of it. */
    synchronized void fenceSilently() {
        fence++;
        leaderSession = UUID.randomUUID();
    }

    synchronized List<Long> checkpoints(String job) {
        return new ArrayList<>(jobs.getOrDefault(job, new Job()).checkpoints.keySet());
    }

    synchronized List<Long> discards(String job) {
        return new ArrayList<>(jobs.getOrDefault(job, new Job()).discards.keySet());
    }

    synchronized String pointer(String job, long id) {
        return jobs.get(job).checkpoints.get(id).path("pointer").asText();
    }

    synchronized boolean quarantinedCheckpoint(String job, long id) {
        return jobs.get(job).checkpoints.get(id).hasNonNull("quarantined");
    }

    synchronized String quarantined(String kind, String id) {
        Payload payload = payloads.getOrDefault(kind, Map.of()).get(id);
        return payload == null ? null : payload.quarantined;
    }

    synchronized void damage(String kind, String id) {
        byte[] bytes = payloads.get(kind).get(id).bytes;
        bytes[bytes.length / 2] ^= 0x55;
    }

    synchronized List<String> jobs() {
        return new ArrayList<>(jobs.keySet());
    }

    synchronized boolean hasPayload(String kind, String id) {
        return payloads.getOrDefault(kind, Map.of()).containsKey(id);
    }

    synchronized String result(String id) {
        ObjectNode result = results.get("results/" + id);
        return result == null ? null : result.path("state").asText();
    }

    synchronized void putResult(String id, String json) throws IOException {
        ObjectNode record = JSON.createObjectNode();
        record.put("id", id);
        record.put("state", "dirty");
        record.set("result", JSON.readTree(json));
        results.put("results/" + id, record);
    }

    synchronized boolean published(String component) {
        return components.containsKey(component);
    }

    // ----------------------------------------------------------- the protocol

    private static void end(Stream stream) {
        if (stream != null) {
            stream.over = true;
        }
    }

    private void grant(String sid) {
        leader = sid;
        leaderSession = UUID.randomUUID();
        fence++;
        components.clear();
        tellGrant();
        tellWatches();
    }

    private void tellGrant() {
        Stream stream = sessions.get(leader);
        if (stream != null) {
            stream.lines.add("{\"event\":\"granted\",\"leader_session\":\"" + leaderSession + "\",\"fence\":" + fence
                    + ",\"remaining_ms\":" + ttl + "}");
        }
    }

    private void contend() {
        if (leader == null) {
            for (Map.Entry<String, Stream> each : sessions.entrySet()) {
                if (each.getValue() != null) {
                    grant(each.getKey());
                    return;
                }
            }
        }
    }

    private String map() {
        ObjectNode map = JSON.createObjectNode();
        map.put("event", "leader");
        map.put("revision", revision);
        map.put("holder", leader);
        map.put("leader_session", leaderSession == null ? null : leaderSession.toString());
        ObjectNode all = map.putObject("components");
        components.forEach(all::set);
        return map.toString();
    }

    private void tellWatches() {
        watches.forEach(watch -> watch.lines.add(map()));
        notifyAll();
    }

    private void handle(HttpExchange exchange) throws IOException {
        byte[] body = exchange.getRequestBody().readAllBytes();
        String path = exchange.getRequestURI().getPath();
        String line = exchange.getRequestMethod() + " " + path;
        boolean first = exchange.getLocalAddress().getPort() == server.getAddress().getPort();
        boolean leads = first != asleep;
        if (path.equals("/readyz") && (leads || !first)) {
            send(exchange, 200, ("{\"status\":\"OK\",\"leads\":" + leads + "}").getBytes(StandardCharsets.UTF_8));
            return;
        }
        if (!leads && !first) {
            String error = "{\"status\":\"NOT_LEADER\",\"message\":\"a standby\",\"leader\":\"" + endpoint().substring(7) + "\"}";
            send(exchange, 421, error.getBytes(StandardCharsets.UTF_8));
            return;
        }
        Fault fault;
        synchronized (this) {
            requests.add(line);
            fault = leads ? faults.apply(line) : Fault.HANG;
        }
        try {
            if (fault == Fault.HANG) {
                Thread.sleep(60_000);
            }
            if (fault == Fault.SLOW) {
                Thread.sleep(SLOW);
            }
            if (fault == Fault.LOSE_REQUEST) {
                exchange.close();
                return;
            }
            if (fault == Fault.UNAVAILABLE) {
                throw new Refused(503, "UNAVAILABLE");
            }
            if (fault == Fault.UNKNOWN) {
                throw new Refused(504, "UNKNOWN");
            }
            if (fault == Fault.FENCED) {
                throw new Refused(409, "FENCED");
            }
            /* /v1/clusters/{ns}/{cluster}/... */
            String[] part = path.substring("/v1/clusters/".length()).split("/");
            if (line.endsWith("/events") || line.endsWith("/leader/watch")) {
                stream(exchange, part);
                return;
            }
            byte[] answer;
            synchronized (this) {
                answer = answer(exchange, part, body);
            }
            if (fault == Fault.LOSE_ANSWER) {
                exchange.close();
                return;
            }
            send(exchange, 200, answer);
        } catch (Refused e) {
            send(exchange, e.http,
                    ("{\"status\":\"" + e.status + "\",\"message\":\"as the test wants it\",\"retry\":false}").getBytes(StandardCharsets.UTF_8));
        } catch (InterruptedException e) {
            exchange.close();
        } catch (RuntimeException e) {
            e.printStackTrace();
            send(exchange, 500, "{\"status\":\"INTERNAL\",\"message\":\"fake\"}".getBytes(StandardCharsets.UTF_8));
        }
    }

    private static void send(HttpExchange exchange, int code, byte[] bytes) throws IOException {
        exchange.sendResponseHeaders(code, bytes.length == 0 ? -1 : bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    private void stream(HttpExchange exchange, String[] part) throws IOException, Refused, InterruptedException {
        Stream stream = new Stream();
        String sid = part[2].equals("sessions") ? part[3] : null;
        synchronized (this) {
            if (sid == null) {
                watches.add(stream);
                stream.lines.add(map());
            } else {
                if (!sessions.containsKey(sid)) {
                    throw new Refused(410, "GONE");
                }
                end(sessions.put(sid, stream));
                stream.lines.add("{\"event\":\"attached\",\"remaining_ms\":" + ttl + ",\"heartbeat_ms\":" + HEARTBEAT + "}");
                if (sid.equals(leader)) {
                    tellGrant();
                }
                contend();
            }
            notifyAll();
        }
        exchange.sendResponseHeaders(200, 0);
        try (OutputStream out = exchange.getResponseBody()) {
            for (;;) {
                List<String> now;
                boolean over;
                synchronized (this) {
                    if (stream.lines.isEmpty() && !stream.over) {
                        wait(HEARTBEAT);
                    }
                    now = new ArrayList<>(stream.lines);
                    over = stream.over;
                    if (silent) {
                        now.clear();
                    } else {
                        stream.lines.clear();
                        now.add("{\"event\":\"heartbeat\"}");
                    }
                }
                for (String each : now) {
                    out.write((each + "\n").getBytes(StandardCharsets.UTF_8));
                }
                out.flush();
                if (over) {
                    return;
                }
            }
        } finally {
            synchronized (this) {
                watches.remove(stream);
                if (sid != null && sessions.get(sid) == stream) {
                    sessions.put(sid, null);
                }
            }
            exchange.close();
        }
    }

    private void checkFence(HttpExchange exchange) throws Refused {
        String session = exchange.getRequestHeaders().getFirst("Holdfast-Session");
        String number = exchange.getRequestHeaders().getFirst("Holdfast-Fence");
        if (session == null || number == null) {
            throw new Refused(428, "UNFENCED");
        }
        if (!session.equals(leader) || Long.parseLong(number) != fence) {
            throw new Refused(409, "FENCED");
        }
    }

    private byte[] answer(HttpExchange exchange, String[] part, byte[] body) throws IOException, Refused {
        String method = exchange.getRequestMethod();
        boolean raw = "application/octet-stream".equals(exchange.getRequestHeaders().getFirst("Content-Type"));
        JsonNode json = body.length == 0 || raw ? JSON.createObjectNode() : JSON.readTree(body);
        ObjectNode out = JSON.createObjectNode();
        String what = part.length > 2 ? part[2] : "";
        if (!method.equals("GET") && !what.equals("sessions")) {
            checkFence(exchange);
            revision++;
        }
        out.put("revision", revision);
        switch (what) {
            case "":
                jobs.clear();
                payloads.clear();
                results.clear();
                out.put("removed", true);
                break;
            case "sessions":
                session(method, part, json, out);
                break;
            case "leader":
                if (method.equals("PUT")) {
                    components.put(part[3], (ObjectNode) json);
                } else {
                    components.remove(part[3]);
                }
                tellWatches();
                break;
            case "graphs":
            case "applications":
                return payload(exchange, method, part, body, json, out);
            case "results":
            case "application-results":
                result(method, part, json, out);
                break;
            case "jobs":
                job(method, part, json, out);
                break;
            default:
                throw new Refused(404, "NOT_FOUND");
        }
        return JSON.writeValueAsBytes(out);
    }

    private void session(String method, String[] part, JsonNode json, ObjectNode out) throws Refused {
        if (method.equals("POST") && part.length == 3) {
            if (json.has("owner") && !knowsOwners) {
                throw new Refused(400, "INVALID");
            }
            owner = json.path("owner").asText(null);
            sessions.putIfAbsent(json.path("session").asText(), null);
        } else if (!sessions.containsKey(part[3])) {
            throw new Refused(410, "GONE");
        } else if (method.equals("DELETE")) {
            end(sessions.remove(part[3]));
            if (part[3].equals(leader)) {
                leader = null;
                contend();
            }
        }
        out.put("remaining_ms", ttl);
        notifyAll();
    }

    private static String digest(byte[] bytes) {
        try {
            StringBuilder hex = new StringBuilder("sha256=");
            for (byte b : MessageDigest.getInstance("SHA-256").digest(bytes)) {
                hex.append(String.format("%02x", b));
            }
            return hex.toString();
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private byte[] payload(HttpExchange exchange, String method, String[] part, byte[] body, JsonNode json, ObjectNode out)
            throws IOException, Refused {
        Map<String, Payload> all = payloads.computeIfAbsent(part[2], kind -> new LinkedHashMap<>());
        if (part.length == 3) {
            ArrayNode list = out.putArray(part[2]);
            all.forEach((id, each) -> {
                if (!results.containsKey("results/" + id)) {
                    list.add(describe(id, each));
                }
            });
            return JSON.writeValueAsBytes(out);
        }
        Payload there = all.get(part[3]);
        if (method.equals("PUT")) {
            String condition = exchange.getRequestHeaders().getFirst("Holdfast-If");
            if (!digest(body).equals(exchange.getRequestHeaders().getFirst("Holdfast-Digest"))) {
                throw new Refused(400, "INVALID");
            }
            boolean same = there != null && java.util.Arrays.equals(there.bytes, body);
            if (!same && there != null && condition.equals("absent")) {
                throw new Refused(409, "EXISTS");
            }
            if (!same && condition.startsWith("revision=") && there == null) {
                throw new Refused(404, "NOT_FOUND");
            }
            if (!same && condition.startsWith("revision=") && there.revision != Long.parseLong(condition.substring(9))) {
                throw new Refused(409, "CONFLICT");
            }
            Payload next = new Payload();
            next.bytes = body;
            next.revision = revision;
            all.put(part[3], next);
            return JSON.writeValueAsBytes(out);
        }
        if (method.equals("DELETE")) {
            out.put("removed", all.remove(part[3]) != null);
            return JSON.writeValueAsBytes(out);
        }
        if (there == null) {
            throw new Refused(404, "NOT_FOUND");
        }
        if (method.equals("POST")) {
            there.quarantined = json.path("reason").asText();
            return JSON.writeValueAsBytes(out);
        }
        if (part.length > 4) {
            return JSON.writeValueAsBytes(describe(part[3], there));
        }
        exchange.getResponseHeaders().add("Holdfast-Revision", "" + there.revision);
        exchange.getResponseHeaders().add("Holdfast-Digest", digest(there.bytes));
        return there.bytes;
    }

    private static ObjectNode describe(String id, Payload each) {
        ObjectNode node = JSON.createObjectNode();
        node.put("id", id);
        node.put("revision", each.revision);
        node.put("size", each.bytes.length);
        node.put("digest", digest(each.bytes));
        node.put("quarantined", each.quarantined);
        return node;
    }

    private void result(String method, String[] part, JsonNode json, ObjectNode out) throws Refused {
        if (part.length == 3) {
            ArrayNode list = out.putArray(part[2]);
            results.forEach((key, each) -> {
                if (key.startsWith(part[2] + "/") && each.path("state").asText().equals("dirty")) {
                    list.add(each);
                }
            });
            return;
        }
        String key = part[2] + "/" + part[3];
        ObjectNode there = results.get(key);
        if (method.equals("PUT")) {
            ObjectNode record = JSON.createObjectNode();
            record.put("id", part[3]);
            record.put("state", "dirty");
            record.set("result", json.path("result"));
            results.put(key, record);
        } else if (there == null || (method.equals("GET") && there.path("state").asText().equals("tombstone"))) {
            throw new Refused(404, "NOT_FOUND");
        } else if (method.equals("GET")) {
            out.setAll(there);
        } else if (part[4].equals("quarantine")) {
            there.put("quarantined", json.path("reason").asText());
        } else {
            there.put("state", json.path("keep").asBoolean() ? "clean" : "tombstone");
        }
    }

    private void job(String method, String[] part, JsonNode json, ObjectNode out) throws Refused {
        if (part.length == 4) {
            out.put("removed", jobs.remove(part[3]) != null);
            payloads.getOrDefault("graphs", new HashMap<>()).remove(part[3]);
            return;
        }
        Job job = jobs.computeIfAbsent(part[3], id -> new Job());
        String rest = String.join("/", java.util.Arrays.copyOfRange(part, 4, part.length));
        if (rest.equals("counter/reserve")) {
            reserve(job, json.path("count").asLong(), out);
        } else if (rest.equals("counter/raise")) {
            job.next = Math.max(job.next, json.path("to").asLong());
        } else if (rest.equals("discards/done")) {
            json.path("ids").forEach(id -> job.discards.remove(id.asLong()));
        } else if (method.equals("POST") && rest.equals("checkpoints")) {
            commit(job, json, out);
        } else if (method.equals("POST")) {
            job.checkpoints.get(Long.parseLong(part[5])).put("quarantined", json.path("reason").asText());
        } else if (method.equals("DELETE") && part.length == 6) {
            leave(job, Long.parseLong(part[5]));
        } else if (method.equals("DELETE")) {
            job.checkpoints.clear();
        } else {
            out.put("next_id", job.next);
            ArrayNode list = out.putArray("checkpoints");
            job.checkpoints.values().forEach(list::add);
            ArrayNode discards = out.putArray("discards");
            job.discards.values().forEach(discards::add);
        }
    }

    private static void reserve(Job job, long count, ObjectNode out) {
        if (count > 0) {
            out.put("from", job.next);
            job.next += count;
            out.put("to", job.next - 1);
        }
    }

    private static void leave(Job job, long id) {
        ObjectNode entry = job.checkpoints.remove(id);
        if (entry != null) {
            entry.path("properties").path("discard_on").forEach(on -> {
                if (on.asText().equals("subsumed")) {
                    job.discards.put(id, entry);
                }
            });
        }
    }

    private static void commit(Job job, JsonNode json, ObjectNode out) throws Refused {
        long id = json.path("id").asLong();
        ObjectNode entry = JSON.createObjectNode();
        for (String field : List.of("id", "pointer", "inline", "started_ms", "completed_ms", "size", "properties")) {
            entry.set(field, json.get(field));
        }
        ArrayNode subsumed = out.putArray("subsumed");
        if (!job.discards.containsKey(id)) {
            ObjectNode there = job.checkpoints.get(id);
            if (there != null && !there.equals(entry)) {
                throw new Refused(409, "EXISTS");
            }
            job.checkpoints.put(id, entry);
            while (json.path("num_retained").asLong() > 0 && job.checkpoints.size() > json.path("num_retained").asLong()) {
                long oldest = job.checkpoints.firstKey();
                leave(job, oldest);
                subsumed.add(oldest);
            }
        }
        json.path("discarded").forEach(each -> job.discards.remove(each.asLong()));
        job.next = Math.max(job.next, id + 1);
        reserve(job, json.path("reserve").asLong(), out);
    }
}
