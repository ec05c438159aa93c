"""What one client may take, and that others do not feel it: floods, slow requests and hoarders on loopback.

127.0.0.1 floods, 127.0.0.2 is somebody else: the daemon tells clients apart by their address.
"""
import http.client
import json
import os
import select
import socket
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "rpc"))
from harness import Daemon, JobManager  # noqa: E402

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
OTHER = ("127.0.0.2", 0)


class Elsewhere(Daemon):
    """The daemon as its clients of another address see it."""

    def __init__(self, daemon):
        super().__init__()
        self.remove()
        self.port = daemon.port

    def connect(self, timeout):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout, source_address=OTHER)


class Limits(unittest.TestCase):
    def daemon(self, **settings):
        daemon = Daemon(**settings)
        self.addCleanup(daemon.remove)
        return daemon.start()

    def link(self, daemon, source=None):
        link = socket.create_connection(("127.0.0.1", daemon.port), timeout=60, source_address=source)
        self.addCleanup(link.close)
        return link

    @staticmethod
    def answered(link):
        try:
            link.sendall(HEALTH)
            return link.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def wait(self, condition):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_an_address_gets_so_many_connections_and_leaves_the_others_to_others(self):
        daemon = self.daemon(limit_connections="200", limit_connections__per__address="20")
        self.wait(lambda: Elsewhere(daemon).call("GET", "/v1/status")[1]["connections"] == 1)  # those of the start are gone
        links = [self.link(daemon) for _ in range(40)]
        served = [link for link in links if self.answered(link)]
        self.assertEqual(len(served), 20)
        others = [self.link(daemon, OTHER) for _ in range(20)]
        self.assertTrue(all(self.answered(link) for link in others))
        served[0].close()
        self.wait(lambda: self.answered(self.link(daemon)))  # its place is free again
        for link in links + others:
            link.close()

        def refused():
            try:
                text = Elsewhere(daemon).call("GET", "/metrics")[1].decode()
            except (OSError, http.client.HTTPException):  # its places are still taken
                return 0
            return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("holdfast_connections_refused"))
        self.wait(lambda: refused() >= 20)

    def test_a_flood_waits_for_its_turn_and_nobody_waits_with_it(self):
        rate, count = 1000, 5000
        daemon = self.daemon(limit_requests__per__second=str(rate))
        link = self.link(daemon)
        received, begin = [0], time.monotonic()

        def read():
            rest = b""
            while received[0] < count:
                piece = link.recv(65536)
                if not piece:
                    return
                rest += piece
                received[0] += rest.count(b"HTTP/1.1 200 OK")
                rest = rest[-14:] if not rest.endswith(b"HTTP/1.1 200 OK") else b""
        reader = threading.Thread(target=read)
        reader.start()
        sender = threading.Thread(target=lambda: link.sendall(HEALTH * count))
        sender.start()
        other, during = Elsewhere(daemon), 0
        while received[0] < count and time.monotonic() < begin + 120:
            self.assertEqual(other.call("GET", "/healthz")[0], 200)
            during += received[0] < count
        sender.join(60)
        reader.join(60)
        took = time.monotonic() - begin
        self.assertEqual(received[0], count)  # late, and none refused
        self.assertGreaterEqual(took, (count - rate) / rate * 0.95)
        self.assertGreater(during, 10)
        text = other.call("GET", "/metrics")[1].decode()
        self.assertNotIn("holdfast_requests_throttled_total 0\n", text)

    def test_bodies_that_are_hoarded_are_bounded_in_all(self):
        daemon = self.daemon(limit_bodies="1MiB", timeout_body="60s")
        head = (b"POST /v1/clusters/default/c1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 700000\r\n\r\n")
        hoarders = [self.link(daemon) for _ in range(4)]
        for link in hoarders:
            try:
                link.sendall(head + b" " * 600000)
            except OSError:  # refused in the middle of it
                pass
        refused = {}
        while len(refused) < 3:  # whichever they are: there is room for one
            ready = select.select([link for link in hoarders if link not in refused], [], [], 60)[0]
            self.assertTrue(ready)
            for link in ready:
                refused[link] = link.recv(4096)
        for answer in refused.values():
            self.assertTrue(answer.startswith(b"HTTP/1.1 429") and b'"LIMIT"' in answer, answer)
        for link in hoarders:
            link.close()
        end = time.monotonic() + 60
        body = json.dumps({"session": "a" * 32, "holder": "h", "ttl_ms": 5000}) + " " * 600000
        while daemon.call("POST", "/v1/clusters/default/c1/sessions", body, {"Content-Type": "application/json"})[0] != 200:
            self.assertLess(time.monotonic(), end)

    def test_leaderships_outlive_a_flood(self):
        daemon = self.daemon(limit_requests__per__second="2000", limit_connections__per__address="300", timeout_header="2s")
        manager = JobManager(Elsewhere(daemon), ttl_ms=60000).wait_granted(60)
        ended = threading.Event()

        def flood(kind):
            while not ended.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", daemon.port), timeout=5) as link:
                        if kind == 0:  # answers that nobody reads
                            while not ended.is_set():
                                link.sendall(HEALTH * 1000)
                        elif kind == 1:  # a header that never ends
                            while not ended.wait(0.05):
                                link.sendall(b"G")
                        elif kind == 2:  # what is no HTTP
                            link.sendall(os.urandom(4096))
                            link.recv(4096)
                        else:  # comes and goes
                            link.sendall(HEALTH[:7])
                except OSError:
                    pass
        threads = [threading.Thread(target=flood, args=(number % 4,)) for number in range(24)]
        for thread in threads:
            thread.start()
        try:
            end, number = time.monotonic() + 6, 0
            while time.monotonic() < end or number <= 10:  # however slow this machine is
                number += 1
                self.assertEqual(manager.commit("0123456789abcdef" * 2, number)[0], 200)
                self.assertEqual(manager.call("POST", f"/sessions/{manager.sid}/renew", {})[0], 200)
        finally:
            ended.set()
            for thread in threads:
                thread.join(60)
        self.assertEqual(Elsewhere(daemon).call("GET", "/v1/leaders")[1]["leaders"][0]["fence"], manager.fence)


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
