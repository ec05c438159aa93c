"""A stranger to the library under test: speaks ZooKeeper's protocol as far as the tests meddle with nodes and sessions."""
import socket
import struct
import threading

from .failure import Failure

CREATE, DELETE, GET_DATA, GET_CHILDREN, CLOSE = 1, 2, 4, 8, -11
NO_NODE, NO_AUTH, NODE_EXISTS = -101, -102, -110


class Refused(Failure):
    def __init__(self, code):
        super().__init__(f"ZooKeeper answers {code}")
        self.code = code


def _text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">i", len(data)) + data


def read_frame(connection):
    def exactly(size):
        parts = b""
        while len(parts) < size:
            part = connection.recv(size - len(parts))
            if not part:
                raise OSError("closed")
            parts += part
        return parts
    head = exactly(4)
    return head + exactly(struct.unpack(">i", head)[0])


def password_of(session):
    """The servers derive it from the session's number, with Java's random numbers, so that each of them knows it."""
    state = ((session ^ 0xB3415C00) ^ 0x5DEECE66D) & ((1 << 48) - 1)
    out = b""
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & ((1 << 48) - 1)
        out += struct.pack("<I", (state >> 16) & 0xFFFFFFFF)
    return out


class Client:
    def __init__(self, port, session=0, timeout_ms=60000):
        password = password_of(session) if session else bytes(16)
        self._xid = 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        frame = struct.pack(">iqiq", 0, 0, timeout_ms, session) + _text(password) + b"\0"
        self._socket.sendall(_text(frame))
        answer = read_frame(self._socket)[4:]
        self.session = struct.unpack_from(">q", answer, 8)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, kind, body=b""):
        self._xid += 1
        self._socket.sendall(_text(struct.pack(">ii", self._xid, kind) + body))
        while True:
            answer = read_frame(self._socket)[4:]
            xid, _, code = struct.unpack_from(">iqi", answer)
            if xid == self._xid:
                break
        if code:
            raise Refused(code)
        return answer[16:]

    def create(self, path, data="", ephemeral=False):
        acl = struct.pack(">ii", 1, 31) + _text("world") + _text("anyone")
        self._call(CREATE, _text(path) + _text(data) + acl + struct.pack(">i", 1 if ephemeral else 0))

    def delete(self, path):
        self._call(DELETE, _text(path) + struct.pack(">i", -1))

    def data(self, path):
        return self.raw(path).decode()

    def raw(self, path):
        """The bytes of a node."""
        answer = self._call(GET_DATA, _text(path) + b"\0")
        return answer[4:4 + max(0, struct.unpack_from(">i", answer)[0])]

    def tree(self, path):
        """path: bytes of all nodes from this one on; empty: it is not there."""
        try:
            nodes = {path: self.raw(path)}
            for name in self.children(path):
                nodes.update(self.tree(f"{path}/{name}"))
            return nodes
        except Refused as refused:
            if refused.code != NO_NODE:
                raise
            return {}

    def owner(self, path):
        """The session of an ephemeral node."""
        answer = self._call(GET_DATA, _text(path) + b"\0")
        stat = 4 + struct.unpack_from(">i", answer)[0]
        return struct.unpack_from(">q", answer, stat + 44)[0]

    def children(self, path):
        answer = self._call(GET_CHILDREN, _text(path) + b"\0")
        count, at, names = struct.unpack_from(">i", answer)[0], 4, []
        for _ in range(count):
            size = struct.unpack_from(">i", answer, at)[0]
            names.append(answer[at + 4:at + 4 + size].decode())
            at += 4 + size
        return sorted(names)

    def close(self):
        """Ends the session, whoever else may use it."""
        try:
            self._call(CLOSE)
        except OSError:
            pass
        self._socket.close()


class Proxy:
    """In front of one server. It can lose the answer to a request, or fall silent without a word."""

    def __init__(self, port):
        self._to = port
        self._lose = None  # a kind of request whose next answer is lost, and the connection with it
        self.lost = threading.Event()
        self._open = threading.Event()
        self._handshakes = threading.Event()
        self.speak()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer_to(self, kind):
        self.lost.clear()
        self._lose = kind

    def silence(self, handshakes=False):
        """Connections stay, and nothing passes any more, or what opens a connection only."""
        self._open.clear()
        if not handshakes:
            self._handshakes.clear()

    def speak(self):
        self._handshakes.set()
        self._open.set()

    def close(self):
        self.speak()
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                near.close()
                continue
            doomed = {}  # the request whose answer is lost
            threading.Thread(target=self._requests, args=(near, far, doomed), daemon=True).start()
            threading.Thread(target=self._answers, args=(near, far, doomed), daemon=True).start()

    @staticmethod
    def _end(*sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _requests(self, near, far, doomed):
        try:
            self._handshakes.wait()
            far.sendall(read_frame(near))  # the connect request has no header
            while True:
                frame = read_frame(near)
                xid, kind = struct.unpack_from(">ii", frame, 4)
                if kind == self._lose:
                    self._lose = None
                    doomed["xid"] = xid
                self._open.wait()
                far.sendall(frame)
        except OSError:
            self._end(near, far)
        finally:
            near.close()

    def _answers(self, near, far, doomed):
        try:
            near.sendall(read_frame(far))
            while True:
                frame = read_frame(far)
                self._open.wait()
                if doomed.get("xid") == struct.unpack_from(">i", frame, 4)[0]:
                    self.lost.set()
                    raise OSError("lost on purpose")
                near.sendall(frame)
        except OSError:
            self._end(near, far)
        finally:
            far.close()
