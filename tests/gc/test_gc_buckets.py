"""`holdfast gc` on buckets: of a real S3 server, whose objects are files that can be given their age here, and of the OSS
server of the tests; and on a real HDFS that is not mounted (with --hdfs, alone)."""
import getpass
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import hdfs, http, oss, s3  # noqa: E402
from lib.failure import wait_until  # noqa: E402
from test_gc_cli import BOUND_S, CLI, DAYS, JOB, OTHER, Base  # noqa: E402
from harness import Daemon  # noqa: E402


class InBucket(Base):
    """`store`: the bucket as a folder; `key` of a path: below it."""
    scheme = alias = server = None
    many, killed, copies = 1100, 400, True

    def setUp(self):
        super().setUp()
        self.dir = self.store / self.id().split(".")[-1]
        self.job = self.dir / JOB
        self.job.mkdir(parents=True)
        self.settings = Path(self.scratch.name) / "holdfast.yaml"
        self.settings.write_text("".join(f"{key}: {value}\n" for key, value in self.server_settings().items()))

    def server_settings(self):
        return self.server.settings()

    def harm(self):
        """What to replace in the settings by what."""
        return self.server.secret_key, "another"

    def key(self, path):
        return str(path.relative_to(self.store))

    def uri(self, path, scheme=None):
        return f"{scheme or self.scheme}://{self.server.bucket}/{self.key(path)}"

    def options(self):
        return "--config", self.settings, "--state-dir", self.scratch.name

    def gc(self, verb, *arguments, code=0):
        return self.cli("gc", verb, "--job-folder", self.uri(self.job), *self.options(), *arguments, code=code)

    def checkpoint(self, number, job=None, age=30 * DAYS, **files):
        """References are URIs of Flink's file system."""
        folder = super().checkpoint(number, job, age, **files)
        path = folder / "_metadata"
        text = path.read_bytes()
        for paths in files.values():
            for each in paths:
                old, new = f"file:{each}".encode(), self.uri(each, self.alias).encode()
                text = text.replace(len(old).to_bytes(2, "big") + old, len(new).to_bytes(2, "big") + new)
        times = path.stat()
        path.write_bytes(text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.put(path)
        return folder

    def file(self, *place, **more):
        path = super().file(*place, **more).resolve()
        self.put(path)
        return path

    def put(self, path):
        """The file is an object with its age."""

    def objects(self):
        """{key below the test's folder: body}"""
        raise NotImplementedError

    def tree(self):
        return {key: body for key, body in self.objects().items() if not key.startswith(".holdfast/")}

    def trash(self):
        return [key for key in self.objects() if key.startswith(".holdfast/trash/")]

    def has(self, *paths):
        return [str(path.relative_to(self.dir)) in self.objects() for path in paths]


class Tests:
    def test_what_goes_and_what_stays(self):
        named, theirs, own = self.file("shared"), self.file("shared"), self.file("chk-7")
        self.checkpoint(7, shared=[named], private=[own])
        self.checkpoint(2, job=self.dir / OTHER, shared=[theirs])
        garbage, aborted, young, pending = (self.file("shared"), self.file("chk-3"), self.file("shared", age=60),
                                            self.file("chk-9"))
        reasons, summary = self.plan()
        self.assertEqual(reasons, {self.relative(path): reason for path, reason in {
            named: "NAMED", theirs: "NAMED", own: "NAMED", self.job / "chk-7" / "_metadata": "METADATA", garbage: "UNNAMED",
            aborted: "ABORTED", young: "YOUNG", pending: "PENDING"}.items()})
        self.assertEqual(summary["checkpoints"], {"kept": 1, "discarded": 0, "elsewhere": 1, "unreadable": 0})
        self.assertEqual(self.run_gc("--delete")["files"], 2)
        self.assertEqual(self.has(garbage, aborted, named, theirs, own, young, pending), [False] * 2 + [True] * 5)
        self.assertEqual(self.trash(), [])
        state, = json.loads(self.gc("status", "-o", "json"))["plans"]
        self.assertEqual((state["state"], state["files"]), ("done", 2))

    def test_many_objects_go_in_few_requests(self):
        self.checkpoint(7)
        for _ in range(self.many):
            self.file("shared", size=0)
        self.assertEqual(self.run_gc("--delete")["files"], self.many)
        self.assertEqual(list(self.tree()), [f"{JOB}/chk-7/_metadata"])

    def test_a_damaged_metadata_keeps_everything(self):
        self.file("shared")
        path = self.checkpoint(7) / "_metadata"
        path.write_bytes(path.read_bytes()[:-1])
        self.put(path)
        self.assertEqual(set(self.plan("--ended")[0].values()), {"UNREADABLE"})

    def test_a_server_that_refuses_makes_no_plan(self):
        self.checkpoint(7)
        self.settings.write_text(self.settings.read_text().replace(*self.harm()))
        self.assertIn(self.scheme, self.gc("plan", code=8))


    def test_what_went_can_be_brought_back_as_it_was(self):
        named = self.file("shared")
        self.checkpoint(7, shared=[named])
        garbage = [self.file("shared") for _ in range(30)]
        before = self.tree()
        self.assertEqual("30 copies" in self.gc("plan"), self.copies)
        run = self.run_gc()
        self.assertEqual((run["trash"], run["files"]), (True, 30))
        self.assertEqual(self.has(named, *garbage), [True] + [False] * 30)
        self.assertEqual(len(self.trash()), 30)
        self.assertEqual(self.run_gc()["planned"], 0)  # the trash is not swept
        self.assertIn("30 file(s) are back", self.gc("undo", run["plan"]))
        self.assertEqual(self.tree(), before)
        self.assertEqual(self.trash(), [])
        state, = json.loads(self.gc("status", "-o", "json"))["plans"]
        self.assertEqual(state["state"], "undone")

    def test_undo_writes_over_nothing(self):
        self.checkpoint(7)
        garbage = self.file("shared")
        plan = self.run_gc()["plan"]
        self.file("shared", name=garbage.name, size=11)
        other = self.tree()
        self.assertIn("something else has their name", self.gc("undo", plan, code=5))
        self.assertEqual(self.tree(), other)
        self.assertEqual(len(self.trash()), 1)

    def test_leftovers_of_ha_go_into_a_trash_inside(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.remove)
        left = [self.file(f"../c1/{place}", name=name) for place, name in (
            (".", "completedCheckpoint0a1b2c3d4e5f"), (f"blob/job_{JOB}", "blob_p-1"))]
        young = self.file("../c1", name="submittedJobGraph0a1b2c3d4e5f", age=60)
        before = self.tree()

        def ha(verb, *arguments):
            return self.cli("gc", verb, "--ha-folder", self.uri(self.dir), *self.options(), *arguments)
        run = json.loads(ha("run", "--holdfast", "--sole", "--endpoint", f"http://127.0.0.1:{daemon.port}", "--yes", "-o", "json"))
        self.assertEqual(run["files"], 2)
        self.assertEqual(self.has(young, *left), [True, False, False])
        self.assertEqual(len(self.trash()), 2)
        self.assertIn("2 file(s) are back", ha("undo", run["plan"]))
        self.assertEqual(self.tree(), before)
        self.assertEqual(self.trash(), [])

    def test_purge_empties_the_trash(self):
        self.checkpoint(7)
        self.file("shared")
        run = self.run_gc()
        folder = "--folder", self.uri(self.dir), *self.options()
        self.assertIn("0 file(s)", self.cli("gc", "purge", "--yes", *folder))
        self.assertIn("1 file(s) of 1 plan(s)", self.cli("gc", "purge", "--yes", "--older-than", "0s", *folder))
        self.assertEqual(self.trash(), [])
        self.gc("undo", run["plan"], code=5)

    def test_a_run_that_was_killed_is_undone_whole(self):
        self.checkpoint(7)
        garbage = [self.file("shared") for _ in range(self.killed)]
        before = self.tree()
        run = subprocess.Popen([CLI, "gc", "run", "--job-folder", self.uri(self.job), *map(str, self.options()), "--yes",
                                "--rate", "20"], stdout=subprocess.DEVNULL)
        try:
            wait_until(self.trash, BOUND_S, "the first object in the trash")
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()
        gone = len(self.trash())
        self.assertTrue(0 < gone < self.killed, gone)
        state, = json.loads(self.gc("status", "-o", "json"))["plans"]
        self.assertEqual(state["state"], "interrupted")
        # As when it is killed between a copy and the removal.
        first = next(path for path in garbage if self.has(path)[0])
        self.twin(first, self.dir / ".holdfast" / "trash" / state["id"] / first.relative_to(self.dir))
        # The undo is killed as well, as soon as something is back; if it is quicker than that, it is done.
        left = len(self.tree())
        undo = subprocess.Popen([CLI, "gc", "undo", state["id"], "--job-folder", self.uri(self.job), *map(str, self.options())],
                                stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: undo.poll() is not None or len(self.tree()) > left, BOUND_S, "the first object to be back")
        finally:
            undo.send_signal(signal.SIGKILL)
            undo.wait()
        self.assertIn("are back", self.gc("undo", state["id"]))
        self.assertEqual(self.tree(), before)
        self.assertEqual(self.trash(), [])
        # A copy is as young as it is, so what is back would stay for a day.
        self.assertEqual(self.run_gc("--min-age", "0s")["files"], self.killed)

    def test_pins_and_single_deletions(self):
        own, other = self.file("chk-7"), self.file("chk-8")
        old, new = self.checkpoint(7, private=[own]), self.checkpoint(8, private=[other])
        uri = self.uri(old)
        listed = json.loads(self.cli("checkpoints", "list", "--folder", self.uri(self.dir), "-o", "json", *self.options()))
        self.assertEqual({entry["folder"]: entry["state"] for entry in listed["checkpoints"]},
                         {uri: "whole", self.uri(new): "whole"})
        self.assertIn("every file is there", self.cli("checkpoints", "verify", uri, *self.options()))
        self.assertIn("checkpoint", self.cli("checkpoints", "show", uri, *self.options()))
        self.cli("checkpoints", "pin", uri, *self.options())
        self.assertIn("pinned", self.cli("checkpoints", "delete", uri, "--yes", *self.options(), code=5))
        self.cli("checkpoints", "unpin", uri, *self.options())
        self.cli("checkpoints", "delete", uri, "--yes", *self.options())
        self.assertEqual(self.has(own, old / "_metadata", other, new / "_metadata"), [False, False, True, True])
        self.assertEqual(len(self.trash()), 2)
        self.lose(other)
        self.cli("checkpoints", "verify", self.uri(new), *self.options(), code=10)


class OnS3(Tests, InBucket):
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

    def objects(self):
        found = {}
        for folder, _, names in os.walk(self.dir):  # which passes over folders that go meanwhile
            for path in (Path(folder, name) for name in names):
                try:
                    found[str(path.relative_to(self.dir))] = path.read_bytes()
                except FileNotFoundError:
                    pass
        return found

    def twin(self, path, to):
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())

    def lose(self, path):
        path.unlink()


