#!/usr/bin/env python3
"""Stores that earlier versions wrote, kept as bytes, are opened by this one with everything in them.

tests/fixtures/stores/NAME.json holds the files of a folder store as a version left them when it was killed, and what that
version itself answered about them. --write NAME [--from COMMIT] makes one, of this version or of a commit; those that are
there are never made again.
"""
import argparse
import base64
import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "rpc"), str(HERE.parent)]
from harness import DAEMON, Daemon, JobManager, Stream  # noqa: E402
from lib import older  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402

STORES = HERE.parent / "fixtures" / "stores"
OCTETS = {"Content-Type": "application/octet-stream"}
RUNNING, INLINE, ENDED, DELETED, QUARANTINED = (digit * 32 for digit in "12345")
#: What each clock and each start of a daemon changes.
CHANGES = {"revision", "epoch", "remaining_ms", "expires_ms", "expires_in_ms", "next", "waiting"}


class Version(Daemon):
    """A daemon of any version on a store of its own."""

    def __init__(self, program=DAEMON, **settings):
        super().__init__(**settings)
        self.program = program

    def command(self):
        return [str(self.program), *super().command()[1:]]


def must(answer):
    if answer[0] != 200:
        raise AssertionError(answer)
    return answer[1]


def fill(daemon):
    """A cluster in the middle of its life, and one that is all but over; what of it has to be known later."""
    first, second = JobManager(daemon).wait_granted(), JobManager(daemon, cluster="c2", ns="other").wait_granted()
    for component in ("dispatcher", "restserver"):
        must(first.call("PUT", f"/leader/{component}", {"leader_session": first.leader_session, "address": f"http://jm/{component}"}))
    for kind in ("graphs", "applications"):
        for job in (RUNNING, INLINE, QUARANTINED):
            must(first.call("PUT", f"/{kind}/{job}", f"{kind} of {job}\n".encode() * 40, OCTETS))
        must(first.call("POST", f"/{kind}/{QUARANTINED}/quarantine", {"reason": "cannot be read: ä ✓"}))
    for number in range(1, 31):  # more than a snapshot's worth of records
        must(first.commit(RUNNING, number, num_retained=3, reserve=2 if number % 5 == 0 else 0))
    must(first.call("POST", f"/jobs/{RUNNING}/discards/done", {"ids": [1, 2, 3, 5]}))
    must(first.call("POST", f"/jobs/{RUNNING}/checkpoints/29/quarantine", {"reason": "gone"}))
    must(first.commit(INLINE, 7, pointer=None, inline=base64.b64encode(bytes(range(256))).decode(), num_retained=2))
    must(first.call("POST", f"/jobs/{INLINE}/counter/raise", {"to": 1000}))
    must(second.commit(DELETED, 4, num_retained=1))
    must(second.call("DELETE", f"/jobs/{DELETED}"))
    for kind in ("results", "application-results"):
        must(second.call("PUT", f"/{kind}/{ENDED}", {"result": {"state": "FINISHED", "at": 1.5, "text": "ü"}}))
        must(second.call("POST", f"/{kind}/{ENDED}/clean", {"keep": True}))
        must(second.call("PUT", f"/{kind}/{RUNNING}", {"result": {}}))
    return [{"base": jm.base, "session": jm.sid, "fence": jm.fence, "leader_session": jm.leader_session, "stream": jm}
            for jm in (first, second)]


def ask(daemon, paths):
    """path -> [code, answer]; bytes as base64."""
    answers = {}
    for path in paths:
        code, answer, _ = daemon.call("GET", path)
        answers[path] = [code, {"bytes": base64.b64encode(answer).decode()} if isinstance(answer, bytes) else answer]
    return answers


def paths_of(managers):
    found = ["/v1/clusters", "/v1/leaders", "/v1/trash"]
    for base in (manager["base"] for manager in managers):
        found += [base, f"{base}/leader", f"{base}/jobs"]
        for kind in ("graphs", "applications", "results", "application-results"):
            found += [f"{base}/{kind}", *(f"{base}/{kind}/{job}" for job in (RUNNING, INLINE, ENDED, QUARANTINED))]
        found += [f"{base}/jobs/{job}{rest}" for job in (RUNNING, INLINE, DELETED) for rest in ("", "/checkpoints")]
    return found


def write(name, commit):
    target = STORES / f"{name}.json"
    if target.exists():
        raise older.Failure(f"{target} is there already; stored bytes are never made again")
    program, commit = older.holdfastd(commit) if commit else (DAEMON, older.commit_of("HEAD"))
    with Version(program, store_snapshot__records=10, session_ttl__max="1d") as daemon:
        managers = fill(daemon)
        answers = {path: answer for path, answer in ask(daemon, paths_of(managers)).items()
                   if answer[0] == 200 or QUARANTINED in path or DELETED in path}
        daemon.kill()
        root = Path(daemon.store)
        files = {str(path.relative_to(root)): base64.b64encode(path.read_bytes()).decode() for path in sorted(root.rglob("*"))
                 if path.is_file() and path.name != "ballast"}
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    for manager in managers:
        manager.pop("stream").stream.close()
    STORES.mkdir(exist_ok=True)
    write_json(target, {"version": version, "commit": commit, "managers": managers, "answers": answers, "files": files})
    print(f"{target.name}: {version}, {len(files)} files, {target.stat().st_size} bytes")


