"""A proxy for HTTP that does harm: between holdfastd and the servers of its store.

It reads whole messages, so that it can say exactly what was lost: the request, or the answer after the server did what it
was asked to. What harm it does to which request is drawn by a Plan; several proxies (a NameNode and its DataNodes) share one.
"""
import collections
import random
import re
import socket
import struct
import threading
import time

MESSAGE_MAX = 64 << 20
TIMEOUT_S = 30

# What can happen to a request. Beside those, what a dialect answers in the server's name.
HARM = {
    "request lost": 3,  # nothing of it arrives; the connection is closed
    "request cut": 2,  # the head and half of the body arrive
    "request late": 3,  # the connection is closed at once, the request arrives later, perhaps after its repetition
    "request twice": 3,  # it arrives again on another connection; the second answer is given
    "answer lost": 4,  # done, and the connection is closed
    "answer cut": 3,  # done, and half of the answer arrives
    "answer replaced": 2,  # done, and the answer is a failure that says nothing
    "delayed": 3,
    "slow": 2,  # the answer comes in small pieces
    "silent": 1,  # done, and no answer ever
    "reset": 2,  # a TCP reset instead of an answer; it was done or not
}


class Message:
    """A request or an answer: its first line, its header as it came, and its body."""

    def __init__(self, first, fields, body):
        self.first = first
        self.fields = fields
        self.body = body

    @property
    def method(self):
        return self.first.split(b" ", 1)[0].decode()

    @property
    def target(self):
        return self.first.split(b" ")[1].decode()

    @property
    def code(self):
        return int(self.first.split(b" ")[1])

    def field(self, name):
        for key, value in self.fields:
            if key.lower() == name:
                return value
        return b""

    def closes(self):
        return self.field(b"connection").lower() == b"close" or b"HTTP/1.0" in self.first

    def head(self):
        return self.first + b"\r\n" + b"".join(key + b": " + value + b"\r\n" for key, value in self.fields) + b"\r\n"

    def drop(self, *names):
        self.fields = [(key, value) for key, value in self.fields if key.lower() not in names]


def read_head(stream):
    """(first line, fields), or None at the end of the connection."""
    first = stream.readline(65536)
    if not first.endswith(b"\n"):
        return None
    fields = []
    while True:
        line = stream.readline(65536)
        if not line.endswith(b"\n"):
            return None
        if line in (b"\r\n", b"\n"):
            return first.rstrip(b"\r\n"), fields
        key, _, value = line.rstrip(b"\r\n").partition(b":")
        fields.append((key, value.strip()))


def read_exactly(stream, size):
    data = stream.read(min(size, MESSAGE_MAX))
    if len(data) != size:
        raise OSError("the connection ended within a message")
    return data


def read_body(stream, message, until_end):
    """The body, decoded; a chunked message gets a length instead."""
    if message.field(b"transfer-encoding").lower() == b"chunked":
        parts = []
        while size := int(stream.readline(1024).split(b";")[0], 16):
            parts.append(read_exactly(stream, size))
            stream.readline(16)
        while stream.readline(65536) not in (b"\r\n", b"\n", b""):
            pass
        message.body = b"".join(parts)
        message.drop(b"transfer-encoding")
        message.fields.append((b"Content-Length", str(len(message.body)).encode()))
    elif length := message.field(b"content-length"):
        message.body = read_exactly(stream, int(length))
    elif until_end:
        message.body = stream.read(MESSAGE_MAX)
        message.fields += [(b"Content-Length", str(len(message.body)).encode()), (b"Connection", b"close")]


def read_request(stream, client):
    head = read_head(stream)
    if head is None:
        return None
    message = Message(*head, b"")
    if message.field(b"expect"):
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        message.drop(b"expect")
    read_body(stream, message, until_end=False)
    return message


def read_answer(stream, method):
    while True:
        head = read_head(stream)
        if head is None:
            raise OSError("the server closed the connection")
        message = Message(*head, b"")
        if message.code >= 200:
            break
    if method != "HEAD" and message.code not in (204, 304):
        read_body(stream, message, until_end=True)
    return message


def answer_bytes(code, reason, content_type, body):
    return (f"HTTP/1.1 {code} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n").encode() + body.encode()


