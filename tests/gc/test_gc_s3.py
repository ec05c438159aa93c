"""`holdfast gc` on a bucket of a real S3 server, whose objects are files that can be given their age here."""
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import s3  # noqa: E402
from test_gc_cli import JOB, OTHER, Base, DAYS  # noqa: E402


class OnS3(Base):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="holdfast-gc-s3-")
        cls.server = s3.S3(cls.work.name).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.work.cleanup()

    def setUp(self):
        super().setUp()
        self.dir = self.server.work / "store" / self.server.bucket / self.id().split(".")[-1]
        self.job = self.dir / JOB
        self.job.mkdir(parents=True)
        self.settings = Path(self.scratch.name) / "holdfast.yaml"
        self.settings.write_text("".join(f"{key}: {value}\n" for key, value in self.server.settings().items()))

    def uri(self, folder, scheme="s3"):
        return f"{scheme}://{self.server.bucket}/{folder.relative_to(self.server.work / 'store' / self.server.bucket)}"

    def gc(self, verb, *arguments, code=0):
        return self.cli("gc", verb, "--job-folder", self.uri(self.job), "--config", self.settings,
                        "--state-dir", self.scratch.name, *arguments, code=code)

    def checkpoint(self, number, job=None, age=30 * DAYS, **files):
        """References are URIs of Flink's S3 file system."""
        folder = super().checkpoint(number, job, age, **files)
        path = folder / "_metadata"
        text = path.read_bytes()
        for paths in files.values():
            for each in paths:
                old, new = f"file:{each}".encode(), self.uri(each, "s3a").encode()
                text = text.replace(len(old).to_bytes(2, "big") + old, len(new).to_bytes(2, "big") + new)
        times = path.stat()
        path.write_bytes(text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return folder

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
        self.assertIn("--delete", self.gc("run", "--yes", code=2))
        self.assertEqual(self.run_gc("--delete")["files"], 2)
        self.assertFalse(garbage.exists() or aborted.exists())
        self.assertTrue(all(path.exists() for path in (named, theirs, own, young, pending)))
        state, = json.loads(self.gc("status", "-o", "json"))["plans"]
        self.assertEqual((state["state"], state["files"]), ("done", 2))

    def test_many_objects_go_in_few_requests(self):
        self.checkpoint(7)
        for _ in range(1100):
            self.file("shared", size=0)
        self.assertEqual(self.run_gc("--delete")["files"], 1100)
        self.assertEqual([path.name for path in self.job.rglob("*") if path.is_file()], ["_metadata"])

    def test_a_damaged_metadata_keeps_everything(self):
        self.file("shared")
        path = self.checkpoint(7) / "_metadata"
        path.write_bytes(path.read_bytes()[:-1])
        self.assertEqual(set(self.plan("--ended")[0].values()), {"UNREADABLE"})

    def test_a_server_that_refuses_makes_no_plan(self):
        self.checkpoint(7)
        self.settings.write_text(self.settings.read_text().replace("holdfast-secret", "another"))
        self.assertIn("s3", self.gc("plan", code=8))


del Base

if __name__ == "__main__":
    unittest.main(warnings="ignore")
