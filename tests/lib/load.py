"""JobManagers without Flink: sessions that lead, and jobs that commit checkpoints as fast as they are told to.

A client of the protocol as strict as the plugin: it follows the leader, repeats what had no clear answer with the same
content, and writes down what was acknowledged and when, so that what the store says later can be held against it.
"""
import http.client
import json
import os
import select
import socket
import threading
import time

from . import http as calls

RETRY = {"NOT_LEADER", "UNAVAILABLE", "UNKNOWN", "TIMEOUT", "LIMIT", "FULL", "NO_MEMORY", "CANCELED"}


PATIENCE_S, LOOK_PERIOD_S = 1.0, 0.5


class Refused(Exception):
    """A definite answer that the load does not expect."""


class Connection:
    """One connection at a time, to the replica that led last, else to the next one."""

    def __init__(self, endpoints, timeout=5):
        self.endpoints = list(endpoints)
        self.at = 0
        self.timeout = timeout
        self.http = None
        self.led_by = None  # somebody else, as it was seen while this one said nothing
        self.retries = 0

    def close(self):
        if self.http is not None:
            self.http.close()
            self.http = None

    def follow(self, leader):
        self.close()
        if leader in self.endpoints:
            self.at = self.endpoints.index(leader)
        else:
            self.at = (self.at + 1) % len(self.endpoints)

    def open(self):
        if self.http is None:
            self.http = http.client.HTTPConnection(self.endpoints[self.at], timeout=self.timeout)
            self.http.connect()
            self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.http

    def await_answer(self):
        """Until something arrives. As the plugin does: after a moment it asks the other endpoints whether they lead."""
        end, wait = time.monotonic() + self.timeout, PATIENCE_S
        while not select.select([self.http.sock], [], [], max(0, min(wait, end - time.monotonic())))[0]:
            if time.monotonic() >= end:
                raise TimeoutError("no answer")
            wait = LOOK_PERIOD_S
            for at, endpoint in enumerate(self.endpoints):
                code, answer = calls.call("GET", f"http://{endpoint}/readyz", timeout=LOOK_PERIOD_S) if at != self.at else (0, "")
                if code == 200 and answer["leads"]:
                    self.led_by = endpoint
                    raise TimeoutError(f"no answer, and {endpoint} leads")

    def once(self, method, path, body=None, headers=None):
        """(code, answer); (0, reason) when the connection broke or was refused."""
        try:
            connection = self.open()
            sent = {"Content-Type": "application/json", **(headers or {})} if body is not None else headers or {}
            self.led_by = None
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            self.await_answer()
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return 0, {"status": "UNAVAILABLE", "message": repr(error), "leader": self.led_by}

    def call(self, method, path, body=None, headers=None, ended=None):
        """Repeats until the answer is clear; None when `ended` is set first."""
        pause = 0.005
        while ended is None or not ended.is_set():
            code, answer = self.once(method, path, body, headers)
            if code == 200:
                return answer
            if code != 0 and answer.get("status") not in RETRY:
                raise Refused(f"{method} {path}: {code} {answer}")
            self.retries += 1
            self.follow(answer.get("leader"))
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        return None


