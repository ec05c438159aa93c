"""Several holdfastd with what they stand on: an election service and a store; for Flink and without it."""
from pathlib import Path

from . import http, kube, places, zookeeper
from .failure import Failure
from .holdfastd import Holdfastd
from .replicas import Replicas


def _zookeeper(work, options):
    ensemble = zookeeper.Ensemble(work, options["nodes"]).start()
    return ensemble, {"election": "zookeeper", "election.zookeeper.quorum": ensemble.quorum,
                      "election.zookeeper.session-timeout": f"{options['session_ms']}ms"}


def _kubernetes(work, options):
    """With the proportions of the defaults: 15 s, 10 s, 2 s."""
    server = kube.Kube(work).start()
    times = {"lease-duration": 15, "renew-deadline": 10, "retry-period": 2}
    return server, {"election": "kubernetes", "election.kubernetes.kubeconfig": server.kubeconfig(),
                    **{f"election.kubernetes.{name}": f"{options['session_ms'] * part // 15}ms" for name, part in times.items()}}


def _place(kind):
    def start(work, _options):
        place = kind(work)
        try:
            place.start()
        except BaseException:
            place.stop()
            raise
        return place, place.settings()
    return start


#: Name -> function (work, options) that starts the service: (what has a stop(), or None; settings of the replicas).
ELECTIONS = {"zookeeper": _zookeeper, "kubernetes": _kubernetes}
STORES = {kind.name: _place(kind) for kind in places.KINDS}

OPTIONS = {"election": "zookeeper", "store": "file", "replicas": 3, "nodes": 3, "session_ms": 6000, "proof_of_death": True}


class Installation:
    """options: see OPTIONS; nodes: of a ZooKeeper ensemble; session_ms: how long a silent leader keeps its lease."""

    def __init__(self, work, place=None, binary=None, **options):
        unknown = set(options) - set(OPTIONS)
        if unknown:
            raise ValueError(f"no options of an installation: {unknown}")
        self.work = Path(work)
        self.options = {**OPTIONS, **options}
        self.place = place  # that somebody else has started; goes before the option "store"
        self.binary = {"binary": binary} if binary else {}  # of another version
        self.services = []
        self.replicas = None

    def start(self):
        settings = {"election.proof-of-death": "true" if self.options["proof_of_death"] else "false"}
        kinds_of_all = [(ELECTIONS, self.options["election"])]
        if self.place is not None:
            settings.update(self.place.settings())
        else:
            kinds_of_all.insert(0, (STORES, self.options["store"]))
        try:
            for kinds, name in kinds_of_all:
                service, more = kinds[name](self.work, self.options)
                if service is not None:
                    self.services.append(service)
                settings.update(more)
            store = settings.pop("store")
            self.replicas = Replicas(self.work, self.options["replicas"], store, settings, **self.binary).start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        if self.replicas is not None:
            self.replicas.stop()
        for service in reversed(self.services):
            service.stop()
        self.services = []


class ReplicatedHoldfast(Holdfastd):
    """An installation as the coordinator of a Flink cluster, for Rig(ha=ReplicatedHoldfast)."""

    def __init__(self, work, flink_options=None, place=None, **options):
        super().__init__(work, flink_options, place)
        self.installation = Installation(work, place, **options)
        self._leader = None

    @property
    def replicas(self):
        return self.installation.replicas

    @property
    def url(self):
        """Of the replica that led when it was last asked for."""
        return f"http://{self._leader or self.replicas.endpoints[0]}"

    @property
    def endpoints(self):
        return ",".join(f"http://{address}" for address in self.replicas.endpoints)

    def require_alive(self):
        if not any(replica.process.alive() for replica in self.replicas.all):
            raise Failure("no replica is left")

    def start(self):
        self.work.mkdir(parents=True, exist_ok=True)
        self.installation.start()
        return self

    def wait_ready(self, timeout=120):
        self.replicas.wait_ready(timeout)

    def kill(self):
        raise NotImplementedError("kill one of .replicas")

    def restart(self):
        raise NotImplementedError("start one of .replicas")

    def stop(self):
        self.installation.stop()

    def get(self, path):
        """From whoever leads; None when nobody does at the moment, or the answer is not a 200."""
        for address in [self._leader, *self.replicas.endpoints]:
            if address is None:
                continue
            status, answer = http.call("GET", f"http://{address}{path}", timeout=5)
            if status == 200:
                self._leader = address
                return answer
        return None

    def wait_leader(self, besides=None):
        leader = self.replicas.wait_leader(besides=besides)
        self._leader = leader.address
        return leader
