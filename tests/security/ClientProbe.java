package io.holdfast.flink;

import org.apache.flink.configuration.Configuration;

import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;

/**
 * Options as key=value; then each line of stdin is a call of the plugin's client (METHOD PATH [MILLISECONDS]),
 * and its outcome a line of stdout.
 */
public final class ClientProbe {
    private ClientProbe() {}

    public static void main(String[] options) throws Exception {
        Configuration configuration = new Configuration();
        for (String option : options) {
            int at = option.indexOf('=');
            configuration.setString(option.substring(0, at), option.substring(at + 1));
        }
        Client client =
                new Client(
                        List.of(configuration.getString("holdfast.endpoints", "")),
                        Duration.ofSeconds(20),
                        new Security(configuration));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split(" ");
            System.out.println(answer(client, words[0], words[1], words.length > 2 ? Long.parseLong(words[2]) : 30_000));
        }
    }

    private static String answer(Client client, String method, String path, long millis) {
        try {
            if (method.equals("STREAM")) {
                try (InputStream stream = client.stream(path);
                        BufferedReader lines = new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8))) {
                    return Client.JSON.readTree(lines.readLine()).path("event").asText();
                }
            }
            client.call(new Client.Call(method, path), Duration.ofMillis(millis));
            return "OK";
        } catch (HoldfastException e) {
            return e.status() + " " + e.getMessage().replace('\n', ' ');
        } catch (Exception e) {
            return e.toString();
        }
    }
}
