"""The services that alerts are sent to, as strict fakes on loopback: what the real ones refuse is refused, in their words."""
import base64
import collections
import hashlib
import hmac
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = os.path.dirname(os.path.abspath(__file__))
DINGTALK_SECRET = "SEC0123456789abcdef"
FEISHU_SECRET = "feishu+secret/1"
TOKEN = "webhook-token-7"
Message = collections.namedtuple("Message", "text status body")


def signed(key, message):
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


def must(condition, what):
    if not condition:
        raise ValueError(what)


def exactly(body, *keys):
    must(isinstance(body, dict) and sorted(body) == sorted(keys), f"not {sorted(keys)}: {body!r:.200}")


def fresh(timestamp, unit):
    must(abs(time.time() - int(timestamp) / unit) < 3600, "timestamp out of range")


# Each takes (query, headers, body as JSON, its bytes) and returns the text that people see.

def dingtalk(query, headers, body, data):
    must(len(data) <= 20000, "the message is too long")
    must(query.get("access_token") == ["ding-token"], "token is not exist")
    fresh(query["timestamp"][0], 1000)
    must(query["sign"] == [signed(DINGTALK_SECRET, f"{query['timestamp'][0]}\n{DINGTALK_SECRET}")], "sign not match")
    exactly(body, "msgtype", "text", "at")
    exactly(body["text"], "content")
    must(body["msgtype"] == "text" and body["at"] == {"isAtAll": False}, "at")
    return body["text"]["content"]


def wecom(query, headers, body, data):
    must(query.get("key") == ["wecom-key"], "invalid webhook url")
    exactly(body, "msgtype", "text")
    exactly(body["text"], "content")
    must(body["msgtype"] == "text" and len(body["text"]["content"].encode()) <= 2048, "content exceed max length")
    return body["text"]["content"]


def feishu(query, headers, body, data):
    must(len(data) <= 20 * 1024, "request body size exceeds")
    exactly(body, "timestamp", "sign", "msg_type", "content")
    fresh(body["timestamp"], 1)
    must(body["sign"] == signed(f"{body['timestamp']}\n{FEISHU_SECRET}", ""), "sign match fail or timestamp is not within one hour")
    exactly(body["content"], "text")
    must(body["msg_type"] == "text" and "<at" not in body["content"]["text"], "mentions somebody")
    return body["content"]["text"]


def slack(query, headers, body, data):
    exactly(body, "text", "blocks")
    must(len(body["text"]) <= 40000 and "<" not in body["text"], "invalid text")
    must(1 <= len(body["blocks"]) <= 50, "invalid_blocks")
    must(body["blocks"][0]["type"] == "header" and len(body["blocks"][0]["text"]["text"]) <= 150, "header")
    for block in body["blocks"]:
        exactly(block, "type", "text")
        exactly(block["text"], "type", "text")
        must(block["text"]["type"] == "plain_text" and 1 <= len(block["text"]["text"]) <= 3000, "invalid_blocks")
        must("<" not in block["text"]["text"], "markup")
    text = "".join(block["text"]["text"] for block in body["blocks"][1:])
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def webhook(query, headers, body, data):
    must(headers["Authorization"] == f"Bearer {TOKEN}", "who is that?")
    exactly(body, "version", "status", "severity", "title", "text", "group", "name", "replica", "firing", "resolved", "sent_ms",
            "alerts")
    for alert in body["alerts"]:
        exactly(alert, "status", "rule", "severity", "title", "text", "namespace", "cluster", "job", "since_ms",
                *(["resolved_ms"] if alert["status"] == "resolved" else []))
    return body["text"]


