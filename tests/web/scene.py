"""A daemon with something to look at: clusters that lead, jobs with checkpoints, a trash, an audit trail; and names that attack the page."""
import os
import random
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "rpc"), os.path.join(os.path.dirname(HERE), "observed"), os.path.dirname(HERE)]
from fake_jobmanager import FakeJobManager, Job  # noqa: E402
from harness import Daemon, JobManager  # noqa: E402
from lib.ports import free_port  # noqa: E402

#: namespace, cluster, JobManager, jobs, Flink, size of a checkpoint in MiB
CLUSTERS = [("analytics", "clickstream-sessions", "jm-clickstream-6c9d:6123", 1, "2.3.0", 2200),
            ("analytics", "page-ranking", "jm-page-ranking-77f4:6123", 2, "2.2.1", 310),
            ("fraud", "card-scoring", "jm-card-scoring-5b8f:6123", 1, "1.20.5", 870),
            ("orders", "enrichment", "jm-enrichment-0:6123", 1, "1.20.5", 64),
            ("orders", "inventory-sync", "jm-inventory-0:6123", 1, "2.3.0", 128),
            ("payments", "ledger", "jm-ledger-1:6123", 3, "2.3.0", 415),
            ("payments", "settlement", "jm-settlement-0:6123", 1, "2.3.0", 92)]

HOSTILE = "<img src=x onerror=window.harmed=1>"
HOSTILE_HOLDER = "<script>window.harmed=2</script>"
HOSTILE_VERSION = "\"'><svg onload=window.harmed=3>"


class Scene:
    """The daemon at a port to which it comes back, and its JobManagers."""

    def __init__(self, **settings):
        # Sessions that nobody renews have to outlive the slowest run.
        self.daemon = Daemon(listen=f"127.0.0.1:{free_port()}", session_ttl__max="3600s", alerts_patience="1s", **settings)
        self.managers = {}
        self.jobs = {}

    def start(self):
        self.daemon.start()
        self.url = f"http://127.0.0.1:{self.daemon.port}"
        return self

    def remove(self):
        for manager in self.managers.values():
            manager.stream.close()
        self.daemon.remove()

    def manager(self, ns, cluster, holder, **more):
        manager = JobManager(self.daemon, urllib.parse.quote(cluster, safe=""), ns, ttl_ms=3600000, holder=holder, **more).wait_granted()
        self.managers[f"{ns}/{cluster}"] = manager
        return manager

    def job(self, manager, size_mib, checkpoints=30, retained=3):
        """A job that has completed so many, half a minute apart; the newest, now."""
        job, draw = os.urandom(16).hex(), random.Random(size_mib)
        code, answer, _ = manager.call("PUT", f"/graphs/{job}", b"g" * 39000, {"Content-Type": "application/octet-stream"})
        assert code == 200, answer
        now_ms, mib = int(time.time() * 1000), size_mib
        for number in range(1, checkpoints + 1):
            at_ms = now_ms - (checkpoints - number) * 30000
            mib *= draw.uniform(.985, 1.028)
            self.checkpoint(manager, job, number, at_ms, int(mib * 2 ** 20), int(draw.gauss(2400, 300) + (4200 if number % 11 == 7 else 0)), retained)
        self.jobs.setdefault(manager, []).append(job)
        return job

    @staticmethod
    def checkpoint(manager, job, number, at_ms=None, size=461234567, took_ms=1800, retained=3):
        at_ms = at_ms or int(time.time() * 1000)
        code, answer, _ = manager.commit(job, number, started_ms=at_ms - took_ms, completed_ms=at_ms, size=size, num_retained=retained,
                                         pointer=f"s3://flink-state/checkpoints/{job}/chk-{number}")
        assert code == 200, answer

    def fill(self):
        for ns, cluster, holder, jobs, version, size in CLUSTERS:
            manager = self.manager(ns, cluster, holder, flink_version=version, storage_dir=f"s3://flink-state/ha/{ns}/{cluster}",
                                   checkpoint_dir="s3://flink-state/checkpoints")
            manager.call("PUT", "/leader/dispatcher", {"leader_session": manager.leader_session,
                                                       "address": f"pekko.tcp://flink@{holder}/user/rpc/dispatcher_0"})
            for number in range(jobs):
                self.job(manager, size * (number + 1))
        # Deleted before its end, and brought back by hand: the trash and the audit trail.
        manager = self.managers["orders/enrichment"]
        for restored in (True, False):
            job = self.job(manager, 5, checkpoints=2)
            trash = manager.call("DELETE", f"/jobs/{job}")[1]["trash"]
            if restored:
                assert self.daemon.call("POST", f"/v1/trash/{trash}/restore")[0] == 200
        return self

    def forsake(self, ns="orders", cluster="returns"):
        """A cluster whose job nobody leads any more."""
        manager = self.manager(ns, cluster, "jm-returns-0:6123", flink_version="1.20.5")
        self.job(manager, 33, checkpoints=12)
        self.daemon.call("DELETE", f"{manager.base}/sessions/{manager.sid}")
        del self.managers[f"{ns}/{cluster}"]
        manager.stream.close()

    @staticmethod
    def observe(third=HOSTILE):
        """A JobManager that the daemon looks at by REST; to be closed."""
        flink, now_ms = FakeJobManager(), int(time.time() * 1000)
        flink.history, draw = 100, random.Random(7)
        for number, (name, state, checkpoints) in enumerate((("daily-aggregates", "RUNNING", 40), ("late-events", "FINISHED", 12), (third, "FAILED", 3)), 1):
            job = Job(number, name, now_ms - 3600000)
            job.interval_ms = 60000
            job.complete(checkpoints)
            if state == "FINISHED":
                job.complete(kind="SYNC_SAVEPOINT", path="s3://flink-state/savepoints/savepoint-0002-7d1f0c")
            for at, entry in enumerate(job.entries):
                entry.update(trigger_timestamp=now_ms - (len(job.entries) - at) * 60000, end_to_end_duration=draw.randint(900, 3100),
                             state_size=int(3e8 * (1 + at / 40) * draw.uniform(.97, 1.03)))
            if state != "RUNNING":
                job.end(state)
            flink.jobs[job.id] = job
        return flink

    def attack(self):
        """Texts that would be markup."""
        manager = self.manager("default", HOSTILE, HOSTILE_HOLDER, flink_version=HOSTILE_VERSION, storage_dir="javascript:window.harmed=4")
        manager.call("PUT", "/leader/" + urllib.parse.quote("<b>dispatcher", safe=""),
                     {"leader_session": manager.leader_session, "address": "<iframe src=javascript:window.harmed=5>"})
        job = self.job(manager, 10, checkpoints=2)
        manager.call("POST", f"/graphs/{job}/quarantine", {"reason": "</p><script>window.harmed=6</script>"})
        return manager, job