def lost(old, new, where=""):
    """What an answer of then says and one of now does not. More may be said now."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [each for key, value in old.items() if key not in CHANGES
                for each in (lost(value, new[key], f"{where}/{key}") if key in new else [f"{where}/{key} is gone"])]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [each for at, (one, other) in enumerate(zip(old, new)) for each in lost(one, other, f"{where}/{at}")]
    return [] if old == new else [f"{where}: {old!r} is {new!r}"]


class Opened(unittest.TestCase):
    """Each store, by this version."""

    def unpacked(self, kept):
        # Deletions that nobody finished are as old as the store: here nobody does anything about them.
        daemon = Version(gc_policy="off", trash_keep="3650d", session_ttl__max="1d", store_snapshot__records=10)
        self.addCleanup(daemon.remove)
        for name, content in kept["files"].items():
            path = Path(daemon.store) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(content))
        return daemon

    @classmethod
    def setUpClass(cls):
        cls.stores = {name.stem: json.loads(name.read_text("utf-8")) for name in sorted(STORES.glob("*.json"))}
        if len(cls.stores) < 2:
            raise AssertionError(f"only {list(cls.stores)} in {STORES}")

    def compare(self, kept, daemon):
        now = ask(daemon, kept["answers"])
        self.assertEqual([each for path in kept["answers"] for each in lost(kept["answers"][path], now[path], path)], [])

    def test_everything_is_there_before_and_after_another_start(self):
        for name, kept in self.stores.items():
            with self.subTest(name):
                daemon = self.unpacked(kept).start()
                self.assertGreater(len(kept["files"]), 10)
                self.compare(kept, daemon)
                self.assertEqual(daemon.stop(), 0)
                self.compare(kept, daemon.start())

    def test_sessions_and_fences_hold_and_work_goes_on(self):
        for name, kept in self.stores.items():
            with self.subTest(name):
                daemon = self.unpacked(kept).start()
                streams = []
                for manager in kept["managers"]:
                    session = f"{manager['base']}/sessions/{manager['session']}"
                    must(daemon.call("POST", f"{session}/renew", {}))
                    stream = Stream(daemon, f"{session}/events?contend=true")
                    streams.append(stream)
                    granted = stream.next("granted")
                    self.assertEqual([granted[key] for key in ("fence", "leader_session")], [manager["fence"], manager["leader_session"]])
                first, second = kept["managers"]
                head = [{"Holdfast-Session": each["session"], "Holdfast-Fence": str(each["fence"])} for each in (first, second)]
                jobs = f"{first['base']}/jobs/{RUNNING}"
                before = must(daemon.call("GET", f"{jobs}/checkpoints"))
                # An id that was reserved then is not handed out again.
                self.assertGreaterEqual(must(daemon.call("POST", f"{jobs}/counter/reserve", {"count": 1}, head[0]))["from"], before["next_id"])
                number = before["next_id"] + 50
                body = {"id": number, "pointer": "file:/new", "started_ms": 1, "completed_ms": 2, "size": 3, "num_retained": 1, "reserve": 0,
                        "discarded": [], "inline": None,
                        "properties": {"type": "CHECKPOINT", "sharing": "FORWARD_BACKWARD", "format": None, "post_action": None,
                                       "forced": False, "unclaimed": False, "discard_on": ["subsumed"]}}
                must(daemon.call("POST", f"{jobs}/checkpoints", body, head[0]))
                trash, = must(daemon.call("GET", "/v1/trash"))["trash"]
                must(daemon.call("POST", f"/v1/trash/{trash['id']}/restore", {}))
                deleted = f"{second['base']}/jobs/{DELETED}/checkpoints"
                self.assertEqual([entry["id"] for entry in must(daemon.call("GET", deleted))["checkpoints"]], [4])
                old = {"Holdfast-Session": "f" * 32, "Holdfast-Fence": str(first["fence"])}
                self.assertEqual(daemon.call("POST", f"{jobs}/checkpoints", {**body, "id": number + 1}, old)[0], 409)
                daemon.kill()
                daemon.start()
                listed = [entry["id"] for entry in must(daemon.call("GET", f"{jobs}/checkpoints"))["checkpoints"] if not entry["quarantined"]]
                self.assertEqual(listed, [number])
                for stream in streams:
                    stream.close()

    def test_a_difference_would_be_found(self):
        old = {"a": [{"b": 1, "c": None}], "revision": 4}
        self.assertEqual(lost(old, {"a": [{"b": 1, "c": None, "more": 2}], "revision": 9}), [])
        for new in ({"a": [{"b": 2, "c": None}]}, {"a": []}, {"a": [{"b": 1}]}, {}):
            self.assertNotEqual(lost(old, new), [])

    def test_a_damaged_one_is_refused_by_name(self):
        for name, kept in self.stores.items():
            with self.subTest(name):
                daemon = self.unpacked(kept)
                damaged = Path(daemon.store) / max(name for name in kept["files"] if name.startswith("log/"))
                content = bytearray(damaged.read_bytes())
                content[len(content) // 2] ^= 1
                damaged.write_bytes(content)
                code, text = daemon.start(expect_failure=True)
                self.assertNotEqual(code, 0)
                self.assertIn(str(damaged.relative_to(daemon.store)), text)


def main():
    parser = argparse.ArgumentParser(prog="stored", description=__doc__.splitlines()[0])
    parser.add_argument("--write", metavar="NAME", required=True, help="make tests/fixtures/stores/NAME.json")
    parser.add_argument("--from", dest="commit", metavar="COMMIT", help="of that commit; default: of what is built")
    args = parser.parse_args()
    write(args.write, args.commit)


if __name__ == "__main__":
    if "--write" in sys.argv:
        main_guard("stored", main)
    else:
        unittest.main()
