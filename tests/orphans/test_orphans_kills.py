"""kill -9 during clean-up and undo, at random moments: everything is untouched then, or in an archive with which both come to their
end, and in the end everything is as it was."""
import argparse
import json
import random
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import test_orphans_kubernetes  # noqa: E402
import test_orphans_zookeeper  # noqa: E402
from base import BOUND_S  # noqa: E402
from test_orphans_kubernetes import OnKubernetes  # noqa: E402
from test_orphans_zookeeper import OnZooKeeper  # noqa: E402

SETTINGS = {"kills": 10, "seed": 1}
FIGURES = {}


def setUpModule():
    test_orphans_kubernetes.setUpModule()
    test_orphans_zookeeper.setUpModule()


def tearDownModule():
    test_orphans_zookeeper.tearDownModule()
    test_orphans_kubernetes.tearDownModule()
    print(json.dumps(FIGURES))


class Kills:
    """objects(): what is there now, by name."""

    def run_killed(self, verb, *arguments):
        """True: it was killed before its end."""
        took = self.took.setdefault(verb, 0.3)
        delay = took * self.random.uniform(0.2, 1.1)
        start = time.monotonic()
        child = subprocess.Popen(self.command(verb, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        try:
            _, said = child.communicate(timeout=delay)
            self.took[verb] = (took + time.monotonic() - start) / 2
            self.assertEqual(child.returncode, 0, said)
            return False
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate(timeout=BOUND_S)
            return child.returncode != 0

    def unfinished(self):
        """Complete archives that are neither cleaned nor undone."""
        return [path for path in self.archives() if not any((path / mark).exists() for mark in ("cleaned", "undone"))]

    def nothing_is_lost(self):
        """What is not where it was is in an archive, unharmed: one under way, or one whose clean-up was done when the kill came."""
        now = self.objects()
        kept, files = {}, {}
        for archive in self.archives():
            if (archive / "undone").exists():
                continue
            manifest = json.loads((archive / "manifest.json").read_text("utf-8"))
            for each in manifest["objects"]:
                kept[each.get("name") or each["path"]] = (archive / each["kept_as"]).stat().st_size
            for each in manifest["files"]:
                files[each["uri"]] = (archive / each["kept_as"]).read_bytes()
        for name, content in self.before.items():
            if name in now:
                self.assertEqual(now[name], content)
            else:
                self.assertIn(name, kept)
        for path, content in self.contents.items():
            self.assertEqual(path.read_bytes() if path.exists() else files[f"file:{path}"], content)
        self.figures["under_way" if len(now) < len(self.before) or files else "untouched"] += 1

    def all_is_back(self):
        self.assertEqual(self.objects(), self.before)
        self.assertEqual({path: path.read_bytes() if path.exists() else None for path in self.contents}, self.contents)

    def finish_cleaning(self):
        done = self.json("clean", "my-app", "--wait", "--yes")
        self.assertFalse(set(self.objects()) & set(self.before))
        self.assertFalse([path for path in self.contents if path.exists()])
        return done["archive"]

    def undo_killed(self, archive):
        for _ in range(self.random.randrange(3)):
            if self.kills < SETTINGS["kills"] and self.run_killed("undo", archive, "--yes"):
                self.kills += 1
                self.figures["undo"] += 1
        self.run_cli("undo", archive, "--yes")
        self.all_is_back()

    def test_kills(self):
        self.random = random.Random(SETTINGS["seed"])
        self.took, self.kills = {}, 0
        self.figures = FIGURES[type(self).__name__] = {"clean": 0, "undo": 0, "untouched": 0, "under_way": 0}
        left = self.leftovers(checkpoints=range(1, 6))
        self.before, self.contents = self.objects(), {path: path.read_bytes() for path in left.files}
        while self.kills < SETTINGS["kills"]:
            self.run_cli("list", "--wait")
            if self.run_killed("clean", "my-app", "--yes"):
                self.kills += 1
                self.figures["clean"] += 1
                self.nothing_is_lost()
            under_way = self.unfinished()
            cleaned = [path for path in self.archives() if (path / "cleaned").exists() and not (path / "undone").exists()]
            self.assertLessEqual(len(under_way) + len(cleaned), 1)
            if cleaned:
                self.undo_killed(cleaned[0])
            elif under_way and self.random.random() < 0.5:
                self.undo_killed(under_way[0])
            else:
                self.undo_killed(self.finish_cleaning())
        self.assertFalse(self.unfinished())


class KillsOnKubernetes(Kills, OnKubernetes):
    def objects(self):
        return {name: each for name, each in self.maps().items() if not name.startswith("flink-config-")}


class KillsOnZooKeeper(Kills, OnZooKeeper):
    def objects(self):
        return self.tree()


def load_tests(loader, _tests, _pattern):
    return unittest.TestSuite(loader.loadTestsFromName(f"{kind.__name__}.test_kills", sys.modules[__name__])
                              for kind in (KillsOnKubernetes, KillsOnZooKeeper))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=SETTINGS["kills"], help="on each of the two; default 10")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options, rest = parser.parse_known_args()
    SETTINGS.update(kills=options.kills, seed=options.seed)
    print(f"seed {options.seed}")
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
