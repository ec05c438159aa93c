package io.holdfast.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** A holdfastd of this machine, on a port of its own and an empty folder. */
final class RealDaemon implements AutoCloseable {
    private final Process process;
    private final String endpoint;

    RealDaemon(String binary, Path folder) throws Exception {
        Files.createDirectories(folder.resolve("store"));
        Path port = folder.resolve("port");
        process = new ProcessBuilder(
                        binary, "-D", "listen=127.0.0.1:0", "-D", "listen.port-file=" + port, "-D",
                        "store=file://" + folder.resolve("store"), "-D", "store.ballast=0")
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("log").toFile())
                .start();
        Await.until("holdfastd's port", () -> {
            if (!process.isAlive()) {
                throw new IOException(new String(Files.readAllBytes(folder.resolve("log"))));
            }
            return Files.exists(port) && Files.size(port) > 0;
        });
        endpoint = "http://127.0.0.1:" + new String(Files.readAllBytes(port)).trim();
    }

    String endpoint() {
        return endpoint;
    }

    @Override
    public void close() throws Exception {
        process.destroy();
        if (!process.waitFor(60, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new AssertionError("holdfastd did not end");
        }
    }
}
