"""The daemon's own garbage collection, on a folder and on a bucket of a real S3 server: it finishes recorded deletions, and
sweeps where it is told to, also after kill -9."""
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import s3  # noqa: E402
from lib.failure import wait_until  # noqa: E402
from lib.fault_proxy import Counting, FaultProxy  # noqa: E402
from test_gc_cli import BOUND_S, DAYS, JOB, OTHER, Base, Daemon, JobManager  # noqa: E402
from test_gc_buckets import InBucket  # noqa: E402

HOUR = 3600


class OnFolder(Base):
    def uri(self, path):
        return f"file:{path}"

    def store_settings(self):
        return {}

    def has(self, *paths):
        return [path.exists() for path in paths]


class OnS3(InBucket):
    scheme, alias = "s3", "s3a"

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="holdfast-gc-s3-")
        cls.server = s3.S3(cls.work.name).start()
        cls.store = cls.server.work / "store" / cls.server.bucket

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.work.cleanup()

    def store_settings(self):
        return {key.replace("-", "__").replace(".", "_"): value for key, value in self.server.settings().items()}

    def has(self, *paths):
        return [path.exists() for path in paths]


class Tests:
    daemon = None

    def begin(self, **settings):
        """A daemon that finishes discards at once; a JobManager with the job's graph."""
        settings = {"gc_discard__grace": "0", "gc_interval": "1h", **self.store_settings(), **settings}
        self.daemon = Daemon(**settings)
        self.addCleanup(self.daemon.remove)
        self.daemon.start()
        self.jm = JobManager(self.daemon).wait_granted()
        self.told = os.urandom(16).hex()
        code, answer, _ = self.daemon.call("POST", self.jm.base + "/sessions", {
            "session": self.told, "holder": "x", "ttl_ms": 300000, "checkpoint_dir": self.uri(self.dir), "owner": "first"})
        self.assertEqual(code, 200, answer)
        self.call("PUT", f"/graphs/{JOB}", b"graph", {"Content-Type": "application/octet-stream"})

    def tearDown(self):
        if self.daemon:
            self.daemon.remove()  # it works in what is removed next
        super().tearDown()

    def call(self, *arguments):
        code, answer, _ = self.jm.call(*arguments)
        self.assertEqual(code, 200, answer)
        return answer

    def commit(self, number, age, **more):
        begun = int((time.time() - age) * 1000)
        code, answer, _ = self.jm.commit(JOB, number, pointer=f"{self.uri(self.job)}/chk-{number}", started_ms=begun,
                                         completed_ms=begun + 1, **more)
        self.assertEqual(code, 200, answer)

    def discards(self):
        return [entry["id"] for entry in self.daemon.call("GET", f"{self.jm.base}/jobs/{JOB}/checkpoints")[1]["discards"]]

    def job_gc(self):
        code, answer, _ = self.daemon.call("GET", f"{self.jm.base}/jobs/{JOB}/gc")
        return answer if code == 200 else {}

    def totals(self):
        return self.daemon.call("GET", "/v1/gc")[1]["totals"]

    def wait_finished(self, count):
        wait_until(lambda: self.totals()["discards_finished"] >= count, BOUND_S,
                   lambda: f"{count} finished discards; {self.totals()} {self.job_gc()}\n{self.daemon.log_text()[-2000:]}")

    def outcome(self, which, holds=lambda outcome: True):
        """The last outcome of this kind for which `holds` is true."""
        def seen():
            outcome = self.job_gc().get(which)
            return outcome if outcome and holds(outcome) else None
        return wait_until(seen, BOUND_S, lambda: f"{which}: {self.job_gc()}\n{self.daemon.log_text()[-2000:]}")

    def test_a_discard_that_nobody_finishes_is_finished(self):
        own, last, common = self.file("chk-6"), self.file("shared"), self.file("shared")
        garbage, old = self.file("shared"), self.checkpoint(6, private=[own], shared=[last, common])
        kept = self.checkpoint(7, shared=[common]) / "_metadata"
        self.begin()
        self.commit(6, age=3 * HOUR)
        self.commit(7, age=2 * HOUR)
        self.wait_finished(1)
        self.assertEqual(self.has(own, last, old / "_metadata", common, garbage, kept), [False] * 3 + [True] * 3)
        self.assertEqual(self.discards(), [])
        self.assertEqual(self.job_gc()["last_discards"]["files"], 3)
        told = self.cli("gc", "status", "--endpoint", f"http://127.0.0.1:{self.daemon.port}")
        self.assertIn("1 discard(s) finished, 3 file(s) gone", told)
        self.assertIn(JOB, told)

    def test_shared_files_that_are_too_young_are_waited_for(self):
        young = self.file("shared", age=3 * HOUR)
        old = self.checkpoint(6, shared=[young]) / "_metadata"
        self.checkpoint(7)
        self.begin()
        self.commit(6, age=3 * HOUR)
        self.commit(7, age=2.5 * HOUR)
        self.assertEqual(self.outcome("last_discards")["waiting"], 1)
        self.assertEqual((self.has(young, old), self.discards()), ([True, True], [6]))
        self.checkpoint(8)
        self.commit(8, age=1)
        self.wait_finished(2)
        self.assertEqual(self.has(young, old), [False, False])

    def test_it_is_left_to_the_job_manager_for_a_while(self):
        own = self.file("chk-6")
        self.checkpoint(6, private=[own])
        self.checkpoint(7)
        self.begin(gc_discard__grace="4h", gc_interval="200ms", gc_min__age="0s")
        self.commit(6, age=3 * HOUR)
        self.commit(7, age=2 * HOUR)
        self.outcome("last_sweep")  # it has looked at the job
        state = self.job_gc()
        self.assertEqual((state["discards"], state["due"], state["last_discards"]), (1, False, None))
        self.assertTrue(own.exists())
        self.assertEqual(self.discards(), [6])

    def test_a_pinned_one_stays(self):
        own = self.file("chk-6")
        folder = self.checkpoint(6, private=[own])
        self.checkpoint(7)
        pin = self.dir / ".holdfast" / "pins" / f"{JOB}.chk-6"
        pin.parent.mkdir(parents=True)
        pin.touch()
        self.begin()
        self.commit(6, age=3 * HOUR)
        self.commit(7, age=2 * HOUR)
        self.assertEqual(self.outcome("last_discards")["files"], 0)
        self.assertEqual((self.has(own, folder / "_metadata"), self.discards()), ([True, True], [6]))

    def test_after_the_end_of_the_cluster(self):
        own, last = self.file("chk-6"), self.file("shared")
        self.checkpoint(6, private=[own], shared=[last])
        kept = self.checkpoint(7) / "_metadata"
        self.begin(gc_discard__grace="4h")
        self.commit(6, age=3 * HOUR)
        self.commit(7, age=2 * HOUR)
        self.call("DELETE", "")
        self.assertEqual(self.daemon.call("GET", f"{self.jm.base}/jobs")[1]["jobs"], [])
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_text()[-4000:])
        self.daemon.settings["gc_discard__grace"] = "0"
        self.daemon.start()
        self.wait_finished(1)
        self.assertEqual(self.has(own, last, kept), [False, False, True])

    def test_what_a_former_owner_s_job_of_the_same_id_retains_stays(self):
        shared = self.file("shared")
        needed = self.checkpoint(6, job=self.dir / "far" / OTHER, shared=[shared])  # restored from there: its folder does not name it
        self.begin(gc_policy="clean")
        begun = int((time.time() - 3 * HOUR) * 1000)
        code, answer, _ = self.jm.commit(JOB, 6, pointer=f"{self.uri(self.dir / 'far' / OTHER)}/chk-6", started_ms=begun, completed_ms=begun)
        self.assertEqual(code, 200, answer)
        for sid in (self.told, self.jm.sid):
            self.daemon.call("DELETE", f"{self.jm.base}/sessions/{sid}")
        first, self.jm = self.jm, JobManager(self.daemon, owner="second").wait_granted()
        quarantine = self.jm.opened["quarantine"]
        self.assertEqual((quarantine["owner"], quarantine["graphs"], quarantine["jobs"]), ("first", 1, 1))
        self.call("PUT", f"/graphs/{JOB}", b"another graph", {"Content-Type": "application/octet-stream"})
        garbage, mine = self.file("shared"), self.file("shared")
        self.checkpoint(20, shared=[mine])
        self.commit(20, age=2 * HOUR)
        self.assertEqual([entry["id"] for entry in
                          self.daemon.call("GET", f"{first.base}/jobs/{JOB}/checkpoints")[1]["of_former_owners"]], [6])
        wait_until(self.job_gc, BOUND_S, "the job to be looked after")
        self.call("POST", f"/jobs/{JOB}/gc/run")
        self.outcome("last_sweep", lambda outcome: outcome["what"] == "sweep" and outcome["files"] == 1)
        self.assertEqual(self.has(garbage), [False])
        self.assertEqual(self.has(shared, needed / "_metadata", mine), [True] * 3)
        self.call("PUT", f"/results/{JOB}", {"result": {}})
        self.call("POST", f"/results/{JOB}/clean", {"keep": False})
        self.call("DELETE", f"/jobs/{JOB}")
        code, answer, _ = self.daemon.call("POST", f"{self.jm.base}/quarantines/{quarantine['id']}/adopt")
        self.assertEqual((code, answer["adopted"]), (200, True), answer)
        self.assertEqual([entry["id"] for entry in
                          self.daemon.call("GET", f"{first.base}/jobs/{JOB}/checkpoints")[1]["checkpoints"]], [6])

    def test_a_storage_that_cannot_be_seen_keeps_the_discard(self):
        own = self.file("chk-6")
        self.checkpoint(6, private=[own])
        self.checkpoint(7)
        away = self.dir.with_name(self.dir.name + "-away")
        self.dir.rename(away)
        self.begin()
        self.commit(6, age=3 * HOUR)
        self.commit(7, age=2 * HOUR)
        self.assertIn("cannot be seen from here", self.outcome("last_discards")["message"])
        self.assertEqual(self.daemon.call("GET", "/v1/gc")[1]["failing"], 1)
        away.rename(self.dir)
        self.wait_finished(1)
        self.assertFalse(own.exists())

    def test_what_cannot_be_read_keeps_everything(self):
        own = self.file("chk-6")
        self.checkpoint(6, private=[own])
        path = self.checkpoint(7) / "_metadata"
        path.write_bytes(path.read_bytes()[:-1])
        self.begin()
        self.commit(6, age=3 * HOUR)
        self.commit(7, age=2 * HOUR)
        self.assertEqual(self.outcome("last_discards")["status"], "CORRUPT")
        self.assertEqual((own.exists(), self.discards()), (True, [6]))

    def test_a_sweep_is_counted_and_nothing_goes_unless_it_is_told_to(self):
        named, garbage, aborted, young = self.file("shared"), self.file("shared"), self.file("chk-3"), self.file("shared", age=60)
        kept = self.checkpoint(7, shared=[named]) / "_metadata"
        self.begin()
        self.commit(7, age=60)
        wait_until(self.job_gc, BOUND_S, "the job to be looked after")
        self.assertEqual(self.daemon.call("POST", f"{self.jm.base}/jobs/{JOB}/gc/run")[0], 409)
        self.call("POST", f"/jobs/{JOB}/gc/plan")
        plan = self.outcome("last_sweep")
        self.assertEqual((plan["what"], plan["status"], plan["to_go"], plan["files"]), ("plan", "OK", 2, 0))
        self.assertEqual(plan["reasons"], {"NAMED": 1, "METADATA": 1, "YOUNG": 1, "UNNAMED": 1, "ABORTED": 1})
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_text()[-4000:])
        self.daemon.settings.update(gc_policy="clean", gc_interval="100ms", gc_min__age="5min")
        self.daemon.start()
        wait_until(self.job_gc, BOUND_S, "the job to be looked after")
        self.call("POST", f"/jobs/{JOB}/gc/run")
        self.outcome("last_sweep", lambda outcome: outcome["what"] == "sweep")
        self.assertEqual(self.has(named, kept, young, garbage, aborted), [True] * 3 + [False] * 2)
        self.assertEqual(self.totals()["files"], 2)

    def killed(self, folder, begin, finished):
        """kill -9 again and again while files go; each time some have gone."""
        begin()
        for _ in range(3):
            count = len(list(folder.iterdir()))
            wait_until(lambda n=count: len(list(folder.iterdir())) < n, BOUND_S, "files to go")
            self.daemon.kill()
            self.assertTrue(list(folder.iterdir()), "too quick for this test")
            self.daemon.start()
        self.daemon.kill()
        self.daemon.settings["gc_rate"] = "0"
        self.daemon.start()
        wait_until(finished, BOUND_S, lambda: f"the end of it: {self.daemon.log_text()[-2000:]}")

    def test_kill_9_amid_a_discard(self):
        own, common = [self.file("shared") for _ in range(600)], self.file("shared")
        old = self.checkpoint(6, private=own[:300], shared=[*own[300:], common]) / "_metadata"
        kept = self.checkpoint(7, shared=[common]) / "_metadata"

        def begin():
            self.begin(gc_rate="5")
            self.commit(6, age=3 * HOUR)
            self.commit(7, age=2 * HOUR)
        self.killed(self.job / "shared", begin, lambda: self.discards() == [])
        self.assertEqual([path.name for path in (self.job / "shared").iterdir()], [common.name])
        self.assertEqual(self.has(old, kept), [False, True])

    def test_kill_9_amid_a_sweep(self):
        named = self.file("shared")
        kept = self.checkpoint(7, shared=[named]) / "_metadata"
        for _ in range(600):
            self.file("shared")

        def begin():
            self.begin(gc_policy="clean", gc_rate="5", gc_interval="200ms", gc_min__age="1s")
            self.commit(7, age=2 * HOUR)
        self.killed(self.job / "shared", begin, lambda: len(list((self.job / "shared").iterdir())) == 1)
        self.assertEqual(self.has(named, kept), [True, True])


