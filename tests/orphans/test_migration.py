"""`holdfast export`, `import` and `repair` between a real API server, a real ZooKeeper and a real holdfastd: what arrives is what was
there, also when an import is killed; what is in the way is refused; what is broken is left out, and comes back."""
import argparse
import json
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rpc"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from base import BOUND_S, CLI, CONFLICT, Base  # noqa: E402
from harness import Daemon, JobManager  # noqa: E402
from lib import flink_ha, kube  # noqa: E402
from lib.flink_ha import _class, _utf  # noqa: E402
from lib.leftovers import _sample  # noqa: E402
from lib.zookeeper import ZooKeeper  # noqa: E402
from lib.zookeeper_client import Client  # noqa: E402

SETTINGS = {"kills": 10, "seed": 1}
SERVER = {}
STREAM = b"\xac\xed\x00\x05\x73"
TEXT = "Ljava/lang/String;"
CLUSTER = "orders"
COUNTER = 9
PLACES = ("kubernetes", "zookeeper", "holdfast")


def setUpModule():
    SERVER["work"] = tempfile.TemporaryDirectory(prefix="holdfast-migration-")
    SERVER["kube"] = kube.Kube(SERVER["work"].name)
    SERVER["kube"].start()
    SERVER["zookeeper"] = ZooKeeper(SERVER["work"].name).start()


def tearDownModule():
    SERVER["zookeeper"].stop()
    SERVER["kube"].stop()
    SERVER["work"].cleanup()


def string(text):
    return b"\x74" + _utf(text)


def metadata(number, state):
    """Version 3: one operator, whose state is in one file."""
    operator = b"\x11" * 16 + struct.pack(">ii", 1, 2) + b"\x00" + struct.pack(">iii", 1, 0, 1)
    managed = b"\x04" + struct.pack(">i", 0) + b"\x02" + struct.pack(">q", state.stat().st_size) + _utf(f"file:{state}")
    return struct.pack(">IIqii", 0x4960672d, 3, number, 0, 1) + operator + managed + struct.pack(">i", 0) + b"\x00\x00" + struct.pack(">ii", 0, 0)


def completed_checkpoint(number, external):
    fields = [("J", "checkpointID"), ("J", "completionTimestamp"), ("J", "timestamp"), ("L", "externalPointer", TEXT),
              ("L", "props", "Lorg/apache/flink/runtime/checkpoint/CheckpointProperties;")]
    return STREAM + _class("org.apache.flink.runtime.checkpoint.CompletedCheckpoint", fields, 0x8bfa6e933be66402) \
        + struct.pack(">qqq", number, 2000 + number, 1000 + number) + string(external) + _sample("flink_properties")[4:]


def plan(name):
    """The part of a job graph that says where the job begins."""
    mode = b"\x7e" + _class("org.apache.flink.core.execution.RecoveryClaimMode", [], 0, 0x12) + string("NO_CLAIM")
    settings = b"\x73" + _class("org.apache.flink.runtime.jobgraph.SavepointRestoreSettings",
                                [("Z", "allowNonRestoredState"), ("L", "recoveryClaimMode", "LRecoveryClaimMode;"), ("L", "restorePath", TEXT)])
    return STREAM + _class("org.apache.flink.runtime.jobgraph.JobGraph",
                           [("L", "jobName", TEXT), ("L", "savepointRestoreSettings", "LSavepointRestoreSettings;")]) \
        + string(name) + settings + b"\x00" + mode + b"\x70"


