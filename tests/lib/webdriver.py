"""A real Chromium, driven by chromedriver over W3C WebDriver: just what the tests of the status page need."""
import base64
import contextlib
import json
import os
import shutil
import signal
import struct
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from .failure import Failure, wait_until
from .ports import free_port
from .process import Process

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
BOUND_S = 120  # a browser starts slowly on a machine that does other things as well
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Shift": "\ue008", "Space": " "}


def packed(png):
    """The same picture in fewer bytes."""
    chunks, at = [], 8
    while at < len(png):
        size, = struct.unpack_from(">I", png, at)
        chunks.append((png[at + 4:at + 8], png[at + 8:at + 8 + size]))
        at += size + 12
    pixels = zlib.compress(zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT")), 9)
    kept = [chunks[0], (b"IDAT", pixels), (b"IEND", b"")]
    return png[:8] + b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in kept)


class Browser:
    """One browser with a profile of its own, which goes with it."""

    def __init__(self, work, width=1280, height=900):
        self.work = Path(work)
        self.profile = tempfile.mkdtemp(prefix="profile-", dir=self.work)
        self.size = (width, height)
        self.process = self.session = None

    def start(self):
        driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
        if not driver or not chromium:
            raise Failure("chromium and chromedriver are not installed: scripts/install")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = Process("chromedriver", [driver, f"--port={port}", "--allowed-ips=127.0.0.1"], self.work / "chromedriver.log").start()
        wait_until(self._is_ready, BOUND_S, "chromedriver to be ready", poll=0.05)
        options = {"binary": chromium, "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-default-apps", "--hide-scrollbars",
            "--force-color-profile=srgb", "--lang=en-US", f"--user-data-dir={self.profile}", f"--window-size={self.size[0]},{self.size[1]}"]}
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": BOUND_S * 1000, "pageLoad": BOUND_S * 1000}}}})
        self.session = answer["sessionId"]
        return self

    def stop(self):
        try:
            if self.session:
                self._call("DELETE", f"/session/{self.session}")
        except (Failure, OSError):
            pass  # its process is ended below
        finally:
            self.session = None
            if self.process and self.process.child:
                self.process.stop()
                with contextlib.suppress(ProcessLookupError):  # what the driver may have left
                    os.killpg(self.process.pid, signal.SIGKILL)
            shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *ignored):
        self.stop()

    def _is_ready(self):
        self.process.require_alive()
        try:
            return self._call("GET", "/status")["ready"]
        except OSError:
            return False

    def _call(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=BOUND_S) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            with error:
                value = json.loads(error.read())["value"]
            raise Failure(f"{method} {path}: {value['error']}: {value['message'].splitlines()[0]}") from None

    def call(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def command(self, name, **parameters):
        """A command of the developer tools."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What the function's body returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector="body"):
        return self.run("const e = document.querySelector(arguments[0]); return e ? e.innerText : ''", selector)

    def wait(self, what, script, *arguments, timeout=BOUND_S):
        """Until the function's body returns something that counts as true, which is returned."""
        return wait_until(lambda: self.run(script, *arguments), timeout, what + "; there is: " + "{}", poll=0.1)

    def wait_text(self, text, selector="body", timeout=BOUND_S):
        end = time.monotonic() + timeout
        while text not in (now := self.text(selector)):
            if time.monotonic() > end:
                raise Failure(f"{text!r} did not appear in {selector} within {timeout} s; there is: {now[:2000]}")
            time.sleep(0.1)
        return now

    def keys(self, *keys):
        """Pressed one after the other, wherever the focus is; "Shift+Tab" is held down together."""
        actions = []
        for key in keys:
            parts = [KEYS.get(part, part) for part in key.split("+")] if len(key) > 1 else [KEYS.get(key, key)]
            actions += [{"type": "keyDown", "value": part} for part in parts]
            actions += [{"type": "keyUp", "value": part} for part in reversed(parts)]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def focused(self):
        """What stands on the element that has the focus."""
        return self.run("const e = document.activeElement; return e.getAttribute('aria-label') || e.innerText || e.id || e.localName")

    def console(self):
        """What the browser has had to say since it was asked last."""
        return self.call("POST", "/se/log", {"type": "browser"})

    def screen(self, width, height, phone=False, dark=None):
        """The size of the window's inside, and what the system's colours are said to be."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        if dark is not None:
            self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path):
        Path(path).write_bytes(packed(base64.b64decode(self.call("GET", "/screenshot"))))