GOOD = {"dingtalk": {"errcode": 0, "errmsg": "ok"}, "wecom": {"errcode": 0, "errmsg": "ok"},
        "feishu": {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"},
        "slack": "ok", "webhook": ""}
BAD = {"dingtalk": lambda text: (200, {"errcode": 310000, "errmsg": text}), "wecom": lambda text: (200, {"errcode": 93000, "errmsg": text}),
       "feishu": lambda text: (200, {"code": 19021, "msg": text, "data": {}}), "slack": lambda text: (400, text),
       "webhook": lambda text: (403, text)}
CHECK = {"dingtalk": dingtalk, "wecom": wecom, "feishu": feishu, "slack": slack, "webhook": webhook}
PATHS = {"dingtalk": "/robot/send?access_token=ding-token", "wecom": "/cgi-bin/webhook/send?key=wecom-key",
         "feishu": "/open-apis/bot/v2/hook/feishu-hook", "slack": "/services/T000/B000/slack-token", "webhook": "/alerts?from=holdfast"}


class Services:
    """All that speak HTTP. `ill[name]`: what the next requests get instead of an answer, one each: (code, body, headers), "cut",
    or an Event that is waited for before the request is looked at."""

    def __init__(self):
        self.changed = threading.Condition()
        self.messages = {name: [] for name in PATHS}
        self.problems = []
        self.tries = collections.Counter()
        self.ill = collections.defaultdict(collections.deque)
        services = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                services.serve(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server.server_address[1]}{PATHS[name]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def serve(self, handler):
        where = urllib.parse.urlsplit(handler.path)
        name = next((n for n, path in PATHS.items() if urllib.parse.urlsplit(path).path == where.path), None)
        data = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self.changed:
            self.tries[name] += 1
            ill = self.ill[name].popleft() if self.ill[name] else None
            self.changed.notify_all()
        if isinstance(ill, threading.Event):
            ill.wait(300)
            ill = None
        if ill == "cut":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        try:
            if ill:
                code, answer, headers = ill
            else:
                code, answer, headers = *self.judge(name, where, handler.headers, data), {}
            text = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            handler.send_response(code)
            handler.send_header("Content-Length", str(len(text)))
            for key, value in headers.items():
                handler.send_header(key, value)
            handler.end_headers()
            handler.wfile.write(text)
        except OSError:
            pass  # the daemon did not wait for it, or is gone

    def judge(self, name, where, headers, data):
        try:
            must(headers["Content-Type"] == "application/json; charset=utf-8", "content type")
            body = json.loads(data)
            text = CHECK[name](urllib.parse.parse_qs(where.query), headers, body, data)
        except (ValueError, KeyError) as wrong:
            with self.changed:
                self.problems.append(f"{name}: {wrong}")
                self.changed.notify_all()
            return BAD[name](str(wrong))
        first = text.split("\n", 1)[0]
        status = "test" if first.startswith("[TEST]") else "resolved" if first.startswith("[RESOLVED]") else "firing"
        with self.changed:
            self.messages[name].append(Message(text, status, body))
            self.changed.notify_all()
        return 200, GOOD[name]

    def wait(self, condition, what, timeout=60):
        """What condition(self) returns, once it is true."""
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self), timeout):
                raise AssertionError(f"{what}: not within {timeout} s; messages {self.messages}, problems {self.problems}")
            return condition(self)


class Mail:
    """The mail server; `mails` as they have come."""

    def __init__(self, folder, mode, certificate="-", key="-", user="-", password="-"):
        self.mails, self.changed = [], threading.Condition()
        port_file = os.path.join(str(folder), f"smtp-{mode}.port")
        self.process = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(HERE, "mail_server.py"), port_file, mode, str(certificate), str(key), user, password],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 60
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"no mail server: {self.process.stderr.read().decode()}")
            time.sleep(0.02)
        with open(port_file, encoding="utf-8") as file:
            self.port = int(file.read())
        self.readers = [threading.Thread(target=self.read, daemon=True),
                        threading.Thread(target=self.process.stderr.read, daemon=True)]
        for reader in self.readers:
            reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.mails.append(json.loads(line))
                self.changed.notify_all()

    def wait(self, condition, what, timeout=60):
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self.mails), timeout):
                raise AssertionError(f"{what}: not within {timeout} s; {self.mails}")
            return condition(self.mails)

    def close(self):
        self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