class Migration(Base):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SETTINGS["seed"])
        self.api = SERVER["kube"].api()
        self.namespace = f"m-{uuid.uuid4().hex[:10]}"
        self.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.root = f"/m-{uuid.uuid4().hex[:10]}"
        self.client = Client(SERVER["zookeeper"].port)
        self.addCleanup(self.client.close)
        self.job = uuid.uuid4().hex
        self.folder = self.scratch / "checkpoints" / self.job
        self.plan = self.storage.file(CLUSTER, "submittedExecutionPlan", plan("orders"))
        self.checkpoints = {number: self.checkpoint(number) for number in (6, 7, 8)}
        jar = self.storage.folder / CLUSTER / "blob" / f"job_{self.job}" / "blob_p-1"
        jar.parent.mkdir(parents=True)
        jar.write_bytes(b"a user's jar")
        self.archives_made = 0
        self._daemon = None

    def checkpoint(self, number):
        folder = self.folder / f"chk-{number}"
        folder.mkdir(parents=True)
        state = folder / "state"
        state.write_bytes(b"state of " + str(number).encode())
        (folder / "_metadata").write_bytes(metadata(number, state))
        return self.storage.file(CLUSTER, "completedCheckpoint", completed_checkpoint(number, f"file:{folder}"))

    def daemon(self):
        if self._daemon is None:
            self._daemon = Daemon().start()
            self.addCleanup(self._daemon.remove)
        return self._daemon

    # -- where it is

    def put(self, place):
        if place == "kubernetes":
            for each in flink_ha.config_maps(CLUSTER, {self.job: f"file:{self.plan}"},
                                             {self.job: {number: f"file:{path}" for number, path in self.checkpoints.items()}},
                                             namespace=self.namespace):
                self.api.call("POST", f"/api/v1/namespaces/{self.namespace}/configmaps", each)
            return
        if self.root[1:] not in self.client.children("/"):
            self.client.create(self.root)
        nodes = flink_ha.Znodes(self.client, CLUSTER, self.root)
        nodes.plan(self.job, f"file:{self.plan}")
        for number, path in self.checkpoints.items():
            nodes.checkpoint(self.job, number, f"file:{path}")
            self.client.delete(f"{self.root}/{CLUSTER}/jobs/{self.job}/checkpoints/{number:019}/locks/lock")
        nodes.node(f"{self.root}/{CLUSTER}/jobs/{self.job}/checkpoint_id_counter", struct.pack(">i", COUNTER))

    def where(self, option, place, cluster=CLUSTER):
        config = SERVER["kube"].kubeconfig("migration", {"token": SERVER["kube"].tokens["admin"]})
        return [f"--{option}", place, "--cluster-id", cluster, "--state-dir", self.state, "--timeout", BOUND_S // 2, *{
            "kubernetes": ["--kubeconfig", config, "-n", self.namespace],
            "zookeeper": ["--zookeeper", f"127.0.0.1:{SERVER['zookeeper'].port}", "--zookeeper-root", self.root],
            "holdfast": ["--endpoint", f"http://127.0.0.1:{self.daemon().port}"]}[place]]

    def cli(self, *arguments, code=0):
        done = subprocess.run([str(CLI), *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=BOUND_S)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done.stdout if code == 0 else done.stderr

    def export(self, place, *more, cluster=CLUSTER):
        self.archives_made += 1
        archive = self.scratch / f"archive-{self.archives_made}"
        self.cli("export", archive, *self.where("from", place, cluster), "--wait", *more)
        return archive

    def way(self, archive, place, *more, cluster=CLUSTER):
        return ["import", archive, *self.where("to", place, cluster), "--yes", "-o", "json", "--wait", *more]

    def load(self, archive, place, *more, cluster=CLUSTER):
        return json.loads(self.cli(*self.way(archive, place, *more, cluster=cluster)))

    def told(self, archive):
        """What an archive has, without where it was."""
        manifest = json.loads((archive / "manifest.json").read_text("utf-8"))
        job, = manifest["jobs"]
        payload = (archive / manifest["files"][job["plan"]]["kept_as"]).read_bytes()
        entries = [{key: entry[key] for key in ("id", "pointer", "started_ms", "completed_ms", "properties")} for entry in job["checkpoints"]]
        return {"job": job["id"], "plan": payload, "counter": job["counter"], "checkpoints": entries,
                "blobs": [blob["name"] for blob in manifest["blobs"]]}

    # -- the ways

    def test_what_arrives_is_what_was_there(self):
        for source in ("kubernetes", "zookeeper"):
            self.put(source)
            archive = self.export(source)
            before = self.told(archive)
            self.assertEqual([entry["id"] for entry in before["checkpoints"]], [6, 7, 8])
            self.assertEqual((before["job"], before["counter"], before["plan"]), (self.job, COUNTER, plan("orders")))
            self.assertEqual(before["checkpoints"][0]["properties"]["discard_on"], ["subsumed", "finished"])
            self.assertEqual((before["checkpoints"][0]["started_ms"], before["checkpoints"][0]["completed_ms"]), (1006, 2006))
            for target in PLACES:
                with self.subTest(source=source, target=target):
                    there = f"{source}-to-{target}"
                    done = self.load(archive, target, "--storage-dir", f"file:{self.scratch}/other", cluster=there)
                    self.assertEqual(done["result"], "imported")
                    self.assertGreater(done["changed"], 0)
                    self.assertEqual(self.told(self.export(target, "--storage-dir", f"file:{self.scratch}/other", cluster=there)), before)
                    again = self.load(archive, target, "--storage-dir", f"file:{self.scratch}/other", cluster=there)
                    self.assertEqual(again["result"], "imported")

    def test_from_holdfast_a_plan_begins_from_the_newest_checkpoint(self):
        self.put("zookeeper")
        self.load(self.export("zookeeper"), "holdfast")
        archive = self.export("holdfast")
        for target in ("kubernetes", "zookeeper"):
            done = self.load(archive, target, "--storage-dir", f"file:{self.scratch}/other", cluster="there")
            self.assertEqual(done["plan"]["jobs"][0]["restore"], f"file:{self.folder}/chk-8")
            arrived = self.told(self.export(target, cluster="there"))
            self.assertEqual((arrived["checkpoints"], arrived["counter"]), ([], COUNTER))
            self.assertIn(string(f"file:{self.folder}/chk-8"), arrived["plan"])
            self.assertNotIn(b"NO_CLAIM", arrived["plan"])

    def test_files_move_and_paths_with_them(self):
        self.put("kubernetes")
        archive = self.export("kubernetes", "--with-files")
        old, new = f"file:{self.scratch}/checkpoints", f"file:{self.scratch}/moved/here"
        shutil.rmtree(self.scratch / "checkpoints")
        for target in PLACES:
            self.load(archive, target, "--rewrite", f"{old}={new}", cluster="there")
            arrived = self.told(self.export(target, cluster="there"))
            self.assertEqual([entry["pointer"] for entry in arrived["checkpoints"]],
                             [f"{new}/{self.job}/chk-{number}" for number in (6, 7, 8)])
        state = self.scratch / "moved" / "here" / self.job / "chk-8" / "state"
        self.assertEqual(state.read_bytes(), b"state of 8")
        self.assertEqual((state.parent / "_metadata").read_bytes(), metadata(8, state))

    def test_without_its_files_a_checkpoint_is_not_imported(self):
        self.put("kubernetes")
        archive = self.export("kubernetes")
        (self.folder / "chk-7" / "state").unlink()
        said = self.cli(*self.way(archive, "holdfast"), code=CONFLICT)
        self.assertIn("chk-7 is not whole", said)
        self.assertEqual(self.daemon().call("GET", "/v1/clusters")[1]["clusters"], [])

    def test_other_state_is_in_the_way(self):
        self.put("kubernetes")
        archive = self.export("kubernetes")
        first = self.checkpoints.pop(8)
        self.job, kept = uuid.uuid4().hex, self.job
        for place in PLACES:
            with self.subTest(place=place):
                if place == "zookeeper":
                    self.put(place)
                elif place == "holdfast":
                    self.put_other(kept)
                target = CLUSTER
                if place == "kubernetes":  # the source itself, which has gone on
                    name = f"{CLUSTER}-{kept}-config-map"
                    now = self.api.call("GET", f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")
                    now["data"]["counter"] = "10"
                    self.api.call("PUT", f"/api/v1/namespaces/{self.namespace}/configmaps/{name}", now)
                said = self.cli(*self.way(archive, place, "--storage-dir", f"file:{self.scratch}/other", cluster=target), code=CONFLICT)
                self.assertIn("other state", said)
                self.assertFalse((self.scratch / "other").exists(), "files were written although it was refused")
        self.assertTrue(first.exists())

    def put_other(self, job):
        """The same job at another checkpoint, by hand."""
        somebody = JobManager(self.daemon(), CLUSTER).wait_granted()
        self.assertEqual(somebody.commit(job, 8)[0], 200)
        self.assertEqual(somebody.daemon.call("DELETE", f"{somebody.base}/sessions/{somebody.sid}")[0], 200)

    def test_undo_leaves_nothing_behind(self):
        self.put("kubernetes")
        archive = self.export("kubernetes", "--with-files")
        for target in PLACES:
            more = ["--storage-dir", f"file:{self.scratch}/other-{target}", "--rewrite", f"file:{self.scratch}/checkpoints=file:{self.scratch}/c-{target}"]
            self.load(archive, target, *more, cluster="there")
            self.load(archive, target, *more, "--undo", cluster="there")
            for folder in (f"other-{target}", f"c-{target}"):
                left = [path for path in (self.scratch / folder).rglob("*") if path.is_file()]
                self.assertEqual(left, [], target)
            self.assertTrue(self.plan.exists() and (self.folder / "chk-8" / "state").exists())
            self.cli("export", self.scratch / "none", *self.where("from", target, "there"), code=4)


    # -- kill -9

    def run_killed(self, argv, took):
        """True: it was killed before its end."""
        child = subprocess.Popen([str(CLI), *map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, said = child.communicate(timeout=took * self.random.uniform(0.05, 1.0))
            self.assertEqual(child.returncode, 0, said)
            return False
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate(timeout=BOUND_S)
            return child.returncode != 0

    def test_kills(self):
        self.put("zookeeper")
        archive = self.export("zookeeper", "--with-files")
        before = self.told(archive)
        for target in PLACES:
            killed, took = {"import": 0, "undo": 0}, None
            for number in range(SETTINGS["kills"]):
                there = f"{target}-{number}"
                more = ["--storage-dir", f"file:{self.scratch}/{there}", "--rewrite", f"file:{self.scratch}/checkpoints=file:{self.scratch}/c-{there}"]
                way = self.way(archive, target, *more, cluster=there)
                if took is None:
                    began = time.monotonic()
                    self.cli(*self.way(archive, target, *more, cluster=f"{there}-timed"))
                    took = time.monotonic() - began
                    self.cli(*self.way(archive, target, *more, "--undo", cluster=f"{there}-timed"))
                killed["import"] += self.run_killed(way, took)
                if number % 2:  # half of it goes away again, killed as well
                    killed["undo"] += self.run_killed([*way, "--undo"], took)
                    self.cli(*way, "--undo")
                    # A write that was killed leaves its temporary file, which nobody reads.
                    left = [path for path in (self.scratch / there).rglob("*") if path.is_file() and path.suffix != ".tmp"]
                    self.assertEqual(left, [])
                self.cli(*way)
                arrived = self.told(self.export(target, "--storage-dir", f"file:{self.scratch}/{there}", cluster=there))
                self.assertEqual((arrived["plan"], arrived["counter"], arrived["blobs"]), (before["plan"], COUNTER, before["blobs"]))
                self.assertEqual([entry["id"] for entry in arrived["checkpoints"]], [6, 7, 8])
                self.cli("repair", *self.where("in", target, there), "--dry-run")
            print(json.dumps({target: killed}))

    # -- repairs

    def newest(self, place):
        return [entry["id"] for entry in self.told(self.export(place))["checkpoints"]]

    def repair(self, place, *arguments, code=0):
        return self.cli("repair", *arguments, *self.where("in", place), "--yes", *(["-o", "json"] if code == 0 else []), code=code)

    def test_a_job_goes_on_from_the_newest_whole_checkpoint(self):
        for place in ("kubernetes", "zookeeper"):
            with self.subTest(place=place):
                self.put(place)
                content = self.checkpoints[8].read_bytes()
                self.checkpoints[8].unlink()
                (self.folder / "chk-7" / "state").rename(self.scratch / "aside")
                self.assertIn("is gone", self.cli("export", self.scratch / "none", *self.where("from", place), code=CONFLICT))
                self.cli("repair", *self.where("in", place), "--dry-run")
                self.cli("export", self.scratch / "none", *self.where("from", place), code=CONFLICT)
                done = json.loads(self.repair(place))
                self.assertEqual([(each["keep"], [broken["id"] for broken in each["broken"]]) for each in done["repairs"]], [(6, [7, 8])])
                self.assertEqual(self.newest(place), [6])
                again = json.loads(self.repair(place))
                self.assertEqual(again["repairs"], [])
                self.checkpoints[8].write_bytes(content)
                (self.scratch / "aside").rename(self.folder / "chk-7" / "state")
                self.repair(place, done["archive"], "--undo")
                self.assertEqual(self.newest(place), [6, 7, 8])
                self.repair(place, done["archive"], "--undo")

    def test_what_has_gone_on_since_is_not_undone(self):
        self.put("zookeeper")
        self.checkpoints[8].unlink()
        done = json.loads(self.repair("zookeeper"))
        self.client.create(f"{self.root}/{CLUSTER}/jobs/{self.job}/checkpoints/{9:019}", flink_ha.handle(f"file:{self.checkpoints[7]}"))
        self.assertIn("gone on", self.repair("zookeeper", done["archive"], "--undo", code=CONFLICT))

    def test_nothing_is_repaired_without_a_whole_checkpoint(self):
        self.put("kubernetes")
        for path in self.checkpoints.values():
            path.unlink()
        self.assertIn("no checkpoint that is whole", self.repair("kubernetes", code=CONFLICT))

    def test_in_holdfast_broken_checkpoints_go_into_quarantine(self):
        self.put("kubernetes")
        self.load(self.export("kubernetes"), "holdfast")
        (self.folder / "chk-8" / "_metadata").unlink()
        done = json.loads(self.repair("holdfast"))
        self.assertEqual([(each["keep"], [broken["id"] for broken in each["broken"]]) for each in done["repairs"]], [(7, [8])])
        self.assertEqual(self.newest("holdfast"), [6, 7])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=SETTINGS["kills"], help="for each store")
    parser.add_argument("--seed", type=int, default=SETTINGS["seed"])
    options, rest = parser.parse_known_args()
    SETTINGS.update(vars(options))
    unittest.main(argv=[sys.argv[0], *rest])
