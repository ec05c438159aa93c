"""A JobManager's REST interface as far as holdfastd asks it, strict about what it is asked, and as bad as a test wants it."""
import http.server
import json
import re
import threading
import time


class FakeJobManager:
    """`jobs`: id -> Job. `fault`: None, or what every answer is: "slow", "huge", "cut", "deep", "text" or a status code."""

    def __init__(self):
        self.jobs = {}
        self.fault = None
        self.history = 10
        self.version = "1.20.5"
        self.stale_ms = 200  # for so long it keeps what it has said of checkpoints
        self.asked = {}  # path -> times
        self.kept = {}  # answers about checkpoints, as a JobManager keeps them
        self.wrong = []  # what nobody should have asked
        self.release = threading.Event()  # ends answers that are slow
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer._answer(self)

            def do_POST(self):
                outer.wrong.append(f"{self.command} {self.path}")
                self.send_error(405)

            do_PUT = do_DELETE = do_PATCH = do_POST

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # who asked has gone away

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, handler):
        with self.lock:
            self.asked[handler.path] = self.asked.get(handler.path, 0) + 1
            fault = self.fault
            answer = self._said(handler.path)
        if answer is None:
            answer = (404, {"errors": ["Not found."]})
        code, value = answer
        body = json.dumps(value).encode()
        if fault == "slow":
            self.release.wait(120)
        elif fault == "huge":
            body = b'{"jobs":[' + b" " * (3 * 1024 * 1024) + b"]}"
        elif fault == "deep":
            body = b"[" * 100000
        elif fault == "text":
            body = b"<html>It works!</html>"
        elif isinstance(fault, int):
            code, body = fault, b'{"errors":["no"]}'
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body) + (100 if fault == "cut" else 0)))
        handler.end_headers()
        handler.wfile.write(body)
        if fault == "cut":
            handler.wfile.flush()
            handler.close_connection = True

    def _said(self, path):
        if path == "/config":
            return 200, {"flink-version": self.version}
        if path == "/jobmanager/config":
            return 200, [{"key": "web.checkpoints.history", "value": str(self.history)},
                         {"key": "rest.cache.checkpoint-statistics.timeout", "value": f"{self.stale_ms} ms"}]
        if path == "/jobs/overview":
            return 200, {"jobs": [job.row() for job in self.jobs.values()]}
        found = re.fullmatch(r"/jobs/([0-9a-f]{32})/(checkpoints|checkpoints/config|metrics\?get=numRestarts)", path)
        if not found:
            self.wrong.append(path)
            return None
        job = self.jobs.get(found[1])
        if job is None:
            return None
        if found[2] == "checkpoints":
            kept = self.kept.get(job.id)
            if kept is None or time.monotonic() - kept[0] >= self.stale_ms / 1000:
                kept = self.kept[job.id] = time.monotonic(), json.loads(json.dumps(job.checkpoints(self.history)))
            return 200, kept[1]
        if found[2] == "checkpoints/config":
            return 200, {"interval": job.interval_ms,
                         "externalization": {"enabled": True, "delete_on_cancellation": not job.retains}}
        return 200, [{"id": "numRestarts", "value": str(job.restarts)}]


class Job:
    def __init__(self, number, name="orders", started_ms=1_700_000_000_000):
        self.id = f"{number:032x}"
        self.name = name
        self.state = "RUNNING"
        self.started_ms = started_ms
        self.ended_ms = -1
        self.interval_ms = 200
        self.retains = True
        self.restarts = 0
        self.completed = self.failed = 0
        self.next_id = 1
        self.entries = []
        self.restored = None

    def row(self):
        return {"jid": self.id, "name": self.name, "state": self.state, "start-time": self.started_ms, "end-time": self.ended_ms}

    def complete(self, count=1, kind="CHECKPOINT", path=None):
        """The next ones; the id of the last."""
        for _ in range(count):
            number = self.next_id
            self.next_id += 1
            savepoint = "SAVEPOINT" in kind
            self.entries.append({
                "id": number, "status": "COMPLETED", "is_savepoint": savepoint, "checkpoint_type": kind,
                "trigger_timestamp": self.started_ms + number * 200, "end_to_end_duration": 25, "state_size": 1000 + number,
                "checkpointed_size": 10, "discarded": False, "external_path": path or f"file:/ckpt/{self.id}/chk-{number}"})
            self.completed += 1
        return self.next_id - 1

    def fail(self):
        self.entries.append({"id": self.next_id, "status": "FAILED", "is_savepoint": False,
                             "trigger_timestamp": self.started_ms + self.next_id * 200, "end_to_end_duration": 5})
        self.next_id += 1
        self.failed += 1

    def end(self, state):
        self.state = state
        self.ended_ms = self.started_ms + self.next_id * 200 + 100

    def fail_over(self, restored):
        """Another JobManager takes over: it counts from nothing and shows what it restored from."""
        self.started_ms += 10_000_000
        self.completed = self.failed = 0
        self.entries = []
        self.restored = {"id": restored, "is_savepoint": False, "external_path": f"file:/ckpt/{self.id}/chk-{restored}"}

    def checkpoints(self, history):
        latest = {"completed": None, "savepoint": None, "failed": None, "restored": self.restored}
        for entry in self.entries:
            if entry["status"] == "COMPLETED":
                latest["savepoint" if entry["is_savepoint"] else "completed"] = entry
        return {"counts": {"restored": 0, "total": self.completed + self.failed, "in_progress": 0, "completed": self.completed,
                           "failed": self.failed},
                "latest": latest, "history": self.entries[::-1][:history]}
