"""`holdfast gc --ha-folder`: leftovers in high-availability.storageDir, with each source of HA metadata."""
import json
import os
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_gc_cli import DAYS, JOB, OTHER, Base  # noqa: E402
from harness import Daemon, JobManager  # noqa: E402


class Leftovers(Base):
    """`dir` is the storage folder; `sources` the options that say where HA metadata is."""
    sources = ()

    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="holdfast-leftovers-")
        self.dir = Path(self.scratch.name) / "ha"
        self.dir.mkdir()

    def put(self, path, age=30 * DAYS):
        path = self.dir / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(10))
        os.utime(path, (time.time() - age,) * 2)
        return path

    def state(self, cluster="c1", kind="completedCheckpoint", age=30 * DAYS):
        return self.put(f"{cluster}/{kind}{os.urandom(6).hex()}", age)

    def blob(self, group, cluster="c1"):
        return self.put(f"{cluster}/blob/{group}/blob_p-{uuid.uuid4().hex}")

    def ha(self, verb, *arguments, code=0):
        return self.cli("gc", verb, "--ha-folder", self.dir, *self.sources, *arguments, code=code)

    def reasons(self, *arguments):
        answer = json.loads(self.ha("plan", "-o", "json", *arguments))
        return {self.dir / entry["path"]: entry["reason"] for entry in answer["files"]}

    def run_ha(self, *arguments):
        return json.loads(self.ha("run", "--yes", "-o", "json", *arguments))

    def files(self):
        return {path for path in self.tree()}


class WithoutEvidence(Leftovers):
    def test_nothing_is_known_so_all_stays_with_a_reason(self):
        put = {self.state(): "HA_NOT_READ", self.blob("job_" + JOB): "HA_NOT_READ", self.put("c1/notes"): "FOREIGN",
               self.put(f"job-result-store/c1/{JOB}.json"): "HA_RESULT"}
        self.assertEqual(self.reasons(), put)
        self.assertEqual(self.reasons("--sole"), put)
        ended = self.reasons("--ended-cluster", "c1")
        self.assertEqual(set(ended.values()), {"HA_NOT_READ", "FOREIGN"})
        self.assertEqual(self.run_ha("--ended-cluster", "c1")["planned"], 0)

    def test_it_is_about_no_job(self):
        self.ha("plan", "--job-folder", self.dir / JOB, code=2)
        self.ha("plan", "c1", JOB, code=2)


class WithHoldfast(Leftovers):
    """Clusters on Holdfast keep nothing here but blobs, and what they kept before they were on it."""

    def setUp(self):
        super().setUp()
        self.daemon = Daemon().start()
        self.addCleanup(self.daemon.remove)
        self.sources = ("--holdfast", "--endpoint", f"http://127.0.0.1:{self.daemon.port}")
        self.jm = JobManager(self.daemon, cluster="c1").wait_granted()
        code, answer, _ = self.jm.call("PUT", f"/graphs/{JOB}", b"graph", {"Content-Type": "application/octet-stream"})
        self.assertEqual(code, 200, answer)

    def register(self):
        code, answer, _ = self.daemon.call("POST", self.jm.base + "/sessions", {
            "session": os.urandom(16).hex(), "holder": "x", "ttl_ms": 300000, "storage_dir": f"file:{self.dir}/"})
        self.assertEqual(code, 200, answer)

    def test_what_its_jobs_need_stays_and_what_nobody_names_goes(self):
        mine, theirs, state, young = (self.blob("job_" + JOB), self.blob("job_" + OTHER), self.state(kind="submittedJobGraph"),
                                      self.state(age=60))
        result, elsewhere = self.put(f"job-result-store/c1/{OTHER}_DIRTY.json"), self.state(cluster="c2")
        self.assertEqual(set(self.reasons().values()), {"HA_JOB", "HA_RESULT", "HA_UNPROVEN"})
        self.register()
        self.assertEqual(self.reasons(), {mine: "HA_JOB", theirs: "HA_LEFT", state: "HA_LEFT", young: "HA_YOUNG",
                                          result: "HA_RESULT", elsewhere: "HA_UNPROVEN"})
        before = self.tree()
        run = self.run_ha()
        self.assertEqual((run["files"], run["trash"]), (2, True))
        self.assertEqual(self.files(), {str(path) for path in (mine, young, result, elsewhere)})
        self.assertTrue((self.dir / ".holdfast" / "trash" / run["plan"] / state.relative_to(self.dir)).is_file())
        self.assertIn("2 file(s) are back", self.ha("undo", run["plan"]))
        self.assertEqual(self.tree(), before)
        self.assertEqual(self.run_ha("--delete")["files"], 2)
        states = [plan["state"] for plan in json.loads(self.ha("status", "-o", "json"))["plans"]]
        self.assertEqual(sorted(states), ["done", "undone"])

    def test_a_cluster_that_has_ended_goes_whole(self):
        self.register()
        for path in ("c2/completedCheckpoint0a1b2c3d4e5f", f"c2/blob/job_{OTHER}/blob_p-1", "c2/blob/no_job/blob_t-1",
                     f"job-result-store/c2/{OTHER}_DIRTY.json", f"application-result-store/c2/{OTHER}.json"):
            self.put(path)
        kept = self.state(age=60)
        self.assertIn("has a leader", self.ha("plan", "--ended-cluster", "c1", code=5))
        self.assertEqual(self.run_ha("--ended-cluster", "/c2", "--min-age", "1h")["files"], 5)
        left = sorted(str(path.relative_to(self.dir)) for path in self.dir.rglob("*") if ".holdfast" not in path.parts)
        self.assertEqual(left, ["application-result-store", "c1", str(kept.relative_to(self.dir)), "job-result-store"])

    def test_a_daemon_that_does_not_answer_makes_no_plan(self):
        self.state()
        self.daemon.kill()
        self.ha("plan", code=8)


del Base

if __name__ == "__main__":
    unittest.main(warnings="ignore")
