"""HTTP/2 on a real holdfastd with TLS: the protocol as over HTTP/1.1, ends of streams, frames that are wrong, too many or too slow."""
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "security"))
sys.path.insert(0, os.path.dirname(HERE))
import harness  # noqa: E402
import test_authz  # noqa: E402
import test_protocol  # noqa: E402
from harness import BOUND_S, JobManager  # noqa: E402
from lib import curl, golang, http2  # noqa: E402
from lib.http2 import (ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PREFACE,  # noqa: E402
                       PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, fields, frame, headers, reset,
                       settings, window_update)
from lib.kube import Authority  # noqa: E402

FOLDER = Path(tempfile.mkdtemp(prefix="holdfast-http2-"))
STREAMS_MAX = 256
JSON = (b"content-type", b"application/json")

#: What h2spec asks for and does not get, and why.
EXCEPTIONS = {"Sends stream identifier that is numerically smaller than previous":
              "nghttp2 reads over HEADERS on a number that was left out, because it cannot tell them from late trailers"}


def setUpModule():
    unittest.addModuleCleanup(shutil.rmtree, FOLDER, ignore_errors=True)
    authority = Authority(FOLDER / "ca")
    Daemon.authority = authority.certificate
    Daemon.pair = authority.sign("server", "/CN=server", "DNS:localhost,IP:127.0.0.1")


class Daemon(harness.Daemon):
    """One whose clients, those of the harness included, speak HTTP/2."""

    def __init__(self, *store, **settings):
        super().__init__(*store, **{"listen_tls_certificate__file": self.pair[0], "listen_tls_key__file": self.pair[1], **settings})

    def connect(self, timeout):
        return curl.Connection(self.port, self.authority)

    def secured(self, *offer):
        context = ssl.create_default_context(cafile=str(self.authority))
        context.set_alpn_protocols(offer or ["h2"])
        link = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=BOUND_S), server_hostname="localhost")
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def metric(self, name):
        text = self.call("GET", "/metrics")[1].decode()
        return int(next(line for line in text.splitlines() if line.startswith(f"holdfast_{name} ")).split()[1])


class OverHttp2:
    """The tests of another file, with daemons and clients of TLS and HTTP/2."""

    module = None

    @classmethod
    def setUpClass(cls):
        cls.before, cls.module.Daemon = cls.module.Daemon, Daemon
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        cls.module.Daemon = cls.before
        super().tearDownClass()


class Protocol(OverHttp2, test_protocol.Protocol):
    module = test_protocol
    # Bytes of HTTP/1.1, or the CLI at a port without TLS.
    test_sessions_that_are_closed_together_leave_no_leader = None
    test_pipelined_reservations_never_share_an_id = None
    test_64_mebibytes_stream_through_in_little_memory = None
    test_the_cli_shows_it = None
    test_the_cli_leaves_a_replica_that_sleeps_for_the_one_that_leads = None
    test_clusters_are_counted_and_looked_after_whatever_their_names = None


class Matrix(OverHttp2, test_authz.Matrix):
    module = test_authz
    test_only_healthz_answers_nobody = None
    test_the_documents_table_is_this_one = None
    test_writes_and_reads_are_of_a_need_that_fits = None


class Case(unittest.TestCase):
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(**cls.settings).start()
        cls.addClassCleanup(cls.daemon.remove)

    def link(self, daemon=None, start=True):
        link = (daemon or self.daemon).secured()
        self.addCleanup(link.close)
        return http2.Link(link, start)

    def wait(self, what, condition):
        end = time.monotonic() + BOUND_S
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.05)

    def works(self, link, stream):
        """The connection goes on."""
        link.send(headers(stream, fields(path=b"/healthz")))
        self.assertEqual(link.outcome(stream), 200)


