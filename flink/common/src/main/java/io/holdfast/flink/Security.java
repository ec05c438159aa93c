package io.holdfast.flink;

import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.IllegalConfigurationException;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.Collection;
import java.util.concurrent.TimeUnit;

/**
 * Whom the plugin trusts and who it is: PEM files and a token, which are looked at again while they are in use, as
 * whoever issues them replaces them. New ones that cannot be read leave the last ones in force.
 */
final class Security {
    private static final Logger LOG = LoggerFactory.getLogger(Security.class);
    private static final long LOOK_NANOS = TimeUnit.SECONDS.toNanos(1);
    private static final char[] NO_PASSWORD = {};

    private final String caFile;
    private final String certificateFile;
    private final String keyFile;
    private final String tokenFile;
    private String filesSeen;
    private String tokenSeen;
    private long lookedAt;
    private SSLContext context;
    private String authorization;

    Security(Configuration configuration) {
        caFile = file(configuration, HoldfastOptions.CA_FILE);
        certificateFile = file(configuration, HoldfastOptions.CERTIFICATE_FILE);
        keyFile = file(configuration, HoldfastOptions.KEY_FILE);
        tokenFile = file(configuration, HoldfastOptions.TOKEN_FILE);
        if ((certificateFile == null) != (keyFile == null)) {
            throw new IllegalConfigurationException(
                    HoldfastOptions.CERTIFICATE_FILE.key() + " and " + HoldfastOptions.KEY_FILE.key() + " go together");
        }
        try {
            filesSeen = stamps(caFile, certificateFile, keyFile);
            tokenSeen = stamps(tokenFile);
            load();
            loadToken();
        } catch (IOException e) {
            throw new IllegalConfigurationException("holdfast.security: " + e.getMessage(), e);
        }
        lookedAt = System.nanoTime();
    }

    private static String file(Configuration configuration, ConfigOption<String> option) {
        return configuration.getOptional(option).filter(name -> !name.isEmpty()).orElse(null);
    }

    /** Changes when a file does; a link that is switched, as Kubernetes does with Secrets, counts as well. */
    private static String stamps(String... files) {
        StringBuilder out = new StringBuilder();
        for (String file : files) {
            try {
                if (file != null) {
                    BasicFileAttributes found = Files.readAttributes(Path.of(file), BasicFileAttributes.class);
                    out.append(found.fileKey()).append(found.size()).append(found.lastModifiedTime());
                }
            } catch (IOException e) {
                out.append('?');
            }
            out.append(';');
        }
        return out.toString();
    }

    private void load() throws IOException {
        if (caFile == null && certificateFile == null) {
            return;
        }
        try {
            KeyManagerFactory keys = null;
            TrustManagerFactory trust = null;
            if (certificateFile != null) {
                KeyStore ours = empty();
                Collection<? extends Certificate> chain = Pem.certificates(certificateFile);
                ours.setKeyEntry("ours", Pem.key(keyFile), NO_PASSWORD, chain.toArray(new Certificate[0]));
                keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
                keys.init(ours, NO_PASSWORD);
            }
            if (caFile != null) {
                KeyStore trusted = empty();
                int number = 0;
                for (Certificate each : Pem.certificates(caFile)) {
                    trusted.setCertificateEntry("ca" + number++, each);
                }
                trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
                trust.init(trusted);
            }
            SSLContext made = SSLContext.getInstance("TLS");
            made.init(keys == null ? null : keys.getKeyManagers(), trust == null ? null : trust.getTrustManagers(), null);
            context = made;
        } catch (GeneralSecurityException e) {
            throw new IOException(certificateFile + ", " + keyFile + ", " + caFile + ": " + e.getMessage(), e);
        }
    }

    private static KeyStore empty() throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        return store;
    }

    private void loadToken() throws IOException {
        if (tokenFile == null) {
            return;
        }
        String token = new String(Files.readAllBytes(Path.of(tokenFile)), StandardCharsets.US_ASCII).trim();
        if (!token.matches("[\\x21-\\x7e]+")) {
            throw new IOException(tokenFile + ": holds no token, or more than one");
        }
        authorization = "Bearer " + token;
    }

    /** Looks for what has been replaced; `now`: though the last look was only just. True: the token is another one. */
    synchronized boolean refresh(boolean now) {
        String before = authorization;
        if (!now && System.nanoTime() - lookedAt < LOOK_NANOS) {
            return false;
        }
        lookedAt = System.nanoTime();
        try {
            String files = stamps(caFile, certificateFile, keyFile);
            if (!files.equals(filesSeen)) {
                filesSeen = files;
                load();
                LOG.info("Holdfast: certificates were replaced and are in use from now on");
            }
            String token = stamps(tokenFile);
            if (!token.equals(tokenSeen)) {
                tokenSeen = token;
                loadToken();
            }
        } catch (IOException e) {
            LOG.warn("Holdfast: what was read before stays in use: {}", e.getMessage());
        }
        return authorization != null && !authorization.equals(before);
    }

    /** Null: the JDK's own. */
    synchronized SSLContext context() {
        return context;
    }

    /** The header's value; null: none. */
    synchronized String authorization() {
        return authorization;
    }
}