class Folder(Tests, OnFolder, unittest.TestCase):
    def test_what_a_sweep_took_can_be_brought_back(self):
        garbage = self.file("shared")
        self.checkpoint(7)
        self.begin(gc_policy="clean", gc_interval="100ms", gc_min__age="1s")
        self.commit(7, age=60)
        plan = self.outcome("last_sweep", lambda outcome: outcome["plan"])["plan"]
        self.assertFalse(garbage.exists())
        self.daemon.stop()
        self.assertIn("1 file(s) are back", self.cli("gc", "undo", plan, "--job-folder", self.job))
        self.assertTrue(garbage.exists())


class Bucket(Tests, OnS3, unittest.TestCase):
    def test_two_thousand_files_of_a_discard_go_in_three_requests(self):
        own = [self.file("shared", size=0) for _ in range(2000)]
        old = self.checkpoint(6, private=own) / "_metadata"
        self.checkpoint(7)
        plan = Counting()
        proxy = FaultProxy(self.server.port, plan)
        self.addCleanup(proxy.stop)
        self.begin(s3_endpoint=proxy.url, gc_rate="0")
        self.commit(6, age=3 * HOUR)
        self.commit(7, age=2 * HOUR)
        self.wait_finished(1)
        self.assertEqual((any(self.has(*own)), old.exists()), (False, False))
        deletes = [request for request in plan.seen if request[0] == "DELETE" or (request[0] == "POST" and "delete" in request[1])]
        self.assertEqual(len(deletes), 3, deletes)
        self.assertLess(len(plan.seen), 40, plan.seen)  # with all that is listed and read for it


if __name__ == "__main__":
    unittest.main()