class S3Dialect:
    """What an S3 server says when it does not do what it was asked to."""

    said = {"503 SlowDown": 4, "500 InternalError": 2, "409 ConditionalRequestConflict": 2, "412 PreconditionFailed": 2}
    lie = b"HTTP/1.1 200 OK\r\nETag: \"0\"\r\nContent-Length: 0\r\n\r\n"
    storm = "503 SlowDown"
    unclear = "500 InternalError"

    @staticmethod
    def puts_record(request):
        return request.method == "PUT" and "/log/" in request.target

    @staticmethod
    def fits(what, request):
        return what[:3] in ("503", "500") or bool(request.field(b"if-none-match"))

    @staticmethod
    def answer(what):
        code, name = what.split(" ")
        body = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{name}</Code><Message>by the fault proxy</Message>'
                "<RequestId>0</RequestId></Error>")
        return answer_bytes(code, name, "application/xml", body)


class OssDialect(S3Dialect):
    """The same of OSS, where 409 is both: the name is taken, and another request was in the way."""

    said = {"503 ServiceUnavailable": 4, "500 InternalError": 2, "409 OperationConflict": 2, "409 FileAlreadyExists": 2}
    storm = "503 ServiceUnavailable"

    @staticmethod
    def fits(what, request):
        return what[:3] in ("503", "500") or bool(request.field(b"x-oss-forbid-overwrite"))


class HdfsDialect:
    """The same for NameNodes and DataNodes behind WebHDFS."""

    said = {"403 RetriableException": 3, "403 StandbyException": 2, "403 SafeModeException": 2,
            "403 FileAlreadyExistsException": 2, "403 IOException": 2, "503 busy": 2}
    lie = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 0\r\n\r\n"
    storm = "403 RetriableException"
    unclear = "500 gateway"

    @staticmethod
    def puts_record(request):
        return "op=RENAME" in request.target and "log" in request.target.split("destination=")[-1]

    @staticmethod
    def fits(what, request):
        return "FileAlreadyExists" not in what or "op=RENAME" in request.target

    @staticmethod
    def answer(what):
        code, name = what.split(" ")
        if not name.endswith("Exception"):
            return answer_bytes(code, name, "text/html", f"<html><body>{name}, by the fault proxy</body></html>")
        package = "java.io." if name == "IOException" else "org.apache.hadoop.hdfs."
        body = ('{"RemoteException":{"exception":"%s","javaClassName":"%s%s","message":"by the fault proxy"}}'
                % (name, package, name))
        return answer_bytes(code, name, "application/json", body)


class Plan:
    """Which harm: a share of the requests, and now and then a storm in which the servers take nothing at all.

    lies: the proxy says that records of the log were put which it has thrown away. No client can survive that: it shows that
    a test finds what is lost.
    """

    def __init__(self, dialect, seed, share, lies=False):
        self.dialect = dialect
        self.dice = random.Random(seed)
        self.share = share
        self.on = False
        self.storm_until = 0.0
        self.counts = collections.Counter()
        self.requests = 0
        self._lock = threading.Lock()
        self._kinds = {"lie": 1} if lies else {**HARM, **dialect.said}
        self._bag = []

    def kinds(self):
        return [*self._kinds, "storm"]

    def storm(self, seconds):
        self.storm_until = time.monotonic() + seconds

    def calm(self):
        self.on = False
        self.storm_until = 0.0

    def draw(self, request):
        """(what to do to this request, how long a pause) - what is None: nothing."""
        with self._lock:
            self.requests += 1
            what, pause = None, self.dice.uniform(0.02, 1.5)
            if time.monotonic() < self.storm_until:
                what = "storm"
            elif self.on and self.dice.random() < self.share:
                what = self._take(request)
            if what:
                self.counts[what] += 1
            return what, pause

    def _take(self, request):
        """The next harm that fits. All kinds lie in a bag as often as they weigh, so that none stays out by chance."""
        if not self._bag:
            self._bag = [kind for kind, weight in self._kinds.items() for _ in range(weight)]
            self.dice.shuffle(self._bag)
        for at, what in enumerate(self._bag):
            if self.dialect.puts_record(request) if what == "lie" else \
                    what not in self.dialect.said or self.dialect.fits(what, request):
                return self._bag.pop(at)
        return None

    def toss(self):
        with self._lock:
            return self.dice.random() < 0.5


class Counting(Plan):
    """No harm to an S3 server, and every request is written down: (method, target)."""

    def __init__(self):
        super().__init__(S3Dialect(), 1, 0)
        self.seen = []

    def draw(self, request):
        self.seen.append((request.method, request.target))
        return super().draw(request)


