"""What became of a job's checkpoint files: a watcher while the job runs, an account after its end.

"Leaked" are files left behind that an *acknowledged* checkpoint referred to, or that lie in its folder: somebody knew
of them and should have deleted them. "In flight" are files no acknowledged checkpoint ever referred to: written for a
checkpoint that a kill cut off. Which file belongs to which checkpoint stands in its _metadata alone, and that is gone
when the account is made; so the watcher puts every _metadata aside while it can.
"""
import subprocess
import threading
import time
from pathlib import Path

from . import maven
from .failure import Failure
from .trees import chk_number, tree_of

_POLL = 0.015


class MetadataWatcher:
    """A thread that keeps each chk-N/_metadata of one job, by a hard link where the folder is on this machine."""

    def __init__(self, folder, side):
        self.tree = tree_of(folder)
        self.side = Path(side)
        self.side.mkdir(parents=True)
        self.inodes = {}
        self.repeated = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metadata-watcher", daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.is_set():
            try:
                self._look()
            except Failure:
                pass  # of a server that is gone for a moment; the account names what was missed
            self._ended.wait(_POLL)
        self._look()

    def _look(self):
        for number in reversed(self.tree.numbers()):
            target = self.side / f"chk-{number}"
            try:
                identity = self.tree.identity(number)
                if number in self.inodes:
                    if self.inodes[number] != identity:
                        self.repeated.add(number)
                    continue
                target.mkdir(exist_ok=True)
                self.tree.keep(number, target / "_metadata")
                self.inodes[number] = identity
            except FileNotFoundError:
                if target.exists() and number not in self.inodes:
                    target.rmdir()


def complete_on_disk(folder):
    """Numbers of the checkpoints with a _metadata."""
    return tree_of(folder).complete()


def settle(folder, quiet=5.0, timeout=60.0):
    """Waits until the job's files are all gone, or have not changed for `quiet` seconds (Flink deletes in the
    background and says nowhere that it is done)."""
    end = time.monotonic() + timeout
    seen, since = None, time.monotonic()
    while time.monotonic() < end:
        files, _ = tree_of(folder).listing()
        if not files:
            return
        if files != seen:
            seen, since = files, time.monotonic()
        elif time.monotonic() - since >= quiet:
            return
        time.sleep(0.1)


def account(folder, watcher, acknowledged, flink_lib):
    """The account after the job's end, as a dict for the JSON report. What seems to be leaked gets another chance: on a
    busy machine nothing may be deleted for longer than settle() waits."""
    found = _account(folder, watcher, acknowledged, flink_lib)
    if found["leaked_files"]:
        settle(folder, quiet=20, timeout=180)
        found = _account(folder, watcher, acknowledged, flink_lib)
    return found


def too_many_missed(found):
    """Whether the account says too little. The watcher is a thread that may come too late for some; what one of them
    refers to is mostly referred to by the ones before and after it as well."""
    return len(found["metadata_missed"]) * 2 > found["acknowledged"]


def _account(folder, watcher, acknowledged, flink_lib):
    tree = tree_of(folder)
    referenced, unreadable = _references(tree, watcher.side, flink_lib)
    known = {file for number in acknowledged for file in referenced.get(number, ())}
    files, empty = tree.listing()
    leaked, inflight = {}, {}
    for file, size in files.items():
        theirs = file in known or chk_number(Path(file).parts[0]) in acknowledged
        (leaked if theirs else inflight)[file] = size
    return {
        "leaked_files": len(leaked), "leaked_bytes": sum(leaked.values()),
        "leaked": sorted(leaked)[:20],
        "inflight_files": len(inflight), "inflight_bytes": sum(inflight.values()),
        "empty_folders": len(empty), "acknowledged": len(acknowledged),
        "metadata_missed": sorted(set(acknowledged) - set(watcher.inodes)), "metadata_unreadable": sorted(unreadable),
    }


def _references(tree, side, flink_lib):
    """{checkpoint: {name, ...}} as Flink's own reader sees it, and the checkpoints it could not read."""
    from .flink import java
    class_path = f"{maven.job_jar()}:{flink_lib}/*"
    run = subprocess.run(
        [java(), "-Xmx256m", "-cp", class_path, "io.holdfast.testjob.MetadataOracle", side],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True)
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines() or ["no message"]
        raise Failure(f"the metadata oracle failed: {reason[0]}")
    referenced, unreadable = {}, set()
    for line in run.stdout.splitlines():
        name, _, file = line.partition("\t")
        number = chk_number(name)
        files = referenced.setdefault(number, set())
        if file.startswith("!"):
            unreadable.add(number)
        elif file:
            files.add(_name(Path(file), side, tree.root))
    return referenced, unreadable


def _name(path, side, root):
    """State beside its _metadata is named relative to it, and the copy of that lies in `side`."""
    for place in (side, root):
        if path.is_relative_to(place):
            return str(path.relative_to(place))
    return str(path)