class Manager:
    """A JobManager: a session that contends for its cluster, renews, and follows its stream."""

    def __init__(self, endpoints, cluster, ttl_ms=30000):
        self.endpoints = endpoints
        self.base = f"/v1/clusters/default/{cluster}"
        self.sid = os.urandom(16).hex()
        self.ttl_ms = ttl_ms
        self.fence = None
        self.leader_session = None
        self.lost = []  # what must not happen
        self.ended = threading.Event()
        self.granted = threading.Event()
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self._stream, self._renew)]

    def start(self):
        body = {"session": self.sid, "holder": "load", "ttl_ms": self.ttl_ms}
        Connection(self.endpoints).call("POST", self.base + "/sessions", body)
        for thread in self.threads:
            thread.start()
        if not self.granted.wait(120):
            raise Refused(f"{self.base}: no leadership within 120 s; {self.lost}")
        return self

    def headers(self):
        return {"Holdfast-Session": self.sid, "Holdfast-Fence": str(self.fence)}

    def _event(self, event):
        kind = event.get("event")
        if kind == "granted":
            if self.fence not in (None, event["fence"]):
                self.lost.append(f"granted anew: fence {self.fence}, now {event['fence']}")
            self.fence, self.leader_session = event["fence"], event["leader_session"]
            self.granted.set()
        elif kind in ("revoked", "ended"):
            self.lost.append(f"{kind}: {event.get('reason')}")

    def _stream(self):
        connection = Connection(self.endpoints, timeout=20)  # ten heartbeats: whoever closes it has a moment to come back
        while not self.ended.is_set():
            try:
                stream = connection.open()
                stream.request("GET", f"{self.base}/sessions/{self.sid}/events?contend=true")
                answer = stream.getresponse()
                if answer.status != 200:
                    error = json.loads(answer.read())
                    if error["status"] not in RETRY:
                        self.lost.append(f"stream: {error}")
                        return
                    connection.follow(error.get("leader"))
                    time.sleep(0.01)
                    continue
                while not self.ended.is_set():
                    line = answer.readline()
                    if not line:
                        break
                    self._event(json.loads(line))
                connection.close()
            except (OSError, http.client.HTTPException, ValueError):
                connection.follow(None)
                time.sleep(0.01)

    def _renew(self):
        connection = Connection(self.endpoints)
        while not self.ended.wait(self.ttl_ms / 5000):
            try:
                connection.call("POST", f"{self.base}/sessions/{self.sid}/renew", {}, ended=self.ended)
            except Refused as error:
                self.lost.append(str(error))
                return

    def stop(self):
        self.ended.set()


class Job:
    """Commits checkpoint after checkpoint, one retained, and knows which were acknowledged when."""

    def __init__(self, manager, pause=0.01):
        self.manager = manager
        self.id = os.urandom(16).hex()
        self.pause = pause
        self.acked = 0  # the newest
        self.revision = 0
        self.answers = 0
        self.last_at = 0.0
        self.gap_from = 0.0  # the last answer before the longest silence since gap_reset
        self.gap = 0.0
        self.problems = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def path(self):
        return f"{self.manager.base}/jobs/{self.id}/checkpoints"

    def start(self):
        self.thread.start()
        return self

    def gap_reset(self):
        self.gap = 0.0

    def _run(self):
        connection = Connection(self.manager.endpoints)
        self.last_at = time.monotonic()
        while not self.ended.is_set():
            number = self.acked + 1
            body = {"id": number, "pointer": f"file:/checkpoints/{self.id}/chk-{number}", "started_ms": number,
                    "completed_ms": number + 1, "size": 1000, "inline": None, "num_retained": 1, "discarded": [],
                    "reserve": 0,
                    "properties": {"type": "CHECKPOINT", "sharing": "FORWARD_BACKWARD", "format": None,
                                   "post_action": None, "forced": False, "unclaimed": False, "discard_on": []}}
            try:
                answer = connection.call("POST", self.path(), body, self.manager.headers())
            except Refused as error:
                self.problems.append(str(error))
                return
            now = time.monotonic()
            if answer["revision"] < self.revision:
                self.problems.append(f"revision {answer['revision']} after {self.revision}")
            self.revision = answer["revision"]
            self.acked = number
            self.answers += 1
            self.gap = max(self.gap, now - self.last_at - self.pause)
            self.last_at = now
            time.sleep(self.pause)

    def stop(self):
        self.ended.set()
        self.thread.join(120)
        if self.thread.is_alive():
            self.problems.append("the last commit had no answer within 120 s")

    def check(self, connection):
        """After the end: the store has what was acknowledged last, and only that."""
        answer = connection.call("GET", self.path())
        listed = [entry["id"] for entry in answer["checkpoints"]]
        if listed != [self.acked]:
            self.problems.append(f"acknowledged {self.acked}, listed {listed}")
