package io.holdfast.flink;

import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;

import java.time.Duration;
import java.util.List;

/** The plugin's settings, in Flink's configuration. */
public final class HoldfastOptions {
    public static final ConfigOption<List<String>> ENDPOINTS =
            ConfigOptions.key("holdfast.endpoints").stringType().asList().noDefaultValue()
                    .withDescription("Where holdfastd answers: http://host:port or https://host:port, several separated by ';' or ','.");
    public static final ConfigOption<String> NAMESPACE =
            ConfigOptions.key("holdfast.namespace").stringType().defaultValue("default")
                    .withDescription("Namespace of the cluster in Holdfast.");
    public static final ConfigOption<Duration> SESSION_TIMEOUT =
            ConfigOptions.key("holdfast.session.timeout").durationType().defaultValue(Duration.ofSeconds(30))
                    .withDescription("A JobManager that is silent for this long loses the leadership.");
    public static final ConfigOption<Duration> REQUEST_TIMEOUT =
            ConfigOptions.key("holdfast.request.timeout").durationType().defaultValue(Duration.ofSeconds(5))
                    .withDescription("One request; then it is tried again.");
    public static final ConfigOption<Duration> COMMIT_TIMEOUT =
            ConfigOptions.key("holdfast.commit.timeout").durationType().defaultValue(Duration.ofSeconds(20))
                    .withDescription("All tries of one write; after that its outcome is reported as unknown.");

    public static final ConfigOption<Boolean> ALLOW_OLDER =
            ConfigOptions.key("holdfast.recovery.allow-older-checkpoint").booleanType().defaultValue(false)
                    .withDescription(
                            "Whether a job whose newest checkpoint cannot be read goes on from the next older one. That repeats work "
                                    + "whose results may have been seen, so it is not done unless this says so.");

    public static final ConfigOption<String> OWNER =
            ConfigOptions.key("holdfast.owner").stringType().defaultValue("auto")
                    .withDescription(
                            "Whose JobManagers these are: what one owner left under a cluster-id is not handed to another one. auto: on "
                                    + "Kubernetes the FlinkDeployment above the pod, or the Deployment; elsewhere none. none: whoever "
                                    + "comes is handed what is there.");

    public static final ConfigOption<String> CA_FILE =
            ConfigOptions.key("holdfast.security.ca-file").stringType().noDefaultValue()
                    .withDescription("PEM of who signed holdfastd's certificate; without it, whom the JDK trusts.");
    public static final ConfigOption<String> CERTIFICATE_FILE =
            ConfigOptions.key("holdfast.security.certificate-file").stringType().noDefaultValue()
                    .withDescription("PEM of our own certificate; read again when it changes, like the other files.");
    public static final ConfigOption<String> KEY_FILE =
            ConfigOptions.key("holdfast.security.key-file").stringType().noDefaultValue()
                    .withDescription("PEM of its key, without a password.");
    public static final ConfigOption<String> TOKEN_FILE =
            ConfigOptions.key("holdfast.security.token-file").stringType().noDefaultValue()
                    .withDescription("File with our bearer token, such as a projected service account token.");

    private HoldfastOptions() {}
}
