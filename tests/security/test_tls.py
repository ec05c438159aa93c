"""TLS on the port of a real holdfastd: versions, certificates, replacement of files, hostile handshakes, a scanner."""
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "rpc"))
sys.path.insert(0, os.path.dirname(HERE))
from harness import CLI, Daemon, JobManager, Stream  # noqa: E402
from lib import maven  # noqa: E402
from lib.kube import Authority  # noqa: E402

JOB = "0123456789abcdef" * 2
NAMES = "DNS:localhost,IP:127.0.0.1"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def openssl(*arguments, data=b"", timeout=60):
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, timeout=timeout)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-tls-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.ca = Authority(self.folder / "ca")
        self.certificate, self.key = self.folder / "tls.crt", self.folder / "tls.key"
        self.put("server")

    def put(self, name, names=NAMES):
        """A new pair at the place where the daemon looks, each file replaced in one step; the certificate's bytes."""
        for source, target in zip(self.ca.sign(name, f"/CN={name}", names), (self.certificate, self.key)):
            shutil.copy(source, str(target) + ".new")
            os.replace(str(target) + ".new", target)
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text())

    def trust(self, *pair):
        context = ssl.create_default_context(cafile=str(self.ca.certificate))
        if pair:
            context.load_cert_chain(*map(str, pair))
        return context

    def daemon(self, client=(), **settings):
        daemon = Daemon(**{"listen_tls_certificate__file": self.certificate, "listen_tls_key__file": self.key, **settings})
        daemon.tls = self.trust(*client)
        self.addCleanup(daemon.remove)
        return daemon.start()

    def served(self, daemon):
        """The certificate that a new connection gets, whoever signed it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as link, \
                context.wrap_socket(link, server_hostname="localhost") as secured:
            return secured.getpeercert(binary_form=True)

    def wait(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.05)


class Protocol(Case):
    def client(self, daemon, *arguments):
        """(exit code, output) of openssl s_client, which sends one request."""
        return openssl("s_client", "-connect", f"127.0.0.1:{daemon.port}", "-CAfile", self.ca.certificate, "-quiet",
                       "-verify_return_error", *arguments, data=b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    def test_only_1_2_and_1_3_with_strong_ciphers(self):
        daemon = self.daemon()
        for version in ("-tls1_2", "-tls1_3"):
            self.assertIn("HTTP/1.1 200 OK", self.client(daemon, version)[1], version)
        for refused in (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
                        ("-tls1_2", "-cipher", "AES256-SHA:AES128-GCM-SHA256"), ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA")):
            code, text = self.client(daemon, *refused)
            self.assertNotEqual(code, 0, text)
            self.assertNotIn("HTTP/1.1", text, refused)
        self.assertEqual(daemon.call("GET", "/healthz")[0], 200)

    def test_what_alpn_agrees_on(self):
        daemon = self.daemon()
        for offer, agreed in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)):
            context = self.trust()
            if offer:
                context.set_alpn_protocols(offer)
            with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as link, \
                    context.wrap_socket(link, server_hostname="localhost") as secured:
                self.assertEqual(secured.selected_alpn_protocol(), agreed)
        context.set_alpn_protocols(["http/1.0"])
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as link, self.assertRaises(ssl.SSLError):
            context.wrap_socket(link, server_hostname="localhost")

    def test_renegotiation_is_refused(self):
        daemon = self.daemon()
        code, text = openssl("s_client", "-connect", f"127.0.0.1:{daemon.port}", "-tls1_2", data=b"R\n")
        self.assertNotEqual(code, 0, text)
        self.assertIn("renegotiation", text)

    def test_a_scanner_finds_nothing(self):
        scanner = shutil.which("sslscan")
        self.assertIsNotNone(scanner, "sslscan is not installed: scripts/install")
        daemon = self.daemon()
        done = subprocess.run([scanner, "--xml=-", "--no-colour", f"127.0.0.1:{daemon.port}"], capture_output=True, text=True,
                              timeout=120)
        test = ElementTree.fromstring(done.stdout[done.stdout.index("<?xml"):]).find("ssltest")
        enabled = {f"{each.get('type')} {each.get('version')}" for each in test.findall("protocol") if each.get("enabled") == "1"}
        self.assertEqual(enabled, {"tls 1.2", "tls 1.3"})
        ciphers = {each.get("cipher") for each in test.findall("cipher")}
        self.assertTrue(ciphers)
        self.assertEqual([each for each in ciphers if not any(word in each for word in ("GCM", "CHACHA20"))], [])
        self.assertEqual([each.get("version") for each in test.findall("heartbleed") if each.get("vulnerable") != "0"], [])
        self.assertEqual(test.find("renegotiation").get("supported"), "0")
        self.assertEqual([each.get("name") for each in test.findall("group") if each.get("name").startswith("ffdhe")], [])

    def test_plain_http_on_this_port_is_told_so(self):
        daemon = self.daemon()
        text, closed = daemon.raw(HEALTH, timeout=30)
        self.assertTrue(closed)
        self.assertIn(b"400 Bad Request", text)
        self.assertIn(b"https://", text)


class Traffic(Case):
    def test_large_bodies_streams_and_pipelines(self):
        daemon = self.daemon()
        leader = JobManager(daemon).wait_granted()
        payload = os.urandom(9 * 1024 * 1024)
        code, answer, _ = leader.call("PUT", f"/graphs/{JOB}", payload, {"Content-Type": "application/octet-stream"}, timeout=120)
        self.assertEqual(code, 200, answer)
        self.assertEqual(answer["digest"], "sha256=" + hashlib.sha256(payload).hexdigest())
        self.assertEqual(leader.call("GET", f"/graphs/{JOB}", timeout=120)[1], payload)
        watch = Stream(daemon, leader.base + "/leader/watch")
        self.assertEqual(watch.next("leader")["components"], {})
        leader.call("PUT", "/leader/dispatcher", {"leader_session": leader.leader_session, "address": "akka://x"})
        self.assertIn("dispatcher", watch.next("leader")["components"])
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as link, \
                self.trust().wrap_socket(link, server_hostname="localhost") as secured:
            secured.sendall(HEALTH * 499 + HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            received = b""
            while piece := secured.recv(65536):  # a close without close_notify would be an error
                received += piece
        self.assertEqual(received.count(b"HTTP/1.1 200 OK"), 500)

    def test_a_killed_client_of_tls_is_replaced_at_once(self):
        daemon = self.daemon()
        first = JobManager(daemon, ttl_ms=60000).wait_granted()
        second = JobManager(daemon, ttl_ms=60000)
        first.stream.close()
        second.wait_granted(30)

    def test_a_handshake_in_single_bytes_works(self):
        daemon = self.daemon()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.trust().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def until_done(step):
                while True:
                    try:
                        result = step()
                    except ssl.SSLWantReadError:
                        result = None
                    for byte in outgoing.read():
                        link.send(bytes([byte]))
                    if result is not None:
                        return result
                    incoming.write(link.recv(65536))
            until_done(lambda: tls.do_handshake() or True)
            tls.write(HEALTH)
            self.assertIn(b"200 OK", until_done(lambda: tls.read(4096)))

    def test_slow_and_broken_handshakes_are_dropped(self):
        daemon = self.daemon(timeout_header="2s")
        hello = bytes.fromhex("16030100ff010000fb0303")
        for start in (b"", hello, hello[:1]):
            with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as link:
                link.sendall(start)
                end = time.monotonic() + 60
                link.settimeout(0.1)  # a byte now and then does not help
                while time.monotonic() < end:
                    try:
                        if link.recv(100) == b"":
                            break
                    except socket.timeout:
                        if start:
                            try:
                                link.send(b"\0")
                            except OSError:
                                break
                    except OSError:
                        break
                self.assertLess(time.monotonic(), end)
        for garbage in (b"\x16" + os.urandom(300), b"\x16\x03\x01\xff\xff" + os.urandom(70000), hello + os.urandom(4000)):
            with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as link:
                try:
                    link.sendall(garbage)
                    while link.recv(65536):
                        pass
                except OSError:
                    pass

        def well():
            try:
                return daemon.call("GET", "/healthz")[0] == 200
            except OSError:  # two seconds are not much on a busy machine
                return False
        self.wait("it serves others", well)


class Files(Case):
    def refused(self, expected, **settings):
        daemon = Daemon(**{"listen_tls_certificate__file": self.certificate, "listen_tls_key__file": self.key, **settings})
        self.addCleanup(daemon.remove)
        code, text = daemon.start(expect_failure=True)
        self.assertEqual(code, 2, text)
        self.assertIn(expected, text)

    def test_wrong_files_are_named(self):
        _, other = self.ca.sign("other", "/CN=other")
        empty, locked = self.folder / "empty", self.folder / "locked.key"
        empty.write_text("nothing\n")
        openssl("ec", "-in", self.key, "-aes256", "-passout", "pass:x", "-out", locked)
        self.refused("listen.tls.certificate-file: /nowhere: No such file", listen_tls_certificate__file="/nowhere")
        self.refused("holds no certificate in PEM", listen_tls_certificate__file=empty)
        self.refused("listen.tls.key-file: /nowhere: No such file", listen_tls_key__file="/nowhere")
        self.refused("holds no private key in PEM", listen_tls_key__file=empty)
        self.refused("the key is not that of", listen_tls_key__file=other)
        self.refused("the key is encrypted", listen_tls_key__file=locked)
        self.refused("listen.tls.client-ca-file: /nowhere: No such file", listen_tls_client__ca__file="/nowhere")
        self.refused("holds no certificate in PEM", listen_tls_client__ca__file=empty)
        self.refused("go together", listen_tls_key__file="")
        self.refused("needs listen.tls.client-ca-file", listen_tls_client__certificate__required="true")

    def test_replaced_files_are_followed_and_bad_ones_are_not(self):
        daemon = self.daemon()
        watch = Stream(daemon, "/v1/clusters/default/c1/leader/watch")
        watch.next("leader")
        second = self.put("second")
        self.wait("the new certificate is served", lambda: self.served(daemon) == second)
        self.key.write_text("rubbish")
        self.wait("it says what is wrong", lambda: "tls.reload_failed" in daemon.log_text())
        self.assertIn("holds no private key in PEM", daemon.log_text())
        self.assertEqual(self.served(daemon), second)
        self.certificate.unlink()
        self.wait("it says that one is gone", lambda: "No such file" in daemon.log_text())
        self.assertEqual(self.served(daemon), second)
        third = self.put("third")
        self.wait("the next good pair is served", lambda: self.served(daemon) == third)
        self.assertIsNotNone(watch.next("heartbeat"))  # a stream of the first certificate's time goes on
        self.assertEqual(daemon.log_text().count("tls.certificate_loaded"), 3)

    def test_a_link_that_is_switched_is_followed(self):
        folders = []
        for name in ("one", "two"):
            self.put(name)
            folders.append(self.folder / f"data-{name}")
            folders[-1].mkdir()
            shutil.move(self.certificate, folders[-1] / "tls.crt")
            shutil.move(self.key, folders[-1] / "tls.key")
        link = self.folder / "data"
        link.symlink_to(folders[0])
        self.certificate, self.key = link / "tls.crt", link / "tls.key"
        daemon = self.daemon()
        before = self.served(daemon)
        (self.folder / "next").symlink_to(folders[1])
        os.replace(self.folder / "next", link)
        self.wait("the other folder's certificate is served", lambda: self.served(daemon) != before)


class Clients(Case):
    def test_certificates_of_clients(self):
        others = Authority(self.folder / "others", "other-ca")
        good, foreign = self.ca.sign("jm", "/CN=jm"), others.sign("jm", "/CN=jm")
        daemon = self.daemon(client=good, listen_tls_client__ca__file=self.ca.certificate,
                             listen_tls_client__certificate__required="true")
        self.assertEqual(daemon.call("GET", "/healthz")[0], 200)
        for pair in ((), foreign):
            daemon.tls = self.trust(*pair)
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                daemon.call("GET", "/healthz")
        daemon.tls = self.trust(*good)
        daemon.stop()
        daemon.settings["listen_tls_client__certificate__required"] = "false"
        daemon.start()
        daemon.tls = self.trust()
        self.assertEqual(daemon.call("GET", "/healthz")[0], 200)
        daemon.tls = self.trust(*foreign)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            daemon.call("GET", "/healthz")

    def test_certificates_say_who_it_is(self):
        access = self.folder / "access"
        access.write_text("ops admin * certificate cn:ops\norders jobmanager orders/* certificate dns:jm.orders\n"
                          "spiffe read-only * certificate uri:spiffe://here/grafana\ntoken admin * token 0123456789abcdef\n")
        pairs = {"ops": self.ca.sign("ops", "/CN=ops"), "orders": self.ca.sign("orders", "/CN=x/CN=ops2", "DNS:other,DNS:jm.orders"),
                 "spiffe": self.ca.sign("spiffe", "/O=none", "URI:spiffe://here/grafana"), "nobody": self.ca.sign("nobody", "/CN=Ops"),
                 "twice": self.ca.sign("twice", "/CN=ops/CN=somebody"), "none": ()}
        daemon = self.daemon(client=pairs["ops"], listen_tls_client__ca__file=self.ca.certificate, security_access__file=access)
        status, own, other = "/v1/status", "/v1/clusters/orders/a/leader", "/v1/clusters/default/a/leader"
        for who, codes in (("ops", (200, 200, 200)), ("orders", (403, 200, 403)), ("spiffe", (200, 200, 200)),
                           ("nobody", (401, 401, 401)), ("twice", (401, 401, 401)), ("none", (401, 401, 401))):
            daemon.tls = self.trust(*pairs[who])
            self.assertEqual(tuple(daemon.call("GET", path)[0] for path in (status, own, other)), codes, who)
            self.assertEqual(daemon.call("GET", "/healthz")[0], 200)
        daemon.tls = self.trust(*pairs["orders"])  # a token counts more than the certificate, also a wrong one
        self.assertEqual(daemon.call("GET", status, headers={"Authorization": "Bearer 0123456789abcdef"})[0], 200)
        self.assertEqual(daemon.call("GET", own, headers={"Authorization": "Bearer 0123456789abcdeF"})[0], 401)

    def cli(self, daemon, *arguments, **environment):
        done = subprocess.run([CLI, "--endpoint", f"https://localhost:{daemon.port}", *map(str, arguments)], text=True,
                              env={**os.environ, **{name: str(value) for name, value in environment.items()}},
                              capture_output=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def test_the_cli_trusts_whom_it_is_told_to(self):
        certificate, key = self.ca.sign("ops", "/CN=ops")
        daemon = self.daemon(client=(certificate, key), listen_tls_client__ca__file=self.ca.certificate,
                             listen_tls_client__certificate__required="true")
        ours = ("--ca-file", self.ca.certificate, "--cert-file", certificate, "--key-file", key)
        self.assertEqual(self.cli(daemon, *ours, "status")[0], 0)
        self.assertEqual(self.cli(daemon, "clusters", HOLDFAST_CA_FILE=self.ca.certificate, HOLDFAST_CERT_FILE=certificate,
                                  HOLDFAST_KEY_FILE=key)[0], 0)
        code, text = self.cli(daemon, "status")
        self.assertEqual(code, 8, text)
        self.assertIn("certificate", text)
        code, text = self.cli(daemon, "--ca-file", self.ca.certificate, "status")
        self.assertEqual(code, 8, text)
        stranger = Authority(self.folder / "stranger")
        self.assertEqual(self.cli(daemon, *ours, "--ca-file", stranger.certificate, "status")[0], 8)


class Plugin(Case):
    """The plugin's own client, driven line by line."""

    @classmethod
    def setUpClass(cls):
        cls.classes = tempfile.mkdtemp(prefix="holdfast-probe-")
        cls.addClassCleanup(shutil.rmtree, cls.classes, ignore_errors=True)
        jars = [maven.plugin_jar(), *maven.flink_lib(maven.flink_version("1.20")).glob("*.jar")]
        cls.path = ":".join(map(str, [cls.classes, *jars]))
        done = subprocess.run(["javac", "--release", "11", "-cp", cls.path, "-d", cls.classes, os.path.join(HERE, "ClientProbe.java")],
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    def probe(self, daemon, **files):
        options = {"holdfast.endpoints": f"https://localhost:{daemon.port}",
                   **{f"holdfast.security.{name.replace('_', '-')}": str(path) for name, path in files.items()}}
        process = subprocess.Popen(["java", "-Xmx128m", "-cp", self.path, "io.holdfast.flink.ClientProbe",
                                    *(f"{key}={value}" for key, value in options.items())],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)

        def ask(line):
            process.stdin.write(line + "\n")
            return process.stdout.readline().strip()

        def end():
            process.stdin.close()
            process.wait(60)
            process.stdout.close()
        self.addCleanup(end)
        return ask

    def test_the_plugin_follows_its_files(self):
        for form in ("ec", "sec1", "rsa", "pkcs1"):  # as openssl, cert-manager and others write keys
            with self.subTest(form):
                certificate, key = self.key_of(form)
                daemon = self.daemon(client=(certificate, key), listen_tls_client__ca__file=self.ca.certificate,
                                     listen_tls_client__certificate__required="true")
                ask = self.probe(daemon, ca_file=self.ca.certificate, certificate_file=certificate, key_file=key)
                self.assertEqual(ask("GET /healthz"), "OK")
                self.assertEqual(ask("STREAM /v1/clusters/default/c1/leader/watch"), "leader")
                daemon.remove()

    def key_of(self, form):
        certificate, key = self.ca.sign("jm", "/CN=jm")
        if form == "sec1":
            openssl("ec", "-in", key, "-out", key)
            self.assertIn("BEGIN EC PRIVATE KEY", key.read_text())
        elif form != "ec":
            request = self.folder / "jm.csr"
            openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", "/CN=jm", "-out", request)
            openssl("x509", "-req", "-in", request, "-CA", self.ca.certificate, "-CAkey", self.ca.folder / "test-ca.key",
                    "-CAcreateserial", "-days", "2", "-out", certificate)
            if form == "pkcs1":
                openssl("rsa", "-in", key, "-traditional", "-out", key)
                self.assertIn("BEGIN RSA PRIVATE KEY", key.read_text())
        return certificate, key

    def test_the_plugin_follows_a_new_authority(self):
        daemon = self.daemon()
        bundle = self.folder / "bundle.crt"
        shutil.copy(self.ca.certificate, bundle)
        ask = self.probe(daemon, ca_file=bundle)
        self.assertEqual(ask("GET /healthz"), "OK")
        old, self.ca = self.ca, Authority(self.folder / "next", "next-ca")
        bundle.write_text(old.certificate.read_text() + self.ca.certificate.read_text())
        second = self.put("second")
        self.wait("the daemon serves the new one", lambda: self.served(daemon) == second)
        self.wait("the plugin trusts it", lambda: ask("GET /healthz") == "OK")
        bundle.write_text("rubbish")
        self.assertEqual([ask("GET /healthz") for _ in range(3)], ["OK"] * 3)
        shutil.copy(old.certificate, bundle)
        self.wait("whom it trusts no more it does not speak with", lambda: "PKIX" in ask("GET /healthz 2000"))

    def test_the_plugin_follows_its_token(self):
        access, token = self.folder / "access", self.folder / "token"
        access.write_text("one read-only * token first-token-0123456789\n")
        token.write_text("first-token-0123456789\n")
        daemon = Daemon(listen_tls_certificate__file=self.certificate, listen_tls_key__file=self.key, security_access__file=access)
        daemon.tls, daemon.headers = self.trust(), {"Authorization": "Bearer first-token-0123456789"}
        self.addCleanup(daemon.remove)
        daemon.start()
        ask = self.probe(daemon, ca_file=self.ca.certificate, token_file=token)
        self.assertEqual(ask("GET /v1/status"), "OK")
        self.assertEqual(ask("STREAM /v1/clusters/default/c1/leader/watch"), "leader")
        access.write_text("one read-only * token second-token-0123456789\n")
        self.wait("the first one is not known any more", lambda: ask("GET /v1/status").startswith("UNAUTHENTICATED"))
        token.write_text("second-token-0123456789\n")
        self.assertEqual(ask("GET /v1/status"), "OK")  # at once: a refusal makes it look
        token.write_text("")
        self.assertEqual([ask("GET /v1/status") for _ in range(3)], ["OK"] * 3)

    def test_names_are_checked(self):
        self.put("elsewhere", "DNS:elsewhere")
        daemon = Daemon(listen_tls_certificate__file=self.certificate, listen_tls_key__file=self.key)
        self.addCleanup(daemon.remove)
        daemon.tls = self.trust()
        daemon.tls.check_hostname = False
        daemon.start()
        ask = self.probe(daemon, ca_file=self.ca.certificate)  # the first handshake of a JVM may take longer than its time
        self.wait("the name is said to be wrong", lambda: "localhost found" in ask("GET /healthz 5000"))
        stranger = Authority(self.folder / "stranger")
        strange = self.probe(daemon, ca_file=stranger.certificate)
        self.wait("the authority is said to be wrong", lambda: "PKIX" in strange("GET /healthz 5000"))


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
