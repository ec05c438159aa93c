package io.holdfast.flink;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Certificates and keys from PEM files, as openssl and cert-manager write them, with the JDK alone. */
final class Pem {
    private static final Pattern BLOCK =
            Pattern.compile("-----BEGIN ([A-Z ]*PRIVATE KEY)-----([A-Za-z0-9+/=\\s]*)-----END \\1-----");
    private static final String[] ALGORITHMS = {"RSA", "EC", "EdDSA"};
    private static final byte[] VERSION_0 = {0x02, 0x01, 0x00};
    /** rsaEncryption with its NULL. */
    private static final byte[] RSA = {
        0x30, 0x0d, 0x06, 0x09, 0x2a, (byte) 0x86, 0x48, (byte) 0x86, (byte) 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00
    };
    /** id-ecPublicKey. */
    private static final byte[] EC = {0x06, 0x07, 0x2a, (byte) 0x86, 0x48, (byte) 0xce, 0x3d, 0x02, 0x01};

    private Pem() {}

    static Collection<? extends Certificate> certificates(String file) throws IOException {
        try {
            Collection<? extends Certificate> found =
                    CertificateFactory.getInstance("X.509")
                            .generateCertificates(new ByteArrayInputStream(Files.readAllBytes(Path.of(file))));
            if (found.isEmpty()) {
                throw new IOException(file + ": holds no certificate in PEM");
            }
            return found;
        } catch (GeneralSecurityException e) {
            throw new IOException(file + ": holds no certificate in PEM: " + e.getMessage(), e);
        }
    }

    static PrivateKey key(String file) throws IOException {
        Matcher block = BLOCK.matcher(new String(Files.readAllBytes(Path.of(file)), StandardCharsets.ISO_8859_1));
        if (!block.find()) {
            throw new IOException(file + ": holds no private key in PEM, or one with a password");
        }
        PKCS8EncodedKeySpec spec;
        try {
            byte[] der = Base64.getMimeDecoder().decode(block.group(2));
            spec = new PKCS8EncodedKeySpec(pkcs8(block.group(1), der));
        } catch (IllegalArgumentException | ArrayIndexOutOfBoundsException e) {
            throw new IOException(file + ": the private key is damaged", e);
        }
        for (String algorithm : ALGORITHMS) {
            try {
                return KeyFactory.getInstance(algorithm).generatePrivate(spec);
            } catch (GeneralSecurityException e) {
                /* of another kind, or one that this JDK does not know */
            }
        }
        throw new IOException(file + ": the private key is neither RSA nor EC nor Ed25519");
    }

    /** The JDK reads PKCS#8 only; the older forms go into it as they are. */
    private static byte[] pkcs8(String kind, byte[] der) {
        if (kind.equals("RSA PRIVATE KEY")) {
            return element(0x30, VERSION_0, RSA, element(0x04, der));
        }
        if (kind.equals("EC PRIVATE KEY")) {
            return element(0x30, VERSION_0, element(0x30, EC, curve(der)), element(0x04, der));
        }
        return der;
    }

    /** ECPrivateKey ::= SEQUENCE { version, privateKey, [0] curve, ... }: what is inside of [0]. */
    private static byte[] curve(byte[] der) {
        int at = content(der, 0);
        for (int i = 0; i < 2; i++) {
            at = end(der, at);
        }
        if ((der[at] & 0xff) != 0xa0) {
            throw new IllegalArgumentException("no named curve");
        }
        return Arrays.copyOfRange(der, content(der, at), end(der, at));
    }

    private static int content(byte[] der, int at) {
        int first = der[at + 1] & 0xff;
        return at + 2 + (first < 0x80 ? 0 : first - 0x80);
    }

    private static int end(byte[] der, int at) {
        int first = der[at + 1] & 0xff;
        int start = content(der, at);
        int size = first < 0x80 ? first : 0;
        for (int i = at + 2; first >= 0x80 && i < start; i++) {
            size = size << 8 | der[i] & 0xff;
        }
        if (size < 0 || size > der.length - start) {
            throw new IllegalArgumentException("cut short");
        }
        return start + size;
    }

    private static byte[] element(int tag, byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        int size = 0;
        for (byte[] part : parts) {
            size += part.length;
        }
        out.write(tag);
        if (size >= 0x80) {
            out.write(size < 0x100 ? 0x81 : 0x82);
            if (size >= 0x100) {
                out.write(size >> 8);
            }
        }
        out.write(size);
        for (byte[] part : parts) {
            out.write(part, 0, part.length);
        }
        return out.toByteArray();
    }
}
