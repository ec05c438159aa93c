#!/usr/bin/env python3
"""How holdfastd comes to its keys and to its S3 server: each source of keys, both styles of addresses, a proxy.

The server is a real one. The services that hand out keys (STS and a machine's metadata) are small fakes that hand out its
keys; so is the proxy, and the server that looks at headers of requests.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
import threading
import unittest
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib.fake_s3 import FakeS3  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.s3 import S3  # noqa: E402

DAEMON = BUILD / "daemon" / "holdfastd"
ROLE = "arn:aws:iam::123456789012:role/holdfast"
TOKEN = "eyJ.the-token.of-the-pod"
PATIENCE_S = 90


class Identities(BaseHTTPRequestHandler):
    """STS and the metadata service (version 2) of a machine."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, code, text):
        data = text.encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _expires(self):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.server.seen.append(form)
        if form.get("WebIdentityToken") != TOKEN or form.get("RoleArn") != ROLE:
            self._answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform "
                              "sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>")
            return
        self._answer(200, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
                          f"<AccessKeyId>{S3.access_key}</AccessKeyId><SecretAccessKey>{S3.secret_key}</SecretAccessKey>"
                          f"<SessionToken>{self.server.session_token}</SessionToken><Expiration>{self._expires()}</Expiration>"
                          "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>")

    def do_PUT(self):
        self.server.seen.append(self.path)
        self._answer(200 if self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") else 400, "the-token")

    def do_GET(self):
        self.server.seen.append(self.path)
        prefix = "/latest/meta-data/iam/security-credentials/"
        if self.headers.get("X-aws-ec2-metadata-token") != "the-token":
            self._answer(401, "")
        elif self.path == prefix and self.server.role:
            self._answer(200, self.server.role)
        elif self.path == prefix + self.server.role and self.server.role:
            self._answer(200, json.dumps({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": S3.access_key, "SecretAccessKey": S3.secret_key,
                "Token": self.server.session_token, "Expiration": self._expires()}))
        else:
            self._answer(404, "")


class AccessTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="holdfast-access-")
        cls.addClassCleanup(temporary.cleanup)
        cls.work = Path(temporary.name)
        cls.server = S3(cls.work, virtual_domain="localhost")
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()
        cls.identities = ThreadingHTTPServer(("127.0.0.1", 0), Identities)
        cls.identities.daemon_threads = True
        threading.Thread(target=cls.identities.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        cls.addClassCleanup(cls.identities.server_close)
        cls.addClassCleanup(cls.identities.shutdown)
        cls.identities_url = f"http://127.0.0.1:{cls.identities.server_port}"

    def setUp(self):
        self.identities.seen = []
        self.identities.role = "the-role"
        self.identities.session_token = ""

    def settings(self, **more):
        """Without keys, and with nothing of this machine that could be taken for some."""
        return {"store": f"s3://{self.server.bucket}/{self.id().rpartition('.')[2]}", "s3.endpoint": self.server.endpoint,
                "s3.path.style.access": "true", "s3.retry-time": "300ms", "s3.metadata-endpoint": self.identities_url,
                "s3.sts-endpoint": self.identities_url, **more}

    def start(self, settings, environment=None):
        """(None, log) once it serves; (its last words, log) when it ended by itself."""
        port_file = self.work / f"port-{self.id().rpartition('.')[2]}"
        settings = {"listen": "127.0.0.1:0", "listen.port-file": port_file, **settings}
        arguments = [word for key, value in settings.items() for word in ("-D", f"{key}={value}")]
        process = subprocess.Popen([DAEMON, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True,
                                   env={"PATH": os.environ["PATH"], "HOME": str(self.work), "no_proxy": "*", **(environment or {})})
        log = []
        served = threading.Event()
        ended = threading.Event()

        def read():
            for line in process.stderr:
                log.append(line)
                if "event=daemon.serving" in line:
                    served.set()
                    ended.set()
            ended.set()
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self.assertTrue(ended.wait(PATIENCE_S), "".join(log))
        process.terminate()
        process.wait(PATIENCE_S)
        reader.join()
        process.stderr.close()
        words = [line for line in log if line.startswith("holdfastd: ")]
        return (None if served.is_set() else "".join(words)), "".join(log)

    def served(self, settings, environment=None, source=None):
        words, log = self.start(settings, environment)
        self.assertIsNone(words, log)
        if source:
            self.assertIn(f"credentials={source}", log)
        self.assertNotIn(S3.secret_key, log)
        return log

    def refused(self, expected, settings, environment=None):
        words, log = self.start(settings, environment)
        self.assertIsNotNone(words, log)
        for text in expected:
            self.assertIn(text, words)

    def file(self, name, text):
        path = self.work / f"{name}-{self.id().rpartition('.')[2]}"
        path.write_text(text, "utf-8")
        return str(path)

    def test_keys_of_the_settings(self):
        self.served(self.settings(**{"s3.access-key": S3.access_key, "s3.secret-key": S3.secret_key}), source="static")

    def test_keys_of_the_environment(self):
        self.served(self.settings(), {"AWS_ACCESS_KEY_ID": S3.access_key, "AWS_SECRET_ACCESS_KEY": S3.secret_key},
                    source="environment")

    def test_a_profile_of_a_file(self):
        file = self.file("credentials", "[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n\n"
                         f"[mine]\naws_access_key_id = {S3.access_key}\naws_secret_access_key = {S3.secret_key}\n")
        self.served(self.settings(**{"s3.profile": "mine"}), {"AWS_SHARED_CREDENTIALS_FILE": file}, source="file")
        self.served(self.settings(**{"s3.credentials-file": file}), {"AWS_PROFILE": "mine"}, source="file")
        self.refused(["check s3.access-key"], self.settings(**{"s3.credentials-file": file}))

    def test_a_web_identity(self):
        environment = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": self.file("token", TOKEN + "\n")}
        self.served(self.settings(), environment, source="web-identity")
        form = self.identities.seen[0]
        self.assertEqual(form["Action"], "AssumeRoleWithWebIdentity")
        self.assertEqual(form["RoleSessionName"], "holdfast")

    def test_a_web_identity_that_may_not(self):
        environment = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": self.file("token", "another")}
        self.refused(["AccessDenied", "Not authorized"], self.settings(), environment)

    def test_the_role_of_a_machine(self):
        self.served(self.settings(**{"s3.credentials": "instance"}), source="instance")
        prefix = "/latest/meta-data/iam/security-credentials/"
        self.assertEqual(self.identities.seen[:3], ["/latest/api/token", prefix, prefix + "the-role"])

    def test_the_machine_is_asked_last(self):
        self.served(self.settings(), source="instance")

    def test_a_machine_without_a_role(self):
        self.identities.role = ""
        self.refused(["credentials"], self.settings(**{"s3.credentials": "instance"}))

    def test_addresses_with_the_bucket_in_the_host(self):
        self.server.start_bucket("virtual.bucket")
        for bucket in (self.server.bucket, "virtual.bucket"):
            settings = self.settings(**{"s3.access-key": S3.access_key, "s3.secret-key": S3.secret_key,
                                        "s3.endpoint": f"http://localhost:{self.server.port}", "s3.path.style.access": "false",
                                        "store": f"s3://{bucket}/virtual"})
            log = self.served(settings)
            self.assertIn(f"host={bucket}.localhost:{self.server.port}", log)

    def test_a_session_token_is_sent_and_signed(self):
        with FakeS3("none") as fake:
            headers = []
            fake.server.fault = lambda request, _key: headers.append(dict(request.headers.items()))
            self.identities.session_token = "the-session-token=="
            self.served(self.settings(**{"s3.credentials": "instance", "s3.endpoint": fake.endpoint}))
            self.assertGreater(len(headers), 10)
            for sent in headers:
                sent = {name.lower(): value for name, value in sent.items()}
                self.assertEqual(sent["x-amz-security-token"], "the-session-token==")
                self.assertIn("x-amz-security-token", sent["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";"))

    def test_a_proxy(self):
        """The fake as proxy: it is asked for whole addresses, of a host that only a proxy could know. One that is named is
        used whatever no_proxy says."""
        with FakeS3("none") as fake:
            seen = []
            fake.server.fault = lambda request, _key: seen.append(request.path) and None
            settings = self.settings(**{"s3.access-key": "a", "s3.secret-key": "b", "s3.endpoint": "http://store.invalid",
                                        "s3.proxy": fake.endpoint})
            self.served(settings)
            self.assertTrue(all(path.startswith(f"http://store.invalid/{self.server.bucket}") for path in seen), seen[:3])
            self.assertGreater(len(seen), 10)

    def test_no_credentials_at_all(self):
        """Anonymous requests are not signed; this server takes none."""
        self.refused(["403"], self.settings(**{"s3.credentials": "anonymous"}))


if __name__ == "__main__":
    unittest.main()
