"""`holdfast orphans` against a real ZooKeeper: znodes of three layouts, looked at, judged, cleaned and brought back."""
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from base import CONFLICT, NOT_FOUND, Base  # noqa: E402
from lib.leftovers import Leftovers, connection_info  # noqa: E402
from lib.zookeeper import ZooKeeper  # noqa: E402
from lib.zookeeper_client import Client, Refused  # noqa: E402

LAYOUTS = ("1.20", "2.2", "2.3")
SERVER = {}


def setUpModule():
    SERVER["work"] = tempfile.TemporaryDirectory(prefix="holdfast-orphans-zookeeper-")
    SERVER["zookeeper"] = ZooKeeper(SERVER["work"].name)
    SERVER["zookeeper"].start()


def tearDownModule():
    SERVER["zookeeper"].stop()
    SERVER["work"].cleanup()


class OnZooKeeper(Base):
    number = 0
    place = ("--standalone",)

    def setUp(self):
        super().setUp()
        type(self).number += 1
        self.root = f"/{type(self).__name__.lower()}-{self.number}"
        self.client = Client(SERVER["zookeeper"].port)
        self.addCleanup(self.client.close)

    def access(self):
        return ["--zookeeper", f"127.0.0.1:{SERVER['zookeeper'].port}", "--zookeeper-root", self.root, *self.place]

    def leftovers(self, cluster="my-app", **more):
        left = Leftovers(self.storage, cluster, **more)
        for path, data in [(self.root, b""), *left.znodes(self.root)]:
            try:
                self.client.create(path, data)
            except Refused as refused:
                if path != self.root:
                    raise AssertionError(path) from refused
        return left

    def tree(self, cluster="my-app"):
        return self.client.tree(f"{self.root}/{cluster}")

    def test_no_root_no_clusters(self):
        found = self.json("list")
        self.assertEqual((found["clusters"], found["pairs"], found["scan"]["objects"]), ([], [], 0))

    def test_leftovers_of_every_layout_would_revive_a_job(self):
        for layout in LAYOUTS:
            self.leftovers(f"app-{layout.replace('.', '-')}", layout=layout)
        found = self.json("list", "--wait")["clusters"]
        self.assertEqual({each["cluster"]: each["verdict"] for each in found},
                         {f"app-{layout.replace('.', '-')}": "leftover-would-revive" for layout in LAYOUTS}, found)

    def test_without_a_word_where_it_runs_it_is_kept(self):
        self.leftovers()
        self.place = ()
        found, = self.json("list", "--wait")["clusters"]
        self.assertEqual(found["verdict"], "unknown")
        self.assertIn("place-not-known", [reason["code"] for reason in found["reasons"]])

    def test_ephemeral_nodes_are_life(self):
        self.leftovers("latched")
        self.client.create(f"{self.root}/latched/leader/latch/_c_1-latch-0000000000", ephemeral=True)
        self.leftovers("addressed")
        self.client.create(f"{self.root}/addressed/leader/rest_server/connection_info", connection_info("http://127.0.0.1:1"),
                           ephemeral=True)
        left = self.leftovers("locked")
        self.client.create(f"{self.root}/locked/jobgraphs/{left.job}/locks/x", ephemeral=True)
        self.assertEqual(self.verdicts("--all"), {name: "live" for name in ("addressed", "latched", "locked")})
        before = self.tree("locked")
        self.assertIn("nothing was touched", self.run_cli("clean", "locked", "--yes", code=CONFLICT))
        self.assertEqual(self.tree("locked"), before)

    def test_ids_with_slashes_and_folders_that_are_none(self):
        self.client.create(self.root)
        self.client.create(f"{self.root}/team")
        self.client.create(f"{self.root}/empty")
        self.leftovers("team/app")
        self.assertEqual(self.verdicts(), {"team/app": "leftover-would-revive"})
        evidence = self.json("explain", "team/app")["evidence"]
        self.assertEqual({each["next"] for each in evidence["counter"]}, {813})
        self.assertEqual(evidence["cluster"]["storage"], f"file:{self.storage.folder}")

    def test_what_flink_does_not_make_is_kept(self):
        self.leftovers()
        self.client.create(f"{self.root}/my-app/notes", "mine")
        self.assertEqual(self.verdicts(), {"my-app": "unknown"})
        self.assertIn("nothing was touched", self.run_cli("clean", "my-app", "--yes", code=CONFLICT))

    def test_clean_and_undo(self):
        for layout in LAYOUTS:
            with self.subTest(layout=layout):
                cluster = f"app-{layout.replace('.', '-')}"
                left = self.leftovers(cluster, layout=layout)
                before, contents = self.tree(cluster), {path: path.read_bytes() for path in left.files}
                self.run_cli("clean", cluster, "--wait", "--dry-run")
                self.assertEqual(self.tree(cluster), before)
                done = self.json("clean", cluster, "--yes")
                self.assertEqual((done["objects"], done["files"]), (len(before), len(left.files)))
                self.assertEqual(self.tree(cluster), {})
                self.assertFalse([path for path in left.files if path.exists()])
                archive = Path(done["archive"])
                self.assert_archived(archive, contents)
                self.assertIn("no HA metadata", self.run_cli("clean", cluster, "--yes", code=NOT_FOUND))
                for _ in range(2):
                    self.run_cli("undo", archive.name, "--yes")
                    self.assertEqual(self.tree(cluster), before)
                    self.assertEqual({path: path.read_bytes() for path in left.files}, contents)

    def test_undo_makes_the_root_again_and_refuses_other_nodes(self):
        self.leftovers()
        before = self.tree()
        archive = self.json("clean", "my-app", "--wait", "--yes")["archive"]
        self.client.delete(self.root)
        self.run_cli("undo", archive, "--yes")
        self.assertEqual(self.tree(), before)
        archive = self.json("clean", "my-app", "--wait", "--yes")["archive"]
        for path in (f"{self.root}/my-app", f"{self.root}/my-app/jobs"):
            self.client.create(path, "other")
        self.assertIn("another node is there", self.run_cli("undo", archive, "--yes", code=CONFLICT))
        self.assertEqual(len(self.tree()), 2)

    def test_an_archive_goes_back_to_where_it_is_from(self):
        self.leftovers()
        archive = Path(self.json("clean", "my-app", "--wait", "--yes")["archive"])
        manifest = json.loads((archive / "manifest.json").read_text("utf-8"))
        self.assertEqual((manifest["backend"], manifest["cluster"]), ("zookeeper", "my-app"))
        root, self.root = self.root, "/elsewhere"
        self.assertIn(f"{root}, and this is", self.run_cli("undo", archive, "--yes", code=CONFLICT))
        self.root = root
        self.assertEqual(self.tree(), {})


if __name__ == "__main__":
    unittest.main(verbosity=2)
