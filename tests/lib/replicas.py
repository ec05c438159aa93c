"""Several holdfastd on one store, with an election among them."""
import random
import re
import shutil
from pathlib import Path

from . import http
from .failure import Failure, wait_until
from .paths import BUILD
from .ports import free_port
from .process import Process


class Replica:
    """One of them. It comes back to its address after a kill, as a pod with a stable name does."""

    def __init__(self, work, name, binary, settings, env=None):
        self.name = name
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        lines = {"listen": self.address, "replica.name": name, **settings}
        config = work / f"{name}.yaml"
        config.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()), "utf-8")
        self.log = work / f"{name}.log"
        self.process = Process(name, [binary, "--config", config], self.log, env)

    def status(self, timeout=1):
        """What /v1/status says, or {} when there is no answer."""
        code, answer = http.call("GET", f"http://{self.address}/v1/status", timeout=timeout)
        return answer if code == 200 and isinstance(answer, dict) else {}

    def leads(self):
        return self.status().get("state") == "leading"


class Replicas:
    """count replicas on store (a URL); election: their settings of that name."""

    def __init__(self, work, count, store, election, binary=BUILD / "daemon" / "holdfastd", env=None):
        self.work = Path(work) / "replicas"
        self.work.mkdir(parents=True)
        if not binary.exists():
            raise Failure(f"{binary} is not built: run cmake --build {BUILD}")
        copy = shutil.copy(binary, self.work / "holdfastd")  # somebody may build while a long campaign runs
        settings = {"store": store, "log.level": "info", **election}
        self.all = [Replica(self.work, f"replica-{number}", copy, settings, env) for number in range(count)]

    @property
    def endpoints(self):
        return [replica.address for replica in self.all]

    def start(self):
        for replica in self.all:
            replica.process.start()
        self.wait_leader()
        self.wait_ready()
        return self

    def leader(self):
        """The replica that says it leads, or None. Two may, for a moment: then any of them."""
        leading = [replica for replica in self.all if replica.process.alive() and replica.leads()]
        return random.choice(leading) if leading else None

    def wait_leader(self, timeout=120, besides=None):
        def found():
            for replica in self.all:
                if replica is not besides and replica.process.alive() and replica.leads():
                    return replica
            if not any(replica.process.alive() for replica in self.all):
                self.all[0].process.require_alive()  # says how it ended
            return None
        return wait_until(found, timeout, "a replica to lead", poll=0.005)

    def wait_ready(self, timeout=120):
        """All serve, as leader or as a standby that knows the leader."""
        def ready():
            for replica in self.all:
                replica.process.require_alive()
            return all(replica.status().get("leader") for replica in self.all)
        wait_until(ready, timeout, "all replicas to know the leader", poll=0.02)

    def logged(self, pattern):
        """All lines of all logs that the pattern matches."""
        expression = re.compile(pattern)
        return [line for replica in self.all for line in replica.log.read_text("utf-8", "replace").splitlines()
                if expression.search(line)]

    def stop(self):
        for replica in self.all:
            replica.process.stop()
