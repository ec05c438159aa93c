"""A server that speaks enough S3 for holdfastd's start, and breaks one promise. Beside a real server, never instead.

Signatures are not checked: what is tested is what holdfastd makes of the answers.
"""
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

#: What it does wrong. A function (request, key) -> True when it has answered itself.
FAULTS = {}


def fault(function):
    FAULTS[function.__name__] = function
    return function


@fault
def none(_request, _key):
    """Keeps every promise."""


@fault
def ignores_the_condition(request, _key):
    request.conditional = False


@fault
def checks_before_it_waits(request, key):
    """Looks whether the name is free, and writes later: two racers pass."""
    if request.conditional and key not in request.server.objects:
        request.conditional = False
        if "race" in key:
            with request.server.lock:
                request.server.racers += 1
                if request.server.racers > 1:
                    request.server.two_race.set()
            request.server.two_race.wait(30)


@fault
def knows_no_conditions(request, _key):
    if request.conditional:
        return request.refuse(501, "NotImplemented", "A header you provided implies functionality that is not implemented")


@fault
def lists_late(request, _key):
    """A list shows what was there before it was started."""
    if request.command == "GET" and request.query.get("list-type") and request.server.objects:
        return request.answer(200, request.list_of([]))


@fault
def is_full(request, _key):
    if request.command == "PUT":
        return request.refuse(507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.")


@fault
def thinks_our_clock_is_wrong(request, _key):
    return request.refuse(403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is "
                                                       "too large.")


@fault
def is_another_region(request, _key):
    return request.refuse(301, "PermanentRedirect", "The bucket is in another region.", {"x-amz-bucket-region": "eu-west-9"})


@fault
def is_read_only(request, _key):
    if request.command == "PUT":
        return request.refuse(403, "AccessDenied", "Access Denied.")


@fault
def keeps_versions(request, _key):
    if request.command == "PUT":
        request.more["x-amz-version-id"] = "3HL4kqtJvjVBH40Nrjfkd"


@fault
def has_another_clock(request, _key):
    """Objects that were written just now are ten minutes old."""
    request.modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 600))


@fault
def refuses_reads(request, key):
    if request.command == "GET" and key:
        return request.refuse(403, "AccessDenied", "Access Denied.")


@fault
def refuses_lists(request, _key):
    if request.query.get("list-type"):
        return request.refuse(403, "AccessDenied", "Access Denied.")


@fault
def refuses_removals(request, _key):
    if request.command == "DELETE" or "delete" in request.query:
        return request.refuse(403, "AccessDenied", "Access Denied.")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body=b"", headers=None):
        self.send_response(code)
        for name, value in {**self.more, **(headers or {})}.items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def refuse(self, code, name, message, headers=None):
        return self.answer(code, f"<Error><Code>{name}</Code><Message>{message}</Message></Error>".encode(), headers)

    def list_of(self, keys):
        when = f"<LastModified>{self.modified}</LastModified>" if self.modified else ""
        rows = "".join(f"<Contents><Key>{escape(key)}</Key>{when}<Size>{len(self.server.objects[key])}</Size></Contents>"
                       for key in keys)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def handle_one(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        key = urllib.parse.unquote(url.path).lstrip("/").partition("/")[2]
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.conditional = self.headers.get("If-None-Match") == "*"
        self.more = {}
        self.modified = None
        server = self.server
        if server.fault(self, key):
            return
        with server.lock:
            if self.command == "PUT":
                if self.conditional and key in server.objects:
                    self.refuse(412, "PreconditionFailed", "At least one of the pre-conditions did not hold")
                    return
                server.objects[key] = self.body
                self.answer(200, headers={"ETag": '"e"'})
            elif self.command == "POST" and "delete" in self.query:
                for name in re.findall(rb"<Key>(.*?)</Key>", self.body):
                    server.objects.pop(name.decode(), None)
                self.answer(200, b"<DeleteResult/>")
            elif self.command == "DELETE":
                server.objects.pop(key, None)
                self.answer(204)
            elif self.query.get("list-type"):
                found = sorted(name for name in server.objects if name.startswith(self.query.get("prefix", "")) and
                               name > self.query.get("start-after", ""))
                self.answer(200, self.list_of(found))
            elif key not in server.objects:
                self.refuse(404, "NoSuchKey", "The specified key does not exist.")
            else:
                data = server.objects[key]
                self.answer(200, data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one


class FakeS3:
    """with FakeS3("ignores_the_condition") as server: server.endpoint"""

    def __init__(self, name):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.objects = {}
        self.server.lock = threading.Lock()
        self.server.racers = 0
        self.server.two_race = threading.Event()
        self.server.fault = FAULTS[name]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
