"""`holdfast gc` and `holdfast checkpoints` on folders with checkpoints made here, with and without a daemon."""
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rpc"))
from harness import BOUND_S, CLI, Daemon, JobManager  # noqa: E402

JOB = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2
DAYS = 86400


def utf(text):
    return struct.pack(">H", len(text)) + text.encode()


def stream(path, size):
    return b"\x02" + struct.pack(">q", size) + utf(path)


def metadata(number, shared=(), private=(), relative=()):
    """Version 3: one subtask with an incremental handle; (path, size) each; relative ones as its operator's state."""
    def listed(files):
        return struct.pack(">i", len(files)) + b"".join(utf("local") + stream(*file) for file in files)
    operator_state = struct.pack(">i", 0)
    if relative:
        (name, size), = relative
        operator_state = struct.pack(">i", 1) + b"\x04" + struct.pack(">i", 0) + b"\x06" + utf(name) + struct.pack(">q", size)
    return (struct.pack(">IIqii", 0x4960672D, 3, number, 0, 1) + bytes(16) + struct.pack(">ii", 1, 1) + b"\x00"
            + struct.pack(">ii", 1, 0) + operator_state + struct.pack(">i", 0)
            + b"\x0b" + struct.pack(">q", number) + utf(str(uuid.UUID(int=1))) + struct.pack(">iiq", 0, 1, 0) + b"\x00"
            + listed(shared) + listed(private) + utf("id") + b"\x00" + struct.pack(">ii", 0, 0))