def hang_up(sock, reset=False):
    try:
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


class Upstream:
    """The proxy's connection to the server, opened when it is needed."""

    def __init__(self, port):
        self.port = port
        self.sock = self.stream = None

    def open(self):
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.stream = self.sock.makefile("rb")
        return self.sock

    def send(self, request, size=None):
        self.open().sendall((request.head() + request.body)[:size])

    def exchange(self, request):
        self.send(request)
        answer = read_answer(self.stream, request.method)
        if answer.closes():
            self.close()
        return answer

    def close(self):
        if self.sock is not None:
            self.stream.close()
            hang_up(self.sock)
            self.sock = self.stream = None


class FaultProxy:
    """In front of one server on loopback. rewrite(answer): changes an answer that names servers behind other proxies."""

    def __init__(self, port, plan, rewrite=None):
        self.target = port
        self.plan = plan
        self.rewrite = rewrite
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self._clients = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.settimeout(10 * TIMEOUT_S)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def cut_all(self):
        """Resets every connection, whatever is on it; how many there were."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            try:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        return len(clients)

    def stop(self):
        hang_up(self.listener)
        self.cut_all()

    def _serve(self, client):
        upstream = Upstream(self.target)
        stream = client.makefile("rb")
        try:
            while (request := read_request(stream, client)) is not None:
                if not self._handle(client, upstream, request):
                    break
        except (OSError, ValueError):
            pass  # either side went: the other one sees the same
        finally:
            with self._lock:
                self._clients.discard(client)
            stream.close()
            hang_up(client)
            upstream.close()

    def _handle(self, client, upstream, request):
        """False: the client's connection is over."""
        what, pause = self.plan.draw(request)
        if what is None or what in ("delayed", "slow"):
            if what == "delayed":
                time.sleep(pause)
            return self._answer(client, upstream.exchange(request), pause if what == "slow" else 0)
        if what == "lie":
            client.sendall(self.plan.dialect.lie)
            return True
        if what == "storm":
            client.sendall(self.plan.dialect.answer(self.plan.dialect.storm))
        elif what in self.plan.dialect.said:
            client.sendall(self.plan.dialect.answer(what))
        elif what == "request cut":
            upstream.send(request, len(request.head()) + len(request.body) // 2)
        elif what == "request late":
            hang_up(client, reset=True)
            time.sleep(pause)
            upstream.exchange(request)
        elif what == "request twice":
            upstream.exchange(request)
            again = Upstream(self.target)
            try:
                return self._answer(client, again.exchange(request), 0)
            finally:
                again.close()
        elif what == "reset":
            if self.plan.toss():
                upstream.exchange(request)
            hang_up(client, reset=True)
        elif what != "request lost":
            self._spoil(client, upstream.exchange(request), what)
        return False

    def _spoil(self, client, answer, what):
        """The server has done it; its answer does not get through."""
        if what == "answer cut":
            data = answer.head() + answer.body
            client.sendall(data[:len(data) // 2])
        elif what == "answer replaced":
            client.sendall(self.plan.dialect.answer(self.plan.dialect.unclear))
        elif what == "silent":
            client.recv(1)  # until the client gives up

    def _answer(self, client, answer, seconds):
        if self.rewrite:
            self.rewrite(answer)
        data = answer.head() + answer.body
        pieces = 20 if seconds else 1
        step = -(-len(data) // pieces)
        for at in range(0, len(data), step):
            client.sendall(data[at:at + step])
            if seconds:
                time.sleep(seconds / pieces)
        return not answer.closes()


def rewrite_ports(ports):
    """Replaces 127.0.0.1:port (of a DataNode) by that of its proxy in what a NameNode answers."""
    table = {f"127.0.0.1:{old}".encode(): f"127.0.0.1:{new}".encode() for old, new in ports.items()}
    expression = re.compile(b"//(" + b"|".join(re.escape(name) for name in table) + b")/")

    def rewrite(answer):
        answer.body = expression.sub(lambda found: b"//" + table[found[1]] + b"/", answer.body)
        answer.fields = [(key, str(len(answer.body)).encode() if key.lower() == b"content-length" else
                          expression.sub(lambda found: b"//" + table[found[1]] + b"/", value))
                         for key, value in answer.fields]
    return rewrite
