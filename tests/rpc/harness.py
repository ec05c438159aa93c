"""A real holdfastd for tests that speak the protocol: started on a free port of loopback, stopped by
its process id."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DAEMON = os.environ.get("HOLDFASTD", os.path.join(ROOT, "build/release/daemon/holdfastd"))
BOUND_S = 60  # for what takes milliseconds, on a machine that does other things as well
CLI = os.environ.get("HOLDFAST_CLI", os.path.join(ROOT, "build/release/cli/holdfast"))


def request(method, path, body=None, headers=None):
    """The bytes of a request, for bare connections."""
    text = b"" if body is None else json.dumps(body).encode()
    head = {"Host": "x", "Content-Length": len(text), **({"Content-Type": "application/json"} if text else {}), **(headers or {})}
    return (f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()) + "\r\n").encode() + text


class Daemon:
    tls = None  # an ssl.SSLContext: how its clients here connect
    headers = {}  # what they send with every request

    def __init__(self, store=None, **settings):
        self.folder = tempfile.mkdtemp(prefix="holdfast-rpc-")
        self.store = store or os.path.join(self.folder, "store")
        self.settings = settings
        self.process = None
        self.port = None

    def command(self):
        port_file = os.path.join(self.folder, "port")
        settings = {"listen": "127.0.0.1:0", "listen.port-file": port_file, "store": "file://" + self.store,
                    "store.ballast": "0"}
        settings.update({key.replace("__", "-").replace("_", "."): value for key, value in self.settings.items()})
        command = [DAEMON]
        for key, value in settings.items():
            command += ["-D", f"{key}={value}"]
        return command

    def start(self, expect_failure=False):
        port_file = os.path.join(self.folder, "port")
        if os.path.exists(port_file):
            os.unlink(port_file)
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), stderr=log, stdout=log)
        if expect_failure:
            code = self.process.wait(BOUND_S)
            return code, self.log_text()
        deadline = time.monotonic() + BOUND_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError("holdfastd ended: " + self.log_text())
            try:
                with open(port_file) as file:
                    self.port = int(file.read())
                if self.is_ready():
                    return self
            except (OSError, ValueError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        raise AssertionError("holdfastd is not ready: " + self.log_text())

    def is_ready(self):
        return self.call("GET", "/readyz")[0] == 200

    def log_text(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as log:
            return log.read()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            code = self.process.wait(BOUND_S)
        else:
            code = self.process.returncode if self.process else None
        return code

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *ignored):
        self.remove()

    def call(self, method, path, body=None, headers=None, timeout=BOUND_S):
        """-> (status code, decoded body, headers)"""
        connection = self.connect(timeout)
        headers = {**self.headers, **(headers or {})}
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.getheader("Content-Type") == "application/json":
            data = json.loads(data)
        return answer.status, data, dict(answer.getheaders())

    def connect(self, timeout):
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def link(self):
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=BOUND_S)

    def raw(self, data, timeout=BOUND_S, half_close=False):
        """Sends bytes, returns all that comes back until the daemon closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            s.settimeout(timeout)
            try:
                s.sendall(data)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            received = b""
            try:
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        return received, True
                    received += piece
            except (socket.timeout, ConnectionResetError) as e:
                return received, isinstance(e, ConnectionResetError)


class Stream:
    """A session's events or a watch: one JSON object a line."""

    def __init__(self, daemon, path):
        self.connection = self.answer = daemon.connect(BOUND_S)
        self.connection.request("GET", path, headers=daemon.headers)
        self.answer = self.connection.getresponse()
        if self.answer.status != 200:
            raise AssertionError(f"{path}: {self.answer.status} {self.answer.read()}")

    def next(self, *wanted, timeout=BOUND_S):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            line = self.answer.readline()
            if not line:
                return None
            event = json.loads(line)
            if not wanted or event["event"] in wanted:
                return event
        raise AssertionError(f"none of {wanted} came")

    def close(self):
        """Closes the connection, as the kernel does for a killed process; so does dropping the last reference to it."""
        self.answer.close()
        self.connection.close()

    def __del__(self):
        self.close()


class JobManager:
    """A client with a session, its stream and, once granted, its fence. It never renews: a session ends with its time to
    live, and, without a stream, with the grace. So whoever opens another stream keeps that, or the session ends."""

    def __init__(self, daemon, cluster="c1", ns="default", ttl_ms=300000, contend=True, **registration):
        self.daemon = daemon
        self.base = f"/v1/clusters/{ns}/{cluster}"
        self.sid = os.urandom(16).hex()
        code, answer, _ = daemon.call("POST", self.base + "/sessions",
                                      {"session": self.sid, "holder": "test:" + self.sid[:4], "ttl_ms": ttl_ms, **registration})
        assert code == 200, answer
        self.opened = answer
        self.stream = Stream(daemon, f"{self.base}/sessions/{self.sid}/events?contend={str(contend).lower()}")
        assert self.stream.next()["event"] == "attached"
        self.fence = None

    def wait_granted(self, timeout=BOUND_S):
        event = self.stream.next("granted", timeout=timeout)
        self.fence = event["fence"]
        self.leader_session = event["leader_session"]
        return self

    def call(self, method, path, body=None, headers=None, **more):
        head = {"Holdfast-Session": self.sid, "Holdfast-Fence": str(self.fence)}
        head.update(headers or {})
        return self.daemon.call(method, self.base + path, body, head, **more)

    def commit(self, job, id, **more):
        body = {"id": id, "pointer": f"file:/ckpt/{job}/chk-{id}", "started_ms": 1000 + id, "completed_ms": 2000 + id,
                "size": 10, "num_retained": 1,
                "properties": {"type": "CHECKPOINT", "sharing": "FORWARD_BACKWARD", "format": None,
                               "post_action": None, "forced": False, "unclaimed": False,
                               "discard_on": ["subsumed", "finished", "canceled", "failed", "suspended"]}}
        body.update(more)
        return self.call("POST", f"/jobs/{job}/checkpoints", body)