class Base(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="holdfast-gc-")
        self.dir = Path(self.scratch.name) / "ck"
        self.job = self.dir / JOB
        self.job.mkdir(parents=True)

    def tearDown(self):
        self.scratch.cleanup()

    def file(self, place, size=10, age=30 * DAYS, name=None, job=None):
        """A file as Flink names them, `age` seconds old."""
        path = (job or self.job) / place / (name or str(uuid.uuid4()))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        os.utime(path, (time.time() - age,) * 2)
        return path

    def checkpoint(self, number, job=None, age=30 * DAYS, **files):
        folder = (job or self.job) / f"chk-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        handles = {role: [(path.name if role == "relative" else f"file:{path}", path.stat().st_size) for path in paths]
                   for role, paths in files.items()}
        path = folder / "_metadata"
        path.write_bytes(metadata(number, **handles))
        os.utime(path, (time.time() - age,) * 2)
        return folder

    def cli(self, *arguments, code=0):
        done = subprocess.run([CLI, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done.stdout if code == 0 else done.stderr

    def gc(self, verb, *arguments, code=0):
        return self.cli("gc", verb, "--job-folder", self.job, *arguments, code=code)

    def plan(self, *arguments):
        answer = json.loads(self.gc("plan", "-o", "json", *arguments))
        return {entry["path"]: entry["reason"] for entry in answer["files"]}, answer["summary"]

    def run_gc(self, *arguments):
        return json.loads(self.gc("run", "--yes", "-o", "json", *arguments))

    def start_run(self, *arguments):
        """A run that takes two files a second: however slow this test is, it comes in time for most of them."""
        run = subprocess.Popen([CLI, "gc", "run", "--job-folder", self.job, "--yes", "--rate", "2", *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(run.stdout.close)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run

    def stop_run(self, run, signal_number, count):
        """Sends the signal when `count` files have gone, and returns when it has taken effect."""
        before = len(self.tree())
        deadline = time.monotonic() + BOUND_S
        while len(self.tree()) > before - count:
            self.assertLess(time.monotonic(), deadline, "the run takes nothing away")
            time.sleep(0.005)
        run.send_signal(signal_number)
        os.waitid(os.P_PID, run.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)

    def tree(self):
        """{path: (bytes, modification time)} of the jobs' folders, also while a run is taking files away."""
        found = {}
        for folder, folders, names in os.walk(self.dir):
            folders[:] = [name for name in folders if name != ".holdfast"]
            for path in (os.path.join(folder, name) for name in names):
                try:
                    found[path] = (Path(path).read_bytes(), os.stat(path).st_mtime_ns)
                except FileNotFoundError:
                    pass
        return found

    def relative(self, path):
        return str(path.relative_to(self.job))


class Folders(Base):
    def test_a_plan_names_every_file_and_why_and_touches_nothing(self):
        named, private, own = self.file("shared"), self.file("shared"), self.file("chk-7")
        self.checkpoint(7, shared=[named], private=[private], relative=[own])
        garbage, young, aborted, pending = (self.file("shared"), self.file("shared", age=60), self.file("chk-6"),
                                            self.file("chk-8"))
        theirs, foreign = self.file("taskowned"), self.file("shared", name="notes")
        before = self.tree()
        reasons, summary = self.plan()
        self.assertEqual(reasons, {self.relative(path): reason for path, reason in {
            named: "NAMED", private: "NAMED", own: "NAMED", self.job / "chk-7" / "_metadata": "METADATA",
            garbage: "UNNAMED", young: "YOUNG", aborted: "ABORTED", pending: "PENDING", theirs: "UNNAMED",
            foreign: "FOREIGN"}.items()})
        self.assertEqual(summary["delete"], {"files": 3, "bytes": 30})
        self.assertEqual(self.tree(), before)
        self.assertFalse((self.dir / ".holdfast").exists())
        listed = self.gc("plan", "-o", "name").split()
        self.assertEqual(set(listed), {str(garbage), str(aborted), str(theirs)})

    def test_without_yes_nothing_goes(self):
        self.file("shared")
        self.checkpoint(7)
        before = self.tree()
        self.assertIn("no checkpoint names it", self.gc("run"))
        self.assertIn("no checkpoint names it", self.gc("run", "--dry-run", "--yes"))
        self.assertEqual(self.tree(), before)
        self.assertEqual(json.loads(self.gc("status", "-o", "json"))["plans"], [])

    def test_what_went_can_be_brought_back_as_it_was(self):
        kept = self.file("shared")
        self.checkpoint(7, shared=[kept])
        gone = [self.file("shared"), self.file("chk-3"), self.file("taskowned"), self.file(f"shared/job_{JOB}_op_x_0_1")]
        before = self.tree()
        answer = self.run_gc()
        self.assertEqual((answer["files"], answer["planned"], answer["changed"]), (4, 4, 0))
        self.assertFalse(any(path.exists() for path in gone) or (self.job / "chk-3").exists())
        self.assertTrue(kept.exists())
        audit = [json.loads(line) for line in (self.dir / ".holdfast" / "audit").read_text().splitlines()]
        self.assertEqual({entry["path"] for entry in audit}, set(map(str, gone)))
        self.assertTrue(all(entry["action"] == "trash" and entry["plan"] == answer["plan"] for entry in audit))
        state, = json.loads(self.gc("status", "-o", "json"))["plans"]
        self.assertEqual((state["id"], state["state"], state["files"]), (answer["plan"], "done", 4))
        self.gc("undo", answer["plan"])
        self.assertEqual(self.tree(), before)
        self.assertEqual(json.loads(self.gc("status", "-o", "json"))["plans"][0]["state"], "undone")

    def test_undo_writes_over_nothing(self):
        self.checkpoint(7)
        gone = self.file("shared")
        plan = self.run_gc()["plan"]
        gone.write_text("another")
        self.gc("undo", plan, code=5)
        self.assertEqual(gone.read_text(), "another")
        gone.unlink()
        self.gc("undo", plan)
        self.assertEqual(gone.stat().st_size, 10)

    def test_delete_leaves_no_trash_and_purge_empties_it(self):
        self.checkpoint(7)
        self.file("shared")
        self.run_gc("--delete")
        self.assertFalse((self.dir / ".holdfast" / "trash").exists())
        self.file("shared")
        plan = self.run_gc()["plan"]
        self.assertIn("0 file(s)", self.gc("purge", "--yes"))
        self.assertIn("1 file(s)", self.gc("purge", "--yes", "--older-than", "0s"))
        self.gc("undo", plan, code=5)

    def test_a_run_that_was_killed_loses_nothing_and_is_finished_by_the_next(self):
        self.checkpoint(7)
        for _ in range(40):
            self.file("shared")
        before = self.tree()
        run = self.start_run()
        self.stop_run(run, signal.SIGKILL, 3)
        left = len(self.tree()) - 1
        self.assertTrue(0 < left <= 37, left)
        first, = json.loads(self.gc("status", "-o", "json"))["plans"]
        self.assertEqual((first["state"], first["files"]), ("interrupted", 40))
        second = self.run_gc()
        self.assertEqual(second["files"], left)
        self.assertEqual(len(self.tree()), 1)
        self.gc("undo", first["id"])
        self.gc("undo", second["plan"])
        self.assertEqual(self.tree(), before)

    def test_a_file_that_changed_since_the_plan_is_left_alone(self):
        self.checkpoint(7)
        files = [self.file("shared") for _ in range(20)]
        run = self.start_run("-o", "json")
        self.stop_run(run, signal.SIGSTOP, 1)
        touched = [path for path in files if path.exists()]
        for path in touched:
            os.utime(path)
        run.send_signal(signal.SIGCONT)
        answer = json.loads(run.communicate()[0])
        there = [path for path in files if path.exists()]
        self.assertEqual(len(there), answer["changed"])
        self.assertTrue(there)
        # The run may have looked at one of them before it was stopped.
        self.assertGreaterEqual(len(there), len(touched) - 1)

    def test_one_run_at_a_time(self):
        self.checkpoint(7)
        for _ in range(20):
            self.file("shared")
        self.stop_run(self.start_run(), signal.SIGSTOP, 1)
        self.assertIn("another holdfast", self.gc("run", "--yes", code=5))

    def test_one_damaged_metadata_keeps_everything_and_is_named(self):
        self.checkpoint(7)
        self.file("shared")
        other = self.dir / OTHER
        damaged = self.checkpoint(3, job=other) / "_metadata"
        damaged.write_bytes(damaged.read_bytes()[:-1])
        reasons, summary = self.plan("--ended")
        self.assertEqual(set(reasons.values()), {"UNREADABLE"})
        self.assertIn(str(damaged), summary["unreadable"])
        self.assertEqual(self.run_gc("--ended")["files"], 0)
        self.assertIn("NOTHING IS DELETED", self.gc("plan"))

    def test_what_neighbours_and_savepoints_name_stays(self):
        theirs, saved, garbage = self.file("shared"), self.file("shared"), self.file("shared")
        self.checkpoint(7)
        self.checkpoint(3, job=self.dir / OTHER, shared=[theirs])
        savepoint = self.checkpoint(1, job=Path(self.scratch.name) / "savepoints", shared=[saved])
        reasons, _ = self.plan("--also", savepoint.parent)
        self.assertEqual({self.relative(theirs): "NAMED", self.relative(saved): "NAMED",
                          self.relative(garbage): "UNNAMED"}, {k: v for k, v in reasons.items() if k.startswith("shared")})
        self.gc("plan", "--also", Path(self.scratch.name), code=4)

    def test_links_are_never_followed(self):
        self.checkpoint(7)
        outside = Path(self.scratch.name) / "outside"
        outside.mkdir()
        precious = outside / str(uuid.uuid4())
        precious.write_text("precious")
        os.utime(precious, (0, 0))
        (self.job / "shared").symlink_to(outside)
        (self.job / "taskowned").mkdir()
        (self.job / "taskowned" / str(uuid.uuid4())).symlink_to(precious)
        reasons, _ = self.plan("--ended")
        self.assertEqual(sorted(reason for path, reason in reasons.items() if path != "chk-7/_metadata"), ["FOREIGN"] * 2)
        self.run_gc("--ended")
        self.assertEqual(precious.read_text(), "precious")

    def test_an_ended_job_without_checkpoints_goes_whole(self):
        self.file("shared"), self.file("chk-3"), self.file("taskowned")
        self.assertEqual(self.plan()[1]["delete"]["files"], 0)
        self.assertEqual(self.run_gc("--ended")["files"], 3)
        self.assertFalse(self.job.exists())

    def test_the_changelogs_folder_goes_with_the_job(self):
        base = Path(self.scratch.name) / "changelog" / JOB
        named, garbage = self.file("dstl", job=base), self.file("dstl", job=base)
        self.checkpoint(7, shared=[named])
        answer = self.run_gc("--changelog-folder", base)
        self.assertEqual((answer["files"], named.exists(), garbage.exists()), (1, True, False))
        self.gc("undo", answer["plan"])
        self.assertTrue(garbage.exists())
        self.gc("run", "--changelog-folder", base.parent / OTHER, code=2)

    def test_a_folder_that_is_no_jobs_is_refused(self):
        self.assertIn("create-subdir", self.cli("gc", "plan", "--job-folder", self.dir, code=2))
        self.cli("gc", "plan", "--job-folder", self.dir / OTHER, code=4)
        self.cli("gc", "plan", "--job-folder", "hdfs://names/" + JOB, code=2)
        self.cli("gc", "plan", code=2)
        self.gc("plan", "--min-age", "7 days", code=2)
        self.cli("status", "--ended", code=2)

    def test_checkpoints_are_listed_and_verified(self):
        whole, short, missing = (self.file("shared", size=50) for _ in range(3))
        self.checkpoint(5, shared=[whole], age=300)
        self.checkpoint(6, shared=[whole, short], age=200)
        self.checkpoint(7, job=self.dir / OTHER, shared=[missing], age=100)
        short.write_bytes(b"x")
        missing.unlink()
        listed = json.loads(self.cli("checkpoints", "list", "--folder", self.dir, "-o", "json"))["checkpoints"]
        self.assertEqual([(entry["job"], entry["id"], entry["state"]) for entry in listed],
                         [(OTHER, 7, "files missing or of another size"), (JOB, 6, "files missing or of another size"),
                          (JOB, 5, "whole")])
        self.assertIn("every file is there", self.cli("checkpoints", "verify", self.job / "chk-5"))
        self.cli("checkpoints", "verify", self.job / "chk-6", code=10)
        done = subprocess.run([CLI, "checkpoints", "verify", "-o", "json", self.dir / OTHER / "chk-7"], capture_output=True)
        self.assertEqual(done.returncode, 10)
        self.assertEqual(json.loads(done.stdout)["problems"], [{"path": str(missing), "problem": "is missing"}])
        self.assertIn("checkpoint", self.cli("checkpoints", "show", self.job / "chk-5"))
        self.cli("checkpoints", "verify", self.job / "chk-99", code=4)

    def test_a_checkpoint_is_deleted_with_what_it_alone_owns_unless_it_is_pinned(self):
        shared, own, private, theirs = self.file("shared"), self.file("chk-5"), self.file("shared"), self.file("shared")
        folder = self.checkpoint(5, shared=[shared, theirs], private=[private], relative=[own])
        self.checkpoint(6, shared=[shared])
        before = self.tree()
        self.cli("checkpoints", "pin", folder)
        self.assertIn("pinned", self.cli("checkpoints", "delete", folder, "--yes", code=5))
        self.assertIn("pinned", self.cli("checkpoints", "list", "--job-folder", self.job))
        self.cli("checkpoints", "unpin", folder)
        self.cli("checkpoints", "delete", folder)
        self.assertEqual(self.tree(), before)
        plan = json.loads(self.cli("checkpoints", "delete", folder, "--yes", "-o", "json"))["plan"]
        self.assertFalse(folder.exists() or private.exists())
        self.assertTrue(shared.exists() and theirs.exists())
        self.assertEqual(self.plan()[0][self.relative(theirs)], "UNNAMED")
        self.gc("undo", plan)
        self.assertEqual(self.tree(), before)
        self.cli("checkpoints", "pin", Path(self.scratch.name), code=2)


class WithDaemon(Base):
    """The daemon knows which checkpoints are listed and discarded, and since when the newest one is under way."""

    def setUp(self):
        super().setUp()
        self.daemon = Daemon().start()
        self.addCleanup(self.daemon.remove)
        self.jm = JobManager(self.daemon, cluster="c1").wait_granted()
        code, answer, _ = self.daemon.call("POST", self.jm.base + "/sessions", {
            "session": os.urandom(16).hex(), "holder": "x", "ttl_ms": 300000, "checkpoint_dir": f"file:{self.dir}"})
        assert code == 200, answer
        code, answer, _ = self.jm.call("PUT", f"/graphs/{JOB}", b"graph", {"Content-Type": "application/octet-stream"})
        assert code == 200, answer

    def commit(self, number, age, pointer=None, **more):
        begun = int((time.time() - age) * 1000)
        code, answer, _ = self.jm.commit(JOB, number, pointer=pointer or f"file:{self.job}/chk-{number}", started_ms=begun,
                                         completed_ms=begun + 1, **more)
        self.assertEqual(code, 200, answer)

    def managed(self, verb, *arguments, code=0):
        return self.cli("gc", verb, "c1", JOB, "--endpoint", f"http://127.0.0.1:{self.daemon.port}", *arguments, code=code)

    def reasons(self, *arguments):
        return {entry["path"]: entry["reason"] for entry in json.loads(self.managed("plan", "-o", "json", *arguments))["files"]}

    def test_age_counts_from_the_start_of_the_newest_listed_checkpoint(self):
        self.checkpoint(7)
        self.commit(7, age=3 * 3600)
        old, young, task_owned = (self.file("shared", age=5 * 3600), self.file("shared", age=3.5 * 3600),
                                  self.file("taskowned", age=5 * 3600))
        reasons = self.reasons()
        self.assertEqual([reasons[self.relative(path)] for path in (old, young, task_owned)], ["UNNAMED", "YOUNG", "UNNAMED"])
        self.assertIn("running", self.managed("plan", "--ended", code=5))

    def test_recorded_discards_are_carried_out(self):
        own, shared = self.file("shared", age=5), self.file("shared", age=5 * 3600)
        self.checkpoint(6, private=[own], shared=[shared])
        self.checkpoint(7, shared=[shared])
        self.commit(6, age=20)
        self.commit(7, age=10)
        self.assertEqual({entry["id"] for entry in self.listed()["discards"]}, {6})
        answer = json.loads(self.managed("run", "--yes", "-o", "json"))
        self.assertEqual(answer["files"], 2)
        self.assertFalse(own.exists() or (self.job / "chk-6").exists())
        self.assertTrue(shared.exists())

    def listed(self):
        return self.daemon.call("GET", f"{self.jm.base}/jobs/{JOB}/checkpoints")[1]

    def test_a_pinned_checkpoint_outlives_its_discard(self):
        own = self.file("shared", age=5)
        folder = self.checkpoint(6, private=[own])
        self.checkpoint(7)
        self.commit(6, age=20)
        self.commit(7, age=10)
        self.cli("checkpoints", "pin", folder)
        self.assertEqual(self.reasons()[self.relative(own)], "NAMED")

    def test_complete_and_unlisted_stays_unless_it_is_asked_for(self):
        for number in (5, 6, 8):
            self.checkpoint(number, age=5 * 3600)
        self.checkpoint(4, age=1.5 * 3600)
        self.commit(6, age=3600)
        self.assertEqual(set(self.reasons().values()), {"METADATA"})
        self.assertEqual(self.reasons("--unlisted"), {"chk-4/_metadata": "METADATA", "chk-5/_metadata": "DISCARDED",
                                                      "chk-6/_metadata": "METADATA", "chk-8/_metadata": "METADATA"})

    def test_what_is_retained_elsewhere_is_read_or_nothing_is_done(self):
        theirs = self.file("shared", age=5 * 3600)
        self.checkpoint(7)
        elsewhere = self.checkpoint(1, job=Path(self.scratch.name) / "savepoints", shared=[theirs])
        self.commit(6, age=30, pointer=f"file:{elsewhere}", num_retained=5)
        self.commit(7, age=20, num_retained=5)
        self.assertEqual(self.reasons()[self.relative(theirs)], "NAMED")
        self.commit(8, age=10, pointer="s3://bucket/savepoints/x", num_retained=5)
        self.assertIn("s3://bucket/savepoints/x", self.managed("plan", code=2))

    def test_old_incarnations_of_a_job_are_found_and_judged(self):
        self.checkpoint(7)
        self.commit(7, age=3 * 3600)
        old = self.dir / OTHER
        self.file("shared"), self.file("shared", job=old), self.file("shared", job=old, age=60)
        self.checkpoint(3, job=old)
        endpoint = "--endpoint", f"http://127.0.0.1:{self.daemon.port}"
        jobs = {job["job"]: job for job in json.loads(self.cli("gc", "plan", "c1", "-o", "json", *endpoint))["jobs"]}
        self.assertEqual({job: (row["state"], row["newest"], row["keep"]["files"], row["delete"]["files"])
                          for job, row in jobs.items()}, {JOB: ("running", 7, 1, 1), OTHER: ("not listed", 3, 2, 1)})
        listed = json.loads(self.cli("gc", "plan", "--folder", self.dir, "-o", "json"))["jobs"]
        self.assertEqual({row["job"]: row["state"] for row in listed}, {JOB: "unknown", OTHER: "unknown"})
        (old / "chk-3" / "_metadata").write_bytes(b"damaged")
        self.assertIn("chk-3/_metadata", self.cli("gc", "plan", "c1", *endpoint))

    def test_the_list_of_a_cluster_and_of_a_job(self):
        folder = self.checkpoint(7)
        self.commit(7, age=10)
        end = ["--endpoint", f"http://127.0.0.1:{self.daemon.port}"]
        self.assertIn(str(folder), self.cli("checkpoints", "list", "c1", *end))
        self.assertIn(str(folder), self.cli("checkpoints", "list", "c1", JOB, *end))
        self.assertIn(str(folder), self.cli("checkpoints", "c1", JOB, *end))
        self.cli("checkpoints", "verify", "c1", JOB, "7", *end)
        self.assertIn("retains", self.cli("checkpoints", "delete", "c1", JOB, "7", "--yes", *end, code=5))
        self.cli("checkpoints", "verify", "c1", JOB, "6", *end, code=4)


if __name__ == "__main__":
    unittest.main()
