"""`holdfast metadata show`: every form of output, damaged files, and a file that is larger than what may be held."""
import json
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_gc_cli import CLI, metadata, stream, utf  # noqa: E402

HEAD = {"version": 3, "checkpoint_id": 7, "properties": None,
        "totals": {"exclusive": {"references": 2, "bytes": 7}, "shared": {"references": 2, "bytes": 30},
                   "task-owned": {"references": 0, "bytes": 0}, "inline": {"states": 0, "bytes": 0}}}
PATHS = ["own", "file:/ck/a", "file:/ck/b", "file:/ck/c"]


def large(path, handles):
    """Version 3, one subtask with one incremental handle of many shared files."""
    with open(path, "wb") as file:
        file.write(struct.pack(">IIqii", 0x4960672D, 3, 1, 0, 1) + bytes(16) + struct.pack(">ii", 1, 1) + b"\x00"
                   + struct.pack(">iiii", 1, 0, 0, 0) + b"\x0b" + struct.pack(">q", 1)
                   + utf("00000000-0000-0000-0000-000000000001") + struct.pack(">iiq", 0, 1, 0) + b"\x00"
                   + struct.pack(">i", handles))
        for start in range(0, handles, 10000):
            file.write(b"".join(utf(f"{n:06}.sst") + stream(f"file:/ck/{n:032x}", 10)
                                for n in range(start, min(start + 10000, handles))))
        file.write(struct.pack(">i", 0) + utf("id") + b"\x00" + struct.pack(">ii", 0, 0))


def peak_kib(process):
    """The most memory that a process has had; 0 when it has ended. (What wait4 tells begins with its parent's.)"""
    try:
        text = Path(f"/proc/{process}/status").read_text("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:")), 0)


class Show(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="holdfast-metadata-")
        self.addCleanup(self.scratch.cleanup)
        self.path = Path(self.scratch.name) / "chk-7" / "_metadata"
        self.path.parent.mkdir()
        self.path.write_bytes(metadata(7, [("file:/ck/a", 10), ("file:/ck/b", 20)], [("file:/ck/c", 3)], [("own", 4)]))

    def show(self, *arguments, what=None, code=0):
        done = subprocess.run([CLI, "metadata", "show", what or self.path, *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def test_json_and_yaml_have_all_of_it(self):
        answer = json.loads(self.show("-o", "json"))
        self.assertEqual({key: answer[key] for key in HEAD}, HEAD)
        operator, = answer["operators"]
        self.assertEqual([(handle["path"], handle["owner"], handle["size"]) for handle in operator["state"]],
                         list(zip(PATHS, ["exclusive", "shared", "shared", "exclusive"], [4, 10, 20, 3])))
        self.assertEqual(yaml.safe_load(self.show("-o", "yaml")), answer)

    def test_names_tree_and_table_name_every_file(self):
        self.assertEqual(self.show("-o", "name").split(), PATHS)
        tree = self.show("-o", "tree")
        self.assertEqual([line.split()[-1] for line in tree.splitlines() if line.startswith("        ")], PATHS)
        self.assertLess(tree.index("operator state"), tree.index("keyed state"))
        table = self.show().splitlines()
        self.assertEqual([line.split()[-1] for line in table[-4:]], PATHS)

    def test_a_summary_names_none(self):
        self.assertEqual(json.loads(self.show("--summary", "-o", "json")), HEAD)
        self.assertEqual(self.show("--summary").splitlines(), self.show().splitlines()[:5])

    def test_the_folder_of_a_checkpoint_will_do(self):
        self.assertEqual(self.show(what=self.path.parent), self.show())
        self.assertEqual(self.show(what=f"file://{self.path.parent}"), self.show())

    def test_nothing_is_printed_of_a_damaged_one(self):
        whole = self.path.read_bytes()
        for size in (0, 3, 60, len(whole) - 1):
            self.path.write_bytes(whole[:size])
            done = subprocess.run([CLI, "metadata", "show", self.path, "-o", "json"], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertIn(f"{self.path}: byte {size}", done.stderr)

    def test_what_cannot_be_read_twice_is_refused(self):
        done = subprocess.run([CLI, "metadata", "show", "/dev/stdin"], input=self.path.read_bytes(), capture_output=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"cannot be read twice", done.stderr)

    def test_another_verb_has_no_tree(self):
        done = subprocess.run([CLI, "version", "-o", "tree"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no form -o tree", done.stderr)

    def test_memory_does_not_grow_with_the_file(self):
        handles = 300_000
        large(self.path, handles)
        for form in ("table", "tree", "json", "name"):
            with subprocess.Popen([CLI, "metadata", "show", self.path, "-o", form], stdout=subprocess.PIPE) as process:
                lines = memory = 0
                for line in process.stdout:
                    lines += b"file:/ck/" in line
                    if lines % 20000 == 0:
                        memory = max(memory, peak_kib(process.pid))
            self.assertEqual((process.returncode, lines), (0, handles), form)
            self.assertTrue(0 < memory < 16_000, (form, memory))  # the file has 18 MB


if __name__ == "__main__":
    unittest.main()
