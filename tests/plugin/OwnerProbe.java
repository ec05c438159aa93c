package io.holdfast.flink;

import org.apache.flink.configuration.Configuration;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/**
 * Each line of stdin is a question, and its answer a line of stdout: "ask SERVER FOLDER POD MILLISECONDS", as in a pod, or
 * "find [KEY=VALUE…]", with settings (holdfast.…) and environment variables.
 */
public final class OwnerProbe {
    private OwnerProbe() {}

    public static void main(String[] none) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            Owner owner = answer(line.split(" "));
            System.out.println(owner == Owner.NONE ? "none" : owner.id + " " + owner.name);
        }
    }

    private static Owner answer(String[] words) {
        if (words[0].equals("ask")) {
            return Owner.ask(words[1], Path.of(words[2]), words[3], Duration.ofMillis(Long.parseLong(words[4])));
        }
        Configuration configuration = new Configuration();
        Map<String, String> environment = new HashMap<>();
        for (int i = 1; i < words.length; i++) {
            int at = words[i].indexOf('=');
            String key = words[i].substring(0, at);
            if (key.startsWith("holdfast.")) {
                configuration.setString(key, words[i].substring(at + 1));
            } else {
                environment.put(key, words[i].substring(at + 1));
            }
        }
        return Owner.find(configuration, environment, Duration.ofSeconds(1));
    }
}