class Agreement(Case):
    def test_it_is_offered_first_and_only_by_alpn(self):
        for offer, agreed in ((["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1")):
            with self.daemon.secured(*offer) as link:
                self.assertEqual(link.selected_alpn_protocol(), agreed)
        with self.assertRaises(ssl.SSLError):
            self.daemon.secured("h2c")
        before = self.daemon.metric("requests_http2_total")
        self.assertGreater(self.daemon.metric("requests_http2_total"), before)

    def test_it_can_be_switched_off(self):
        class Old(Daemon):
            tls = ssl.create_default_context(cafile=str(Daemon.authority))
            connect = harness.Daemon.connect
        with Old(rpc_http2="false") as daemon, daemon.secured("h2", "http/1.1") as link:
            self.assertEqual(link.selected_alpn_protocol(), "http/1.1")

    def test_without_tls_it_is_never_spoken(self):
        with harness.Daemon() as daemon:
            text, closed = daemon.raw(PREFACE + settings())
            self.assertTrue(closed)
            self.assertIn(b"HTTP/1.1 400", text)
            upgrade = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n" \
                      b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
            self.assertIn(b"HTTP/1.1 200", daemon.raw(upgrade)[0])

    def test_the_conformance_suite(self):
        source = Path(HERE).parent / "h2spec"
        go, environment = golang.go()
        program, report = FOLDER / "h2spec", FOLDER / "report.xml"
        done = subprocess.run([go, "build", "-o", program, "."], cwd=source, env={**os.environ, **environment}, text=True,
                              capture_output=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = subprocess.run([program, str(self.daemon.port), "/healthz", report], text=True, capture_output=True, timeout=600)
        self.assertTrue(report.exists(), done.stdout + done.stderr)
        cases = ElementTree.parse(report).getroot().findall(".//testcase")
        failed = [each.get("classname") for each in cases if each.find("failure") is not None or each.find("error") is not None]
        self.assertGreater(len(cases), 140)
        self.assertEqual([each for each in failed if each not in EXCEPTIONS], [], done.stdout[-6000:])


class Streams(Case):
    def open(self, link, stream, jm, contend="true"):
        path = f"{jm.base}/sessions/{jm.sid}/events?contend={contend}".encode()
        link.send(headers(stream, fields(path=path)))
        link.until(lambda kind, flags, number, payload: number == stream and b"attached" in payload)

    def ends(self, end):
        """A stream that its client ends is as good as a connection that it closes: the next in line leads at once."""
        jm = JobManager(self.daemon, cluster=self.id().split(".")[-1]).wait_granted()
        link = self.link()
        self.open(link, 1, jm)  # replaces the other, and keeps the leadership
        link.send(headers(3, fields(path=jm.base.encode() + b"/leader/watch")))
        link.until(lambda kind, flags, number, payload: number == 3 and b'"leader"' in payload)
        second = JobManager(self.daemon, cluster=self.id().split(".")[-1])
        end(link)
        second.wait_granted(BOUND_S)  # its time to live is five minutes
        return link

    def test_a_reset_of_the_event_stream_ends_the_leadership(self):
        link = self.ends(lambda link: link.send(reset(1)))
        link.until(lambda kind, flags, number, payload: number == 3 and b'"leader"' in payload)
        self.works(link, 5)

    def test_a_closed_connection_ends_all_its_streams(self):
        self.ends(lambda link: link.link.close())

    def test_one_connection_carries_everything(self):
        daemon, link = self.daemon, self.link()
        jm = JobManager(daemon, cluster="everything").wait_granted()
        connections = daemon.call("GET", "/v1/status")[1]["connections"]
        self.open(link, 1, jm)
        for number in range(3, 101, 2):
            link.send(headers(number, fields(path=jm.base.encode() + b"/leader/watch")))
        jm.call("PUT", "/leader/dispatcher", {"leader_session": jm.leader_session, "address": "akka://x"})
        told = set()
        while len(told) < 49:
            _, (_, _, number, payload) = link.until(lambda kind, flags, number, payload: b'"dispatcher"' in payload)
            told.add(number)
        self.assertLessEqual(daemon.call("GET", "/v1/status")[1]["connections"], connections + 1)

    def test_a_body_waits_for_windows_and_an_answer_too(self):
        jm = JobManager(self.daemon, cluster="windows").wait_granted()
        data = os.urandom(3 << 20)
        link = self.link(start=False)
        link.send(PREFACE + settings(s1=0, s4=1000))
        who = ((b"holdfast-session", jm.sid.encode()), (b"holdfast-fence", str(jm.fence).encode()),
               (b"content-type", b"application/octet-stream"))
        path = f"{jm.base}/graphs/{'1' * 32}".encode()
        link.send(headers(1, fields(b"PUT", path, *who), end=False))
        room, at = {0: 65535, 1: 65535}, 0
        initial = 65535
        while at < len(data):
            size = min(16384, room[0], room[1], len(data) - at)
            if size > 0:
                link.send(frame(DATA, END_STREAM if at + size == len(data) else 0, 1, data[at:at + size]))
                room, at = {each: left - size for each, left in room.items()}, at + size
                continue
            kind, flags, number, payload = link.frame()
            self.assertNotEqual(kind, RST_STREAM, payload)
            if kind == WINDOW_UPDATE:
                room[number] += struct.unpack(">I", payload)[0]
            elif kind == SETTINGS and not flags:
                for key, value in struct.iter_unpack(">HI", payload):
                    if key == 4:
                        room[1], initial = room[1] + value - initial, value
                link.send(frame(SETTINGS, ACK))
        self.assertEqual(link.outcome(1), 200)
        link.send(headers(3, fields(path=path)))
        back = b""
        while len(back) < len(data):
            one = link.frame()
            self.assertIsNotNone(one, (len(back), kind, payload))
            kind, flags, number, payload = one
            if kind == DATA and number == 3:
                self.assertLessEqual(len(payload), 1000)
                back += payload
                link.send(window_update(3, len(payload)) + window_update(0, len(payload)))
        self.assertEqual(back, data)

    def test_who_expects_to_be_told_to_go_on_is_told(self):
        link = self.link()
        body = b'{"session":"' + os.urandom(16).hex().encode() + b'","holder":"x","ttl_ms":10000}'
        link.send(headers(1, fields(b"POST", b"/v1/clusters/default/expects/sessions", JSON, (b"expect", b"100-continue")), end=False))
        _, (kind, flags, _, payload) = link.until(lambda kind, flags, number, payload: kind == HEADERS)
        self.assertEqual((http2.status_of(payload), flags & END_STREAM), (100, 0))
        link.send(frame(DATA, END_STREAM, 1, body))
        self.assertEqual(link.outcome(1), 200)

    def test_an_answer_does_not_wait_for_a_body_that_nobody_wants(self):
        link = self.link()
        link.send(headers(1, fields(b"PUT", b"/nowhere"), end=False))
        self.assertEqual(link.outcome(1), 404)
        for _ in range(4):
            link.send(frame(DATA, 0, 1, bytes(16000)))
        self.works(link, 3)
        link.send(frame(DATA, END_STREAM, 1))
        self.works(link, 5)

    def test_a_daemon_that_stops_says_goodbye(self):
        with Daemon() as daemon:
            link = self.link(daemon)
            link.send(headers(1, fields(path=b"/v1/clusters/default/c1/leader/watch")))
            link.until(lambda kind, flags, number, payload: b'"leader"' in payload)
            self.assertEqual(daemon.stop(), 0)
            seen, _ = link.until(lambda *one: False)
            self.assertIn(GOAWAY, [kind for kind, _, _, _ in seen])


class Hostile(Case):
    """Each costs its sender the stream or the connection, and nobody else anything."""

    settings = {"timeout_header": "2s", "timeout_body": "2s", "timeout_idle": "3s", "timeout_stall": "2s"}

    def refused(self, expected, what, *more, end=True):
        link = self.link()
        link.send(headers(1, what, end=end) + b"".join(more))
        outcome = link.outcome(1)
        self.assertIn(outcome, expected if isinstance(expected, list) else [expected], what)
        if isinstance(outcome, int) or outcome[0] == "reset":
            self.works(link, 3)

    def test_no_head_is_understood_in_two_ways(self):
        wrong = ("reset", PROTOCOL_ERROR)
        plain = fields()
        for what in ([each for each in plain if each[0] != left] for left in (b":method", b":path", b":scheme")):
            self.refused(wrong, what)
        for one in plain:
            self.refused(wrong, [one, *plain])  # twice
        self.refused(wrong, [(b"a", b"b"), *plain])  # after another field
        self.refused(wrong, [*plain, (b":status", b"200")])
        for more in ((b"Upper", b"x"), (b"a b", b"x"), (b"a:", b"x"), (b"", b"x"), (b"a\0", b"x"), (b"a", b"x\0y"), (b"a", b"x\r\nb: c"),
                     (b"a", b"x\ny"), (b"a", b" x"), (b"a", b"x\t"), (b"connection", b"close"), (b"connection", b"keep-alive"),
                     (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"), (b"keep-alive", b"1"), (b"proxy-connection", b"x"),
                     (b"te", b"gzip"), (b"content-length", b"-1"), (b"content-length", b"1x"), (b"content-length", b""),
                     (b"content-length", b"99999999999999999999")):
            self.refused(wrong, fields(b"GET", b"/healthz", more))
        self.refused(wrong, fields(b"GET", b"/healthz", (b"content-length", b"1"), (b"content-length", b"1")))
        self.refused(wrong, fields(b"POST", b"/healthz", (b"content-length", b"3")), frame(DATA, END_STREAM, 1, b"four"), end=False)
        self.refused([wrong, 401, 404, 405], fields(b"POST", b"/admission", JSON, (b"content-length", b"5")),
                     frame(DATA, END_STREAM, 1, b"four"), end=False)
        for path in (b"", b"*", b"healthz", b"http://x/healthz", b"//x#y", b"/a b", b"/\xc3\xa4", b"/a\x7f"):
            self.refused([wrong, 400], fields(path=path))
        self.refused([wrong, 400], [(b":method", b"CONNECT"), (b":authority", b"x:1")])
        for method in (b"get", b"G T", b"", b"BREW", b"PRI"):
            self.refused([wrong, 400], fields(method))
        self.refused([wrong, 400], fields(scheme=b"http"))
        self.refused([wrong, 400], fields()[:3])  # neither :authority nor host
        self.refused(400, fields(b"GET", b"/healthz", (b"host", b"y")))  # which is not the :authority
        self.refused([wrong, 400], [*fields()[:3], (b"host", b"x"), (b"host", b"x")])
        self.refused(200, [*fields(path=b"/healthz")[:3], (b"host", b"x")])
        self.refused(200, fields(b"GET", b"/healthz", (b"host", b"X"), (b"te", b"trailers")))

    def test_heads_are_bounded(self):
        link = self.link()
        self.refused(414, fields(path=b"/" + b"a" * 4100))
        big = http2.block(fields(b"GET", b"/", *((b"name-%d" % n, b"v" * 1000) for n in range(17))))
        link.send(headers(1, big[:16000], more=True) + frame(CONTINUATION, END_HEADERS, 1, big[16000:]))
        self.assertEqual(link.outcome(1), 431)
        self.refused(431, fields(b"GET", b"/", *((b"n%d" % n, b"") for n in range(101))))
        self.works(link, 3)
        # A table's entry of 4000 bytes, named again and again: 8 KiB of frames for 32 MiB of head.
        entry = b"\x40" + http2._number(1, 7, 0) + b"n" + http2._number(4000, 7, 0) + b"v" * 4000
        link.send(headers(5, http2.block(fields()) + entry + b"\xbe" * 8000))
        self.assertEqual(link.outcome(5), ("goaway", ENHANCE_YOUR_CALM))

    def test_trailers_are_bounded_and_read_over(self):
        link, trailer = self.link(), [(b"t%d" % n, b"v" * 1000) for n in range(15)]
        link.send(headers(1, fields(b"POST", b"/admission", JSON), end=False) + frame(DATA, 0, 1, b"{}") + headers(1, trailer))
        self.assertIn(link.outcome(1), (200, 400))
        big = http2.block([(b"t%d" % n, b"v" * 1000) for n in range(20)])
        link.send(headers(3, fields(b"POST", b"/admission", JSON), end=False) + headers(3, big[:16000], more=True) +
                  frame(CONTINUATION, END_HEADERS, 3, big[16000:]))
        self.assertEqual(link.outcome(3), 431)

    def flood(self, piece, expected=(ENHANCE_YOUR_CALM,), before=b"", times=400000):
        """Ends with a GOAWAY, or closed; in memory and time that nobody notices."""
        link = self.link()
        link.send(before)
        link.link.settimeout(0.0)
        data, sent, received = piece(0) * 50 if not isinstance(piece, bytes) else piece * 50, 0, b""
        end = time.monotonic() + BOUND_S
        closed = False
        while sent < times and not closed and time.monotonic() < end:
            if not isinstance(piece, bytes):
                data = b"".join(piece(each) for each in range(sent, sent + 50))
            while data and not closed and time.monotonic() < end:
                try:
                    data = data[link.link.send(data):]
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    time.sleep(0.001)
                except OSError:
                    closed = True
                try:
                    got = link.link.recv(65536)
                    received += got
                    closed |= not got
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
                except OSError:
                    closed = True
            sent += 50
            data = piece * 50 if isinstance(piece, bytes) else b""
        self.assertTrue(closed, "the flood goes on")
        link.received += received
        link.link.settimeout(BOUND_S)
        codes = [struct.unpack(">I", payload[4:8])[0] for kind, _, _, payload in link.until(lambda *one: False)[0] if kind == GOAWAY]
        for code in codes:  # the reset of a connection that is closed may cost it its GOAWAY
            self.assertIn(code, (0, *expected))
        self.works(self.link(), 1)

    def test_floods_end_with_their_connection(self):
        watch = headers(1, fields(path=b"/v1/clusters/default/c1/leader/watch"))
        post = headers(1, fields(b"POST", b"/v1/clusters/default/c1/sessions", JSON), end=False)
        for name, before, piece in (
                ("PING", b"", frame(PING, payload=bytes(8))),
                ("SETTINGS", b"", settings(s4=70000)),
                ("PRIORITY", b"", frame(PRIORITY, 0, 7, struct.pack(">IB", 0, 1))),
                ("empty DATA", post, frame(DATA, 0, 1)),
                ("small windows", watch, window_update(1, 1)),
                ("unknown frames", watch, frame(77, 0, 1, b"x")),
                ("empty CONTINUATION", headers(1, b"", more=True), frame(CONTINUATION, 0, 1)),
                ("rapid reset", b"", lambda n: headers(2 * n + 1, fields(path=b"/healthz")) + reset(2 * n + 1)),
                ("malformed and reset by us", b"", lambda n: headers(2 * n + 1, [(b"a", b"b")]))):
            with self.subTest(name):
                self.flood(piece, (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, 2), before)
        self.wait("all are gone", lambda: self.daemon.call("GET", "/v1/status")[1]["connections"] <= 1)

    def test_streams_of_a_connection_are_bounded(self):
        link = self.link()
        watch = fields(path=b"/v1/clusters/default/c1/leader/watch")
        link.send(b"".join(headers(2 * n + 1, watch) for n in range(STREAMS_MAX)))
        for n in range(STREAMS_MAX):
            link.until(lambda kind, flags, number, payload: b'"leader"' in payload)
        link.send(headers(2 * STREAMS_MAX + 1, watch))
        self.assertEqual(link.outcome(2 * STREAMS_MAX + 1), ("reset", REFUSED_STREAM))
        link.send(reset(1) + headers(2 * STREAMS_MAX + 3, fields(path=b"/healthz")))
        self.assertEqual(link.outcome(2 * STREAMS_MAX + 3), 200)

    def test_streams_of_an_address_are_bounded(self):
        with Daemon(limit_connections__per__address="20", **self.settings) as daemon:
            first, second = self.link(daemon), self.link(daemon)
            watch = fields(path=b"/v1/clusters/default/c1/leader/watch")
            for link in (first, second):
                link.send(b"".join(headers(2 * n + 1, watch) for n in range(10)))
                for n in range(10):
                    link.until(lambda kind, flags, number, payload: b'"leader"' in payload)
            second.send(headers(21, watch))
            self.assertEqual(second.outcome(21), ("reset", REFUSED_STREAM))
            first.link.close()
            self.wait("those of a closed connection count no more", lambda: daemon.call("GET", "/healthz")[0] == 200)

    def test_nobody_is_waited_for_for_ever(self):
        """Bytes that do not come: of the preface, of a head, of a body; and a connection that nothing happens on."""
        for start, expected in ((b"", "closed"), (PREFACE[:10], "closed"), (PREFACE + settings(), "goaway"),
                                (PREFACE + settings(s1=0) + headers(1, b"\x82", more=True), "goaway"),
                                (PREFACE + settings(s1=0) + headers(1, fields(b"POST", b"/admission", JSON), end=False), 408)):
            link = self.link(start=False)
            link.send(start)
            outcome = link.outcome(1)
            self.assertIn(outcome if isinstance(outcome, int) else outcome[0] if outcome != "closed" else "closed",
                          (expected, "goaway") if expected == "closed" else (expected,), start)
        link = self.link()
        self.works(link, 1)
        self.assertEqual(link.outcome(3), ("goaway", 0))
        self.assertIsNone(link.frame())

    def test_a_reader_that_opens_no_window_loses_its_stream_alone(self):
        jm = JobManager(self.daemon, cluster="reader").wait_granted()
        code, answer, _ = jm.call("PUT", f"/graphs/{'1' * 32}", os.urandom(1 << 20), {"Content-Type": "application/octet-stream"})
        self.assertEqual(code, 200, answer)
        link = self.link(start=False)
        link.send(PREFACE + settings(s1=0, s4=10))
        link.send(headers(1, fields(path=f"{jm.base}/graphs/{'1' * 32}".encode())))
        self.assertEqual(link.outcome(1), ("reset", CANCEL))
        link.send(settings(s4=65535))
        self.works(link, 3)

    def test_a_reader_that_reads_nothing_loses_its_connection(self):
        jm = JobManager(self.daemon, cluster="deaf").wait_granted()
        jm.call("PUT", f"/graphs/{'1' * 32}", os.urandom(32 << 20), {"Content-Type": "application/octet-stream"})
        link = self.link(start=False)
        most = (1 << 31) - 1
        link.send(PREFACE + settings(s1=0, s4=most) + window_update(0, most - 65535))
        link.send(headers(1, fields(path=f"{jm.base}/graphs/{'1' * 32}".encode())))
        port = link.link.getsockname()[1]

        def there():
            done = subprocess.run(["ss", "-tnH", "state", "established", f"( dport = :{port} )"], capture_output=True, text=True)
            return str(port) in done.stdout
        self.assertTrue(there())
        self.wait("it is closed", lambda: not there())

    def test_garbage_ends_the_connection(self):
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(3000), PREFACE + os.urandom(3000),
                        PREFACE + settings() + frame(DATA, 0, 0, b"x"), PREFACE + settings() + frame(HEADERS, 0, 2, b""),
                        PREFACE + settings() + frame(SETTINGS, 0, 0, b"x"), PREFACE + frame(PING, payload=bytes(8)),
                        PREFACE + settings() + frame(HEADERS, 4, 1, b"\xff" * 40), PREFACE + settings() + frame(PING, size=1 << 23)):
            link = self.link(start=False)
            link.send(garbage)
            seen, _ = link.until(lambda *one: False)
            self.assertNotIn(HEADERS, [kind for kind, _, _, _ in seen])
        self.works(self.link(), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
