"""`holdfast gc` for Flink clusters that are not on Holdfast: HA metadata in a real ZooKeeper and a real API server."""
import json
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink_ha, kube, zookeeper  # noqa: E402
from lib.zookeeper_client import Client  # noqa: E402
from test_gc_cli import DAYS, JOB, OTHER, Base  # noqa: E402
from test_gc_leftovers import Leftovers  # noqa: E402


class Scene(Leftovers):
    """A storage folder, and beside it a job's checkpoints."""

    def setUp(self):
        super().setUp()
        self.checkpoints = Path(self.scratch.name) / "ck"
        self.job = self.checkpoints / JOB
        self.job.mkdir(parents=True)
        self.sources += ("--state-dir", self.scratch.name)

    def retained(self, number, external, age):
        """The file behind a checkpoint's entry."""
        path = self.state()
        path.write_bytes(flink_ha.completed_checkpoint(number, f"file:{external}", int((time.time() - age) * 1000)))
        return path

    def observed(self, verb, *arguments, code=0):
        return self.cli("gc", verb, "c1", JOB, *self.sources, *arguments, code=code)

    def verdicts(self, *arguments):
        answer = json.loads(self.observed("plan", "-o", "json", *arguments))
        return {self.job / entry["path"]: entry["reason"] for entry in answer["files"]}

    def check_leftovers(self):
        """What the sources name, and the leftovers beside it, were made by the caller: (kept, left)."""
        kept, left = self.kept, self.left
        others = {self.state(age=60): "HA_YOUNG", self.state("c2"): "HA_UNPROVEN", self.blob("job_" + JOB): "HA_JOB"}
        left += [self.blob("job_" + OTHER)]
        self.assertEqual(self.reasons(), {**{path: "HA_NAMED" for path in kept}, **{path: "HA_LEFT" for path in left}, **others})
        before = self.tree()
        self.assertIn("--apply", self.ha("run", "--yes", "-o", "table"))
        self.assertEqual(self.tree(), before)
        run = self.run_ha("--apply")
        self.assertEqual((run["files"], run["trash"]), (len(left), True))
        self.assertEqual(self.files(), {str(path) for path in (*kept, *others)})
        self.ha("undo", run["plan"])
        self.assertEqual(self.tree(), before)


class WithZooKeeper(Scene):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="holdfast-gc-zk-")
        cls.server = zookeeper.ZooKeeper(cls.work.name).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.work.cleanup()

    def setUp(self):
        self.root = "/" + self.id().rpartition(".")[2]
        self.sources = ("--zookeeper", f"127.0.0.1:{self.server.port}", "--zookeeper-root", self.root)
        super().setUp()
        self.client = Client(self.server.port)
        self.addCleanup(self.client.close)
        self.znodes = flink_ha.Znodes(self.client, root=self.root)

    def test_files_that_no_znode_names_are_left_over(self):
        plan, newest = self.state(kind="submittedExecutionPlan"), self.retained(7, self.job / "chk-7", 3600)
        self.znodes.lead()
        self.znodes.plan(JOB, f"file:{plan}")
        self.znodes.checkpoint(JOB, 7, f"file:{newest}")
        self.kept, self.left = [plan, newest], [self.state(), self.state(kind="submittedJobGraph")]
        self.check_leftovers()
        self.assertIn("has a leader", self.ha("plan", "--ended-cluster", "c1", code=5))

    def test_a_cluster_that_has_ended_keeps_what_would_revive_its_job(self):
        plan, left = self.state(kind="submittedExecutionPlan"), self.state()
        self.znodes.plan(JOB, f"file:{plan}")
        result = self.put(f"job-result-store/c1/{OTHER}.json")
        self.assertEqual(self.reasons("--ended-cluster", "c1"), {plan: "HA_NAMED", left: "HA_ENDED", result: "HA_ENDED"})

    def test_an_entry_that_is_not_understood_keeps_its_cluster(self):
        named, left = self.state(), self.state()
        self.znodes.checkpoint(JOB, 7, f"file:{named}")
        self.znodes.node(f"{self.znodes.base}/jobs/{JOB}/checkpoints/{8:019}", b"what is this?")
        self.assertEqual(self.reasons(), {named: "HA_NAMED", left: "HA_UNREADABLE"})
        self.assertIn("not understood", self.observed("plan", code=8))

    def test_what_a_job_retains_is_told_by_its_znodes(self):
        savepoint = Path(self.scratch.name) / "savepoint-012345-0123456789ab"
        named, theirs, old, young = (self.file("shared"), self.file("shared"), self.file("shared"),
                                     self.file("shared", age=3.5 * 3600))
        self.checkpoint(5)
        self.checkpoint(7, shared=[named])
        self.checkpoint(1, job=Path(self.scratch.name), shared=[theirs]).rename(savepoint)
        self.znodes.lead()
        self.znodes.plan(JOB, f"file:{self.state(kind='submittedExecutionPlan')}")
        self.znodes.checkpoint(JOB, 1, f"file:{self.retained(1, savepoint, 9 * DAYS)}")
        newest = self.retained(7, self.job / "chk-7", 3 * 3600)
        self.znodes.checkpoint(JOB, 7, f"file:{newest}")
        expected = {named: "NAMED", theirs: "NAMED", old: "UNNAMED", young: "YOUNG",
                    self.job / "chk-5" / "_metadata": "METADATA", self.job / "chk-7" / "_metadata": "METADATA"}
        self.assertEqual(self.verdicts(), expected)
        unlisted = self.verdicts("--unlisted")
        self.assertEqual(unlisted, {**expected, self.job / "chk-5" / "_metadata": "DISCARDED"})
        self.assertIn("running", self.observed("plan", "--ended", code=5))
        self.observed("run", "--yes")
        self.assertTrue(old.exists())
        self.assertEqual(json.loads(self.observed("run", "--yes", "--apply", "-o", "json"))["files"], 1)
        self.assertFalse(old.exists())
        newest.unlink()
        self.assertIn("what it names is not known", self.observed("plan", code=8))

    def test_everything_that_can_be_restored_is_listed_across_jobs(self):
        lost, savepoint = self.file("shared"), self.checkpoints / "savepoint-012345-0123456789ab"
        self.checkpoint(7, age=3 * DAYS, shared=[lost])
        self.checkpoint(2, job=self.checkpoints / OTHER, age=2 * DAYS)
        self.checkpoint(1, job=self.checkpoints, age=DAYS).rename(savepoint)
        lost.unlink()
        self.znodes.checkpoint(JOB, 7, f"file:{self.retained(7, self.job / 'chk-7', 3600)}")
        found = json.loads(self.cli("checkpoints", "list", "c1", *self.sources, "-o", "json"))["checkpoints"]
        self.assertEqual([(entry["folder"], entry["job"], entry["id"], entry["state"]) for entry in found], [
            (str(savepoint), "", 1, "whole"), (f"{self.checkpoints}/{OTHER}/chk-2", OTHER, 2, "whole"),
            (f"{self.job}/chk-7", JOB, 7, "files missing or of another size")])
        self.cli("checkpoints", "list", "c2", *self.sources, code=4)

    def test_a_cluster_that_is_not_there_and_an_ensemble_that_does_not_answer(self):
        self.observed("plan", "--zookeeper-root", "/nothing", code=4)
        self.state()
        self.ha("plan", "--zookeeper", "127.0.0.1:1", "--timeout", "2", code=8)


