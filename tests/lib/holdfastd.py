"""holdfastd as a process, and what it answers."""
import json
import shutil
import threading
import urllib.parse
from pathlib import Path

from . import http, maven
from .failure import Failure, wait_until
from .paths import BUILD
from .places import Folder
from .ports import free_port
from .process import Process


class Holdfastd:
    """One daemon on the store of a place (places.py), and the Flink options that use it."""

    kind = "holdfast"
    granted = r"Holdfast: leadership granted, leader session (\S+), fence (\d+)"
    lost = r"Holdfast: leadership lost: (.*)"
    refused = r"Holdfast: write refused as fenced: (.*)"
    recovered = r"Holdfast: recovered (\d+) checkpoint\(s\) of job (\w+), newest (\d+)"

    def __init__(self, work, flink_options=None, place=None):
        self.work = Path(work) / "holdfastd"
        self.place = place
        self.store = self.work / "store"  # when that is a folder
        self.port = 0
        self.process = None
        self.starts = 0
        self._flink_options = flink_options or {}
        self._paths = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def settings(self):
        return {**self.place.settings(), "listen": f"127.0.0.1:{self.port}", "election": "standalone", "log.level": "info"}

    def call(self, method, path, **options):
        return http.call(method, self.url + path, **options)

    @property
    def endpoints(self):
        """All of them, for clients."""
        return self.url

    def require_alive(self):
        self.process.require_alive()

    def start(self):
        binary = BUILD / "daemon" / "holdfastd"
        if not binary.exists():
            raise Failure(f"{binary} is not built: run cmake --build {BUILD}")
        if self.place is None:
            self.place = Folder(self.work.parent).start()
        self.work.mkdir(parents=True, exist_ok=True)
        # Copies, here and in class_path: somebody may build while a long campaign runs.
        binary = shutil.copy(binary, self.work / "holdfastd")
        config = self.work / "holdfastd.yaml"
        self.port = free_port()  # clients know the address, so a restart has to come back to it
        config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in self.settings().items()), "utf-8")
        config.chmod(0o600)
        self.process = Process("holdfastd", [binary, "--config", config], self.work / "holdfastd.log").start()
        self.wait_ready()
        return self

    def wait_ready(self, timeout=120):
        def ready():
            self.process.require_alive()
            return self.call("GET", "/readyz", timeout=2)[0] == 200
        wait_until(ready, timeout, "holdfastd to be ready", poll=0.01)

    def kill(self):
        self.process.kill()

    def restart(self):
        self.process.start()

    def stop(self):
        if self.process:
            self.process.stop()

    def class_path(self):
        return [shutil.copy(maven.plugin_jar(), self.work / "holdfast-flink.jar")]

    def flink_options(self):
        return {"high-availability.type": "io.holdfast.flink.HoldfastHaServicesFactory",
                "holdfast.endpoints": self.endpoints, **self._flink_options}

    def get(self, path):
        """The answer's JSON, or None when it is not a 200."""
        status, answer = self.call("GET", path, timeout=5)
        return answer if status == 200 else None

    def cluster_path(self, cluster):
        """/v1/clusters/{ns}/{cluster}; the namespace is whatever the plugin registered the cluster under."""
        if cluster not in self._paths:
            for entry in (self.get("/v1/clusters") or {}).get("clusters", []):
                if entry.get("cluster") == cluster:
                    parts = [urllib.parse.quote(entry[key], safe="") for key in ("namespace", "cluster")]
                    self._paths[cluster] = "/v1/clusters/" + "/".join(parts)
        return self._paths.get(cluster)

    def wait_standby(self, cluster):
        """Waits until a JobManager stands in line for the leadership: only then does a kill measure a takeover."""
        def waiting():
            leaders = (self.get("/v1/leaders") or {}).get("leaders", [])
            return any(entry["waiting"] > 0 for entry in leaders if entry.get("cluster") == cluster)
        wait_until(waiting, 180, f"a standby of cluster {cluster}")

    def checkpoints(self, cluster, job):
        """The daemon's answer about a job's checkpoints, or None while it cannot say."""
        path = self.cluster_path(cluster)
        return self.get(f"{path}/jobs/{job}/checkpoints") if path else None

    def listed(self, cluster, job):
        """The entries of a job's checkpoint list, waiting a moment for a daemon that is just coming up."""
        return wait_until(lambda: self.checkpoints(cluster, job), 120, f"holdfastd to list the checkpoints of {job}",
                          poll=0.01)["checkpoints"]


class History:
    """A thread that asks for a job's checkpoints all the time and remembers every entry it ever saw."""

    def __init__(self, daemon, cluster, job, poll=0.05):
        self.entries = {}
        self.changed = set()
        self._ask = lambda: daemon.checkpoints(cluster, job)
        self._poll = poll
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.wait(self._poll):
            self.note(self._ask())

    def note(self, answer):
        """Takes an answer in; the same id with another start is a number handed out twice."""
        for entry in (answer or {}).get("checkpoints", []):
            before = self.entries.setdefault(entry["id"], entry)
            if before.get("started_ms") != entry.get("started_ms"):
                self.changed.add(entry["id"])