class OnOss(Tests, InBucket):
    scheme = alias = "oss"

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="holdfast-gc-oss-")
        cls.server = oss.OssServer().start()
        cls.store = Path(cls.work.name) / "store"

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.work.cleanup()

    @property
    def bucket(self):
        return self.server.buckets[self.server.bucket]

    def put(self, path):
        self.bucket.put(self.key(path), path.read_bytes())
        self.bucket.objects[self.key(path)].written = path.stat().st_mtime

    def objects(self):
        prefix = self.key(self.dir) + "/"
        return {key[len(prefix):]: found.body for key, found in list(self.bucket.objects.items()) if key.startswith(prefix)}

    def twin(self, path, to):
        self.bucket.put(self.key(to), self.bucket.objects[self.key(path)].body)

    def lose(self, path):
        self.bucket.remove(self.key(path))


class OnHdfs(Tests, InBucket):
    scheme = alias = "hdfs"
    many, killed, copies = 120, 200, False
    user = getpass.getuser()

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="holdfast-gc-hdfs-")
        cls.server = hdfs.Hdfs(cls.work.name).start()
        cls.server.bucket = "pair"
        cls.store = Path(cls.work.name) / "store"

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.work.cleanup()

    def server_settings(self):
        return {"hdfs.namenodes": self.server.urls, "hdfs.user": self.user, "hdfs.retry-time": "2s"}

    def harm(self):
        return self.server.urls, "http://127.0.0.1:1"

    def call(self, method, path, operation, body=None):
        code, answer = http.call(method, f"{self.server.urls}/webhdfs/v1/{path}?op={operation}&user.name={self.user}", body)
        if code not in (200, 201):
            raise FileNotFoundError(f"{operation} {path}: {code} {answer}")
        return answer

    def put(self, path):
        to = self.call("PUT", self.key(path), "CREATE&overwrite=true&noredirect=true")["Location"]
        code, answer = http.call("PUT", to, path.read_bytes(), "application/octet-stream")
        self.assertEqual(code, 201, answer)
        self.call("PUT", self.key(path), f"SETTIMES&modificationtime={int(path.stat().st_mtime * 1000)}")

    def below(self, folder):
        try:
            statuses = self.call("GET", folder, "LISTSTATUS")["FileStatuses"]["FileStatus"]
        except FileNotFoundError:
            return
        for status in statuses:
            name = f"{folder}/{status['pathSuffix']}"
            if status["type"] == "DIRECTORY":
                yield from self.below(name)
                yield name + "/", 0
            else:
                yield name, (status["length"], status["modificationTime"])

    def listed(self):
        prefix = self.key(self.dir) + "/"
        return {name[len(prefix):]: what for name, what in self.below(prefix[:-1])}

    def objects(self):
        """Sizes and times stand for the bodies."""
        return {name: what for name, what in self.listed().items() if not name.endswith("/")}

    def twin(self, path, to):
        """A rename is in one step."""

    def lose(self, path):
        self.call("DELETE", self.key(path), "DELETE")

    def test_the_folder_of_a_checkpoint_goes_with_its_last_file(self):
        self.checkpoint(9)
        self.file("chk-7"), self.file("chk-7"), self.file("chk-8")
        run = self.run_gc()
        self.assertEqual({name for name in self.listed() if name.startswith(JOB) and name.endswith("/")}, {f"{JOB}/", f"{JOB}/chk-9/"})
        self.assertIn("3 file(s) are back", self.gc("undo", run["plan"]))
        self.assertIn(f"{JOB}/chk-7/", self.listed())


del Base
if "--hdfs" in sys.argv:
    sys.argv.remove("--hdfs")
    del OnS3, OnOss
else:
    del OnHdfs

if __name__ == "__main__":
    unittest.main(warnings="ignore")