class WithKubernetes(Scene):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="holdfast-gc-kube-")
        cls.server = kube.Kube(cls.work.name).start()
        cls.config = cls.server.kubeconfig("admin", user={"token": cls.server.tokens["admin"]})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.work.cleanup()

    def setUp(self):
        self.sources = ("--kubeconfig", self.config, "-A")
        super().setUp()

    def make(self, **more):
        api = self.server.api()
        for thing in flink_ha.config_maps(**more):
            place = "/api/v1/namespaces/default/configmaps"
            api.call("POST", place, thing)
            self.addCleanup(api.call, "DELETE", f"{place}/{thing['metadata']['name']}")

    def test_files_that_no_config_map_names_are_left_over(self):
        plan, newest = self.state(kind="submittedExecutionPlan"), self.retained(7, self.job / "chk-7", 3600)
        self.make(plans={JOB: f"file:{plan}"}, checkpoints={JOB: {7: f"file:{newest}"}}, leads=True)
        self.kept, self.left = [plan, newest], [self.state(), self.state(kind="submittedJobGraph")]
        self.check_leftovers()

    def test_one_namespace_alone_proves_nothing(self):
        named, left = self.state(), self.state()
        self.make(checkpoints={JOB: {7: f"file:{named}"}})
        self.sources = self.sources[:2] + self.sources[3:]
        self.assertEqual(self.reasons(), {named: "HA_NAMED", left: "HA_PARTIAL"})
        self.assertEqual(self.reasons("--sole"), {named: "HA_NAMED", left: "HA_LEFT"})
        self.assertEqual(self.reasons("-n", "holdfast", "--sole"), {named: "HA_LEFT", left: "HA_LEFT"})

    def test_what_a_job_retains_is_told_by_its_config_map(self):
        named, old = self.file("shared"), self.file("shared")
        self.checkpoint(7, shared=[named])
        self.make(plans={JOB: f"file:{self.state(kind='submittedExecutionPlan')}"},
                  checkpoints={JOB: {7: f"file:{self.retained(7, self.job / 'chk-7', 3600)}"}}, leads=True)
        self.assertEqual(self.verdicts(), {named: "NAMED", old: "UNNAMED", self.job / "chk-7" / "_metadata": "METADATA"})

    def test_who_may_not_look_makes_no_plan(self):
        self.state()
        nobody = self.server.kubeconfig("nobody", user={"token": self.server.tokens["nobody"]})
        self.ha("plan", "--kubeconfig", nobody, code=2)


del Base, Leftovers, Scene

if __name__ == "__main__":
    unittest.main(warnings="ignore")
