"""What the tests of `holdfast orphans` share."""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib.leftovers import Storage  # noqa: E402
from lib.paths import ROOT  # noqa: E402

CLI = Path(os.environ.get("HOLDFAST_CLI") or ROOT / "build" / "release" / "cli" / "holdfast")
BOUND_S = 120
CONFLICT, NOT_FOUND, INVALID, CORRUPT = 5, 4, 2, 10


class Base(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="holdfast-orphans-")
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.storage = Storage(self.scratch / "ha")
        self.state = self.scratch / "state"

    def access(self):
        """The options that say what to look at."""
        raise NotImplementedError

    def command(self, verb, *arguments):
        return [str(CLI), "orphans", verb, *map(str, arguments), *map(str, self.access()), "--state-dir", str(self.state),
                "--min-age", "1s"]

    def run_cli(self, verb, *arguments, code=0):
        done = subprocess.run(self.command(verb, *arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=BOUND_S)
        self.assertEqual(done.returncode, code, (verb, arguments, done.stdout, done.stderr))
        return done.stdout if code == 0 else done.stderr

    def json(self, verb, *arguments, code=0):
        return json.loads(self.run_cli(verb, *arguments, "-o", "json", code=code))

    def verdicts(self, *arguments):
        return {each["cluster"]: each["verdict"] for each in self.json("list", "--wait", *arguments)["clusters"]}

    def archives(self):
        folder = self.state / "orphans" / "archives"
        return sorted(path for path in folder.iterdir() if not path.name.endswith(".part")) if folder.is_dir() else []

    def audit(self):
        return [json.loads(line) for line in (self.state / "orphans" / "audit").read_text("utf-8").splitlines()]

    def assert_archived(self, archive, files):
        """The archive has the bytes of these files (path: bytes), under digests that fit."""
        manifest = json.loads((archive / "manifest.json").read_text("utf-8"))
        kept = {each["uri"]: each for each in manifest["files"]}
        self.assertEqual(set(kept), {f"file:{path}" for path in files})
        for path, content in files.items():
            entry = kept[f"file:{path}"]
            self.assertEqual((archive / entry["kept_as"]).read_bytes(), content)
            self.assertEqual(entry["sha256"], hashlib.sha256(content).hexdigest())
        for entry in manifest["objects"]:
            self.assertEqual(entry["sha256"], hashlib.sha256((archive / entry["kept_as"]).read_bytes()).hexdigest())
        return manifest
