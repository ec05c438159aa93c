#!/usr/bin/env python3
"""docs/operations.md: it says of every alert what to do; and `holdfast store copy`: a store moves from a folder to a real S3 server and back, as docs/operations.md says, and is the same
for those who ask; cut short it can be gone on with, and nobody starts on what is not whole. Beside a daemon, onto another
store or out of none nothing is copied."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rpc"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import CLI, Daemon, JobManager  # noqa: E402
from lib.paths import ROOT  # noqa: E402
from lib.s3 import S3  # noqa: E402

JOBS = [f"{number:032x}" for number in range(20)]
GRAPH = os.urandom(9 * 1024 * 1024)  # more than is copied in one piece
OCTETS = {"Content-Type": "application/octet-stream"}
BOUND_S = 300


class Alerts(unittest.TestCase):
    def test_every_alert_has_a_line(self):
        rules = (ROOT / "deploy" / "monitoring" / "rules.yaml").read_text("utf-8")
        text = (ROOT / "docs" / "operations.md").read_text("utf-8")
        names = re.findall(r"^ *- alert: (\w+)$", rules, re.M)
        self.assertTrue(names)
        self.assertEqual(re.findall(r"^\| `([A-Z]\w+)` \|", text, re.M), names)


class StoreCopy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="holdfast-copy-")
        cls.addClassCleanup(temporary.cleanup)
        cls.work = Path(temporary.name)
        cls.s3 = S3(cls.work).start()
        cls.addClassCleanup(cls.s3.stop)
        cls.first = cls.work / "first"
        daemon = cls.daemon(cls.first)
        try:
            daemon.start()
            manager = JobManager(daemon).wait_granted()
            assert manager.call("PUT", f"/graphs/{JOBS[0]}", GRAPH, OCTETS)[0] == 200
            for job in JOBS:
                for number in (1, 2):
                    assert manager.commit(job, number)[0] == 200
            cls.leave(manager)
            cls.seen = cls.look(daemon)
        finally:
            cls.end(daemon)

    @staticmethod
    def daemon(folder, **settings):
        return Daemon(store=str(folder), store_snapshot__records="10", store_ballast="1MiB", **settings)

    @staticmethod
    def on_bucket(settings):
        daemon = Daemon(**{key: value for key, value in settings.items() if key != "store"})
        daemon.settings["store"] = settings["store"]
        return daemon

    @staticmethod
    def end(daemon):
        assert daemon.stop() == 0
        daemon.remove()

    @staticmethod
    def leave(manager):
        """Ends its session, which would outlive the move, too."""
        assert manager.call("DELETE", f"/sessions/{manager.sid}")[0] == 200
        manager.stream.close()

    @staticmethod
    def look(daemon):
        """What clients can ask for."""
        found = {}
        for job in JOBS:
            code, answer, _ = daemon.call("GET", f"/v1/clusters/default/c1/jobs/{job}/checkpoints")
            assert code == 200, answer
            found[job] = answer["checkpoints"]
        code, graph, _ = daemon.call("GET", f"/v1/clusters/default/c1/graphs/{JOBS[0]}")
        assert code == 200
        found["graph"] = graph
        found["store"] = daemon.call("GET", "/v1/status")[1]["store_id"]
        return found

    def bucket(self, prefix):
        """A file of settings, and the same for a Daemon."""
        settings = {**self.s3.settings(), "s3.timeout": "60s", "s3.retry-time": "60s", "store": f"s3://{self.s3.bucket}/{prefix}"}
        path = self.work / f"{prefix}.yaml"
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()), "utf-8")
        path.chmod(0o600)
        return path, {key.replace("-", "__").replace(".", "_"): value for key, value in settings.items()}

    def copy(self, *arguments, code=0):
        done = subprocess.run([CLI, "store", "copy", "-o", "json", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=BOUND_S, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def test_to_s3_and_back(self):
        config, settings = self.bucket("moved")
        done = self.copy("--yes", "--from", f"file://{self.first}", "--to-config", config)
        self.assertEqual((done["copied"], done["already_there"]), (done["objects"], 0))
        again = self.copy("--yes", "--from", f"file://{self.first}", "--to-config", config)
        self.assertEqual((again["copied"], again["already_there"]), (0, done["objects"]))
        self.assertTrue((self.first / "tmp" / "ballast").exists(), "what a copy reads from is as it was")
        daemon = self.on_bucket(settings)
        try:
            daemon.start()
            self.assertEqual(self.look(daemon), self.seen)
            manager = JobManager(daemon).wait_granted()
            self.assertEqual(manager.commit(JOBS[3], 3)[0], 200)
            self.leave(manager)
            there = self.look(daemon)
            self.assertEqual([entry["id"] for entry in there[JOBS[3]]], [3])
        finally:
            self.end(daemon)
        back = self.work / "back"
        self.copy("--yes", "--config", config, "--to", f"file://{back}")
        daemon = self.daemon(back)
        try:
            daemon.start()
            self.assertEqual(self.look(daemon), there)
        finally:
            self.end(daemon)

    def test_cut_short_and_gone_on_with(self):
        config, settings = self.bucket("cut")
        command = [CLI, "store", "copy", "--yes", "--from", f"file://{self.first}", "--to-config", config]
        place = self.s3.work / "store" / self.s3.bucket / "cut"
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            # Stopped in the middle: a few objects are there, the mark is not.
            while child.poll() is None and not any(files for _, _, files in os.walk(place)):
                time.sleep(0.001)
            child.send_signal(signal.SIGKILL)
        whole = (place / "meta" / "store").exists()
        if not whole:
            daemon = self.on_bucket(settings)
            try:
                code, log = daemon.start(expect_failure=True)
                self.assertNotEqual(code, 0)
                self.assertIn("its mark was lost", log)
            finally:
                daemon.remove()
        self.copy(*command[3:])
        daemon = self.on_bucket(settings)
        try:
            daemon.start()
            self.assertEqual(self.look(daemon), self.seen)
        finally:
            self.end(daemon)

    def test_without_its_mark_nobody_starts_on_a_copy(self):
        config, settings = self.bucket("unmarked")
        self.copy("--yes", "--from", f"file://{self.first}", "--to-config", config)
        (self.s3.work / "store" / self.s3.bucket / "unmarked" / "meta" / "store").unlink()
        daemon = self.on_bucket(settings)
        try:
            code, log = daemon.start(expect_failure=True)
            self.assertNotEqual(code, 0)
            self.assertIn("its mark was lost", log)
        finally:
            daemon.remove()
        done = self.copy("--yes", "--from", f"file://{self.first}", "--to-config", config)
        self.assertEqual(done["copied"], 1)

    def test_what_is_refused(self):
        source = f"file://{self.first}"
        self.assertIn("both are", self.copy("--yes", "--from", source, "--to", source, code=2))
        self.assertIn("no store of Holdfast", self.copy("--yes", "--from", f"file://{self.work / 'empty'}", "--to", f"file://{self.work / 'x'}", code=4))
        self.assertIn("say --to-config FILE or --to URL", self.copy("--yes", "--from", source, code=2))
        self.assertIn("say --yes", self.copy("--from", source, "--to", f"file://{self.work / 'y'}", code=8))
        self.assertFalse((self.work / "y").exists())
        other = self.work / "other"
        daemon = self.daemon(other)
        try:
            daemon.start()
            self.assertIn("process", self.copy("--yes", "--from", f"file://{other}", "--to", f"file://{self.work / 'z'}", code=5))
            self.assertIn("process", self.copy("--yes", "--from", source, "--to", f"file://{other}", code=5))
        finally:
            self.end(daemon)
        self.assertIn("name an empty place", self.copy("--yes", "--from", source, "--to", f"file://{other}", code=5))
        daemon = self.daemon(other)  # which is as it was
        try:
            daemon.start()
        finally:
            self.end(daemon)


if __name__ == "__main__":
    unittest.main()
