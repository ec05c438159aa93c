"""What a daemon does with bad settings, bad stores, full disks and hostile connections. Each error must say what to do."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BOUND_S, DAEMON, Daemon, JobManager  # noqa: E402

JOB = "0123456789abcdef" * 2
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def run(*arguments):
    done = subprocess.run([DAEMON, *arguments], capture_output=True, text=True, timeout=BOUND_S)
    return done.returncode, done.stdout + done.stderr


class Settings(unittest.TestCase):
    def refused(self, expected, *arguments):
        code, text = run(*arguments)
        self.assertEqual(code, 2, text)
        self.assertIn(expected, text)

    def test_an_unknown_key_names_the_nearest(self):
        self.refused("did you mean 'session.close-grace'", "-D", "session.close-grce=1s")

    def test_impossible_values_say_what_is_possible(self):
        self.refused("'0' is not a number from 1 to 64", "-D", "store.workers=0")
        self.refused("'soon' is not a time from 50ms to 1min", "-D", "session.heartbeat=soon")
        self.refused("'1x' is not a size", "-D", "limit.body=1x")
        self.refused("session.ttl-min is greater", "-D", "session.ttl-min=20s", "-D", "session.ttl-max=10s")
        self.refused("names no store that this build knows", "-D", "store=ftp://x")
        self.refused("is not known to this build", "-D", "election=raft")
        self.refused("none of debug, info, warn, error", "-D", "log.level=loud")
        self.refused("is not key=value", "-D", "listen")
        self.refused("unknown option", "--nonsense")

    def test_files_are_checked_line_by_line(self):
        cases = {"listen: 127.0.0.1:1\nstore-workers: 4\n": ":2: unknown setting",
                 "listen: a\nlisten: b\n": ":2: the setting is given twice",
                 "listen:\n  port: 1\n": "not nested", "listen: [1]\n": "no setting takes a list",
                 "a: b: c\n": ":1:", "just text\n": "must be a mapping"}
        for content, expected in cases.items():
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(content)
                file.flush()
                self.refused(expected, "--config", file.name)
        self.refused("No such file", "--config", "/nonexistent.yaml")

    def test_settings_in_force_can_be_shown(self):
        code, text = run("-D", "session.close-grace=1s", "--print-config")
        self.assertEqual(code, 0)
        self.assertIn("session.close-grace: 1s", text)


class Stores(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="holdfast-bad-")

    def tearDown(self):
        subprocess.run(["chmod", "-R", "u+rwx", self.folder])
        shutil.rmtree(self.folder, ignore_errors=True)

    def refused(self, expected, store, code=None):
        daemon = Daemon(store=store)
        exit_code, text = daemon.start(expect_failure=True)
        shutil.rmtree(daemon.folder, ignore_errors=True)
        self.assertNotEqual(exit_code, 0)
        self.assertIn(expected, text)
        if code:
            self.assertEqual(exit_code, code, text)

    def test_a_folder_with_other_things_in_it_is_left_alone(self):
        precious = Path(self.folder, "precious")
        precious.write_text("data")
        self.refused("is not empty", self.folder, 10)
        self.assertEqual(precious.read_text(), "data")

    def test_a_file_is_no_folder(self):
        path = os.path.join(self.folder, "file")
        open(path, "w").close()
        self.refused("is no folder", path)

    def test_a_store_of_another_format_or_damaged_or_with_a_hole_is_named(self):
        with Daemon(store=os.path.join(self.folder, "s")) as daemon:
            JobManager(daemon).wait_granted()
            daemon.stop()
        mark = Path(self.folder, "s", "meta", "store")
        data = bytearray(mark.read_bytes())
        data[11] = 9
        mark.chmod(0o600)
        mark.write_bytes(data)
        self.refused("format 9, this program reads format 1", os.path.join(self.folder, "s"), 10)
        data[11] = 1
        mark.write_bytes(data)
        record = Path(self.folder, "s", "log", "0" * 15 + "1", "0" * 15 + "2")
        good = record.read_bytes()
        record.chmod(0o600)
        record.write_bytes(good[:-1])
        self.refused("log/0000000000000001/0000000000000002: byte", os.path.join(self.folder, "s"), 10)
        record.write_bytes(b"")
        self.refused("see docs/operations.md", os.path.join(self.folder, "s"), 10)
        record.unlink()
        left = sorted(record.parent.parent.glob("*/*"))
        self.refused("log/0000000000000001/0000000000000002: missing, and log/", os.path.join(self.folder, "s"), 10)
        self.assertEqual(sorted(record.parent.parent.glob("*/*")), left, "the hole was filled")
        record.write_bytes(good)
        Daemon(store=os.path.join(self.folder, "s")).start().remove()

    def test_a_second_daemon_on_the_same_folder_names_the_first(self):
        with Daemon() as daemon:
            self.refused(f"process {daemon.process.pid}", daemon.store)

    def test_a_taken_port_is_named(self):
        with Daemon() as daemon:
            other = Daemon(listen=f"127.0.0.1:{daemon.port}")
            code, text = other.start(expect_failure=True)
            shutil.rmtree(other.folder, ignore_errors=True)
            self.assertNotEqual(code, 0)
            self.assertIn("another program has this port", text)

    @unittest.skipIf(os.geteuid() != 0, "needs root to mount")
    def test_a_full_disk_refuses_writes_loses_nothing_and_recovers(self):
        disk = os.path.join(self.folder, "disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "holdfast-test", disk], check=True)
        try:
            with Daemon(store=os.path.join(disk, "s")) as daemon:
                jm = JobManager(daemon).wait_granted()
                other = JobManager(daemon)
                self.assertEqual(jm.commit(JOB, 1)[0], 200)
                filler = os.path.join(disk, "filler")
                with open(filler, "wb", buffering=0) as f:
                    try:
                        while True:
                            f.write(b"x" * 4096)
                    except OSError:
                        pass
                code, answer, _ = jm.commit(JOB, 2, pointer="file:/" + "p" * 8000)
                self.assertEqual((code, answer["status"]), (507, "FULL"), answer)
                state = daemon.call("GET", f"{jm.base}/jobs/{JOB}/checkpoints")[1]
                self.assertEqual([c["id"] for c in state["checkpoints"]], [1])
                self.assertEqual(daemon.call("POST", f"{jm.base}/sessions/{jm.sid}/renew", {})[0], 200)
                # A session whose end cannot be written has not ended: a restart would bring it back.
                self.assertIn(daemon.call("DELETE", f"{other.base}/sessions/{other.sid}")[0], (504, 507))
                self.assertEqual(daemon.call("POST", f"{other.base}/sessions/{other.sid}/renew", {})[0], 503)
                os.unlink(filler)
                self.assertEqual(jm.commit(JOB, 3)[0], 200)
                daemon.kill()
                daemon.start()
                state = daemon.call("GET", f"{jm.base}/jobs/{JOB}/checkpoints")[1]
                self.assertEqual([c["id"] for c in state["checkpoints"]], [3])
        finally:
            subprocess.run(["umount", disk], check=True)

    @unittest.skipIf(os.geteuid() != 0, "needs root to mount")
    def test_the_last_room_of_a_full_disk_is_for_what_makes_room(self):
        disk = os.path.join(self.folder, "disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "holdfast-test", disk], check=True)
        ballast = os.path.join(disk, "s", "tmp", "ballast")
        filler = os.path.join(disk, "filler")
        try:
            with Daemon(store=os.path.join(disk, "s"), store_ballast="512KiB", session_close__grace="100ms") as daemon:
                jm = JobManager(daemon).wait_granted()
                heir, gone = JobManager(daemon), JobManager(daemon)
                for id in (1, 2, 3):
                    self.assertEqual(jm.commit(JOB, id)[0], 200)
                graph = f"/graphs/{JOB}"
                self.assertEqual(jm.call("PUT", graph, b"graph", {"Content-Type": "application/octet-stream"})[0], 200)
                with open(filler, "wb", buffering=0) as f:
                    try:
                        while True:
                            f.write(b"x" * 4096)
                    except OSError:
                        pass
                for id in range(4, 40):  # none of these has the ballast's room
                    self.assertEqual(jm.commit(JOB, id)[0], 507)
                    self.assertEqual(jm.call("PUT", f"/results/{JOB}", {"result": {"state": id}})[0], 507)
                self.assertEqual(os.stat(ballast).st_size, 512 * 1024)
                # What ends and deletes does, though each of these is a record too.
                self.assertEqual(daemon.call("DELETE", f"{gone.base}/sessions/{gone.sid}")[:2], (200, {"ended": True}))
                self.assertFalse(os.path.exists(ballast))
                self.assertEqual(jm.call("POST", f"/jobs/{JOB}/discards/done", {"ids": [1, 2]})[1]["struck"], 2)
                self.assertEqual(jm.call("DELETE", graph)[1]["removed"], True)
                # The room is there now, and still not for everybody.
                self.assertEqual(jm.commit(JOB, 4)[0], 507)
                # A leader that dies on a full disk is replaced, and a daemon that dies takes over again.
                jm.stream.close()
                heir.wait_granted()
                daemon.kill()
                daemon.start()
                state = daemon.call("GET", f"{heir.base}/jobs/{JOB}/checkpoints")[1]
                self.assertEqual(([c["id"] for c in state["checkpoints"]], state["discards"]), ([3], []))
                self.assertEqual(daemon.call("GET", f"{heir.base}/leader")[1]["holder"], "test:" + heir.sid[:4])
                self.assertEqual(heir.commit(JOB, 4)[0], 507)
                self.assertEqual(heir.call("DELETE", f"/jobs/{JOB}/checkpoints/3")[1]["removed"], True)
                os.unlink(filler)
                self.assertEqual(heir.commit(JOB, 4)[0], 200)
                self.assertEqual(os.stat(ballast).st_size, 512 * 1024)
        finally:
            subprocess.run(["umount", disk], check=True)


class Connections(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon().start()

    @classmethod
    def tearDownClass(cls):
        assert cls.daemon.stop() == 0
        cls.daemon.remove()

    def test_malformed_and_smuggled_requests_get_4xx_and_a_closed_connection(self):
        host = b"Host: x\r\n"
        cases = {
            "TE and CL": b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
            "two lengths": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "negative length": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: -2\r\n\r\n",
            "plus length": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: +2\r\n\r\nab",
            "hex length": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 0x2\r\n\r\nab",
            "huge length": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 18446744073709551618\r\n\r\nab",
            "folded header": b"GET / HTTP/1.1\r\n" + host + b"A: b\r\n c\r\n\r\n",
            "bare LF": b"GET / HTTP/1.1\nHost: x\n\n",
            "NUL in a value": b"GET / HTTP/1.1\r\n" + host + b"A: b\0c\r\n\r\n",
            "space before the colon": b"GET / HTTP/1.1\r\n" + host + b"A : b\r\n\r\n",
            "space in a name": b"GET / HTTP/1.1\r\n" + host + b"A b: c\r\n\r\n",
            "no host": b"GET / HTTP/1.1\r\n\r\n",
            "two hosts": b"GET / HTTP/1.1\r\n" + host + host + b"\r\n",
            "version 2": b"GET / HTTP/2.0\r\n" + host + b"\r\n",
            "no version": b"GET /\r\n" + host + b"\r\n",
            "absolute form": b"GET http://x/ HTTP/1.1\r\n" + host + b"\r\n",
            "fragment": b"GET /a#b HTTP/1.1\r\n" + host + b"\r\n",
            "CONNECT": b"CONNECT x:1 HTTP/1.1\r\n" + host + b"\r\n",
            "gzip, chunked": b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "chunked twice": b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "xchunked": b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "TE in 1.0": b"POST / HTTP/1.0\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "chunk size 0x2": b"PUT /v1/status HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
            "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"A" * 100,
            "lower-case method": b"get / HTTP/1.1\r\n" + host + b"\r\n",
        }
        for name, data in cases.items():
            answer, closed = self.daemon.raw(data)
            first = answer.split(b"\r\n")[0]
            self.assertTrue(first.startswith(b"HTTP/1.1 4"), f"{name}: {first!r}")
            self.assertEqual(answer.count(b"HTTP/1.1 4"), 1, f"{name}: answered more than once: {answer!r}")
            self.assertTrue(closed, f"{name}: the connection stays open")

    def test_too_much_is_refused_with_the_right_code(self):
        host = b"Host: x\r\n"
        cases = [(b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n" + host + b"\r\n", b" 414 "),
                 (b"GET / HTTP/1.1\r\n" + host + b"A: " + b"b" * 1000000 + b"\r\n\r\n", b" 431 "),
                 (b"GET / HTTP/1.1\r\n" + host + b"A: b\r\n" * 10000 + b"\r\n", b" 431 "),
                 (b"POST /v1/clusters/a/b/sessions HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
                  b"Content-Length: 2000000\r\n\r\n", b" 413 ")]
        for data, code in cases:
            answer, closed = self.daemon.raw(data)
            self.assertIn(code, answer.split(b"\r\n")[0])
            self.assertTrue(closed)

    def test_pipelined_requests_are_answered_in_order(self):
        paths = [b"/healthz", b"/v1/nothing", b"/v1/status"] * 66
        data = b"".join(b"GET " + p + b" HTTP/1.1\r\nHost: x\r\n\r\n" for p in paths)
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer, closed = self.daemon.raw(data + last)
        self.assertTrue(closed)
        codes = re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)
        self.assertEqual(codes, [b"200", b"404", b"200"] * 66 + [b"200"])

    def test_a_request_byte_by_byte_is_a_request(self):
        with socket.create_connection(("127.0.0.1", self.daemon.port)) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in GET:
                s.send(bytes([byte]))
            s.settimeout(BOUND_S)
            self.assertTrue(s.recv(4096).startswith(b"HTTP/1.1 200"))

    def test_slow_requests_are_cut_off_and_stop_nobody(self):
        with Daemon(timeout_header="3s") as daemon:
            slow = []
            for _ in range(50):
                slow.append(daemon.link())
                slow[-1].send(b"GET /healthz HTTP/1.1\r\nHost")
            self.assertEqual(daemon.call("GET", "/healthz")[0], 200)
            for s in slow:
                received = b""
                try:
                    while piece := s.recv(4096):
                        received += piece
                except ConnectionResetError:
                    pass
                self.assertIn(b" 408 ", received.split(b"\r\n")[0])
                s.close()

    def test_a_half_closed_request_is_answered_and_a_half_one_is_not(self):
        answer, closed = self.daemon.raw(GET, half_close=True)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200") and closed)
        answer, closed = self.daemon.raw(GET[:20], half_close=True)
        self.assertTrue(closed)

    def test_idle_and_vanishing_clients_leave_nothing_behind(self):
        for _ in range(200):
            with socket.create_connection(("127.0.0.1", self.daemon.port)) as s:
                s.send(GET[: os.urandom(1)[0] % len(GET)])
        deadline = time.monotonic() + BOUND_S
        while time.monotonic() < deadline:
            if self.daemon.call("GET", "/v1/status")[1]["connections"] <= 2:
                return
            time.sleep(0.05)
        self.fail("connections are left: " + str(self.daemon.call("GET", "/v1/status")[1]["connections"]))


if __name__ == "__main__":
    unittest.main()
