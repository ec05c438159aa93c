"""Frames of HTTP/2 (RFC 9113), made and read by hand, so that they can be wrong."""
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 3, 5, 7, 8, 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_STATUS = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}  # HPACK's static table
_DIGITS = {"00000": "0", "00001": "1", "00010": "2", "011001": "3", "011010": "4", "011011": "5", "011100": "6", "011101": "7",
           "011110": "8", "011111": "9"}  # of its Huffman code


def frame(kind, flags=0, stream=0, payload=b"", size=None):
    return struct.pack(">I", len(payload) if size is None else size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values):
    """By number: s1 is HEADER_TABLE_SIZE, s4 INITIAL_WINDOW_SIZE."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", int(key[1:]), value) for key, value in values.items()))


def window_update(stream, step):
    return frame(WINDOW_UPDATE, stream=stream, payload=struct.pack(">I", step))


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, stream=stream, payload=struct.pack(">I", code))


def _number(value, prefix, first):
    if value < (1 << prefix) - 1:
        return bytes([first | value])
    out, value = bytes([first | (1 << prefix) - 1]), value - ((1 << prefix) - 1)
    while value >= 128:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def block(fields):
    """A header block of literals that are not remembered."""
    return b"".join(b"\0" + _number(len(name), 7, 0) + name + _number(len(value), 7, 0) + value for name, value in fields)


def fields(method=b"GET", path=b"/", *more, authority=b"x", scheme=b"https"):
    return [(b":method", method), (b":scheme", scheme), (b":path", path), (b":authority", authority), *more]


def headers(stream, what, end=True, more=False):
    """what: fields, or a block of them."""
    payload = what if isinstance(what, bytes) else block(what)
    return frame(HEADERS, (END_STREAM if end else 0) | (0 if more else END_HEADERS), stream, payload)


def status_of(payload):
    """The :status of an answer's header block, which comes first; for an encoder that may remember nothing."""
    while payload[0] & 0xe0 == 0x20:  # the table's size
        payload = payload[1:]
    if payload[0] & 0x80:
        return int(_STATUS[payload[0] & 0x7f])
    size = payload[1] & 0x7f
    text = payload[2:2 + size]
    if not payload[1] & 0x80:
        return int(text)
    bits, digits = "".join(f"{byte:08b}" for byte in text), ""
    while len(digits) < 3:
        word = next(each for each in _DIGITS if bits.startswith(each))
        digits, bits = digits + _DIGITS[word], bits[len(word):]
    return int(digits)


class Link:
    """A connection whose handshake is over, seen frame by frame."""

    def __init__(self, link, start=True):
        self.link = link
        self.received = b""
        if start:
            self.send(PREFACE + settings(s1=0))

    def send(self, data):
        self.link.sendall(data)

    def frame(self):
        """(kind, flags, stream, payload), or None at the end."""
        while len(self.received) < 9 or len(self.received) < 9 + int.from_bytes(self.received[:3], "big"):
            try:
                piece = self.link.recv(65536)
            except (ConnectionError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                piece = b""
            if not piece:
                return None
            self.received += piece
        size = int.from_bytes(self.received[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.received[3:9])
        payload, self.received = self.received[9:9 + size], self.received[9 + size:]
        return kind, flags, stream & 0x7fffffff, payload

    def until(self, condition):
        """The frames up to the first one that fits, and that one; all of them when the connection ends before."""
        seen = []
        while (one := self.frame()) is not None:
            seen.append(one)
            if condition(*one):
                return seen, one
        return seen, None

    def outcome(self, stream):
        """How a stream ends: its status, ("reset", code), ("goaway", code) of the connection, or "closed"."""
        status = None
        while (one := self.frame()) is not None:
            kind, flags, number, payload = one
            if kind == GOAWAY:
                return "goaway", struct.unpack(">I", payload[4:8])[0]
            if number != stream:
                continue
            if kind == RST_STREAM:
                return "reset", struct.unpack(">I", payload)[0]
            if kind == HEADERS:
                status = status_of(payload)
            if flags & END_STREAM and kind in (HEADERS, DATA):
                return status
        return "closed"
