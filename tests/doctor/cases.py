"""What the tests of `holdfast doctor` share: to run it, to say which checks a test breaks, and small broken servers."""
import functools
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib.paths import BUILD  # noqa: E402

CLI = Path(os.environ.get("HOLDFAST_CLI", BUILD / "cli" / "holdfast"))
BAD = ("WARN", "FAIL")

#: Ids of checks that some test makes find fault with.
BROKEN = set()


def breaks(*ids):
    """The test shows each of these checks finding fault; it fails when one does not."""
    BROKEN.update(ids)

    def decorate(test):
        @functools.wraps(test)
        def run(self):
            self.found_bad = set()
            test(self)
            self.assertEqual(set(ids) - self.found_bad, set(), "these were to find fault, and did not")
        return run
    return decorate


class Found:
    """One answer of the doctor."""

    def __init__(self, code, answer):
        self.code = code
        self.answer = answer
        self.checks = answer["checks"]

    def of(self, check):
        return [entry for entry in self.checks if entry["id"] == check]

    def states(self, check):
        return {entry["state"] for entry in self.of(check)}


class DoctorTest(unittest.TestCase):
    found_bad = frozenset()

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="holdfast-doctor-")
        self.addCleanup(folder.cleanup)
        self.work = Path(folder.name)

    def command(self, *arguments):
        return [CLI, "doctor", *map(str, arguments)]

    def doctor(self, *arguments, env=None):
        """Everything but the default endpoint, which somebody may listen on."""
        done = subprocess.run(self.command("-o", "json", *arguments), capture_output=True, text=True, timeout=300, check=False,
                              env={"PATH": os.environ["PATH"], "HOME": str(self.work), "no_proxy": "127.0.0.1", **(env or {})})
        self.assertIn(done.returncode, (0, 1, 2), done.stderr)
        self.assertTrue(done.stdout, done.stderr)
        found = Found(done.returncode, json.loads(done.stdout))
        states = [entry["state"] for entry in found.checks]
        for state in ("OK", "WARN", "FAIL", "SKIPPED"):
            self.assertEqual(found.answer[state.lower()], states.count(state))
        self.assertEqual(found.code == 2, "FAIL" in states, found.checks)
        for entry in found.checks:
            self.assertTrue(entry["seen"] and entry["why"], entry)
            if entry["state"] in BAD and entry["id"] != "store.open":
                self.assertTrue(entry["change"], entry)
        return found

    def bad(self, found, check, words="", state=None):
        """The check finds fault, in these words."""
        entries = [entry for entry in found.of(check) if entry["state"] in ((state,) if state else BAD)]
        self.assertTrue(entries, found.of(check))
        self.assertTrue(any(words in entry["seen"] for entry in entries), (words, entries))
        self.found_bad = set(self.found_bad) | {check}

    def fine(self, found, *checks):
        for check in checks:
            self.assertEqual(found.states(check), {"OK"}, found.of(check))

    def config(self, name="holdfastd.yaml", **settings):
        """A file of settings; names as in Daemon(): a_b is a.b, a__b is a-b."""
        path = self.work / name
        values = {key.replace("__", "-").replace("_", "."): value for key, value in settings.items()}
        values.setdefault("store", f"file://{self.work / 'store'}")
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()), "utf-8")
        path.chmod(0o600)
        return path

    def store(self):
        folder = self.work / "store"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, capture_output=True, cwd=self.work)

    def certificate(self, name, days, address="IP:127.0.0.1"):
        """(certificate, key) that sign themselves."""
        certificate, key = self.work / f"{name}.crt", self.work / f"{name}.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-subj",
                     f"/CN={name}", "-addext", f"subjectAltName={address}", "-days", days, "-out", certificate)
        key.chmod(0o600)
        return certificate, key


class Fake:
    """A server of a few fixed answers: {"METHOD /path": (code, object, or what makes it)}, and a Date that may be wrong. Beside the real
    ones, for what those cannot be made to say."""

    def __init__(self, answers, tls=None, date=None):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def date_time_string(self, timestamp=None):
                return super().date_time_string(date if date is not None else timestamp)

            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                code, what = answers.get(f"{self.command} {self.path.partition('?')[0]}", (404, {"status": "NOT_FOUND", "message": "no"}))
                body = json.dumps(what() if callable(what) else what).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, tls))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
