"""What became of a job's checkpoint files: a watcher while the job runs, an account after its end.

"Leaked" are files left behind that an *acknowledged* checkpoint referred to, or that lie in its folder: somebody knew
of them and should have deleted them. "In flight" are files no acknowledged checkpoint ever referred to: written for a
checkpoint that a kill cut off. Which file belongs to which checkpoint stands in its _metadata alone, and that is gone
when the account is made; so the watcher hard-links every _metadata aside while it can.
"""
import os
import re
import subprocess
import threading
import time
from pathlib import Path

from . import maven
from .failure import Failure

_POLL = 0.015
_CHK = re.compile(r"^chk-(\d+)$")


class MetadataWatcher:
    """A thread that keeps a hard link to each chk-N/_metadata of one job."""

    def __init__(self, folder, side):
        self.folder = Path(folder)
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
            self._look()
            self._ended.wait(_POLL)
        self._look()

    def _look(self):
        for number in chk_folders(self.folder):
            source = self.folder / f"chk-{number}" / "_metadata"
            try:
                inode = os.stat(source).st_ino
                # The link keeps the inode in use, so another inode is another checkpoint under the same number.
                if number in self.inodes:
                    if self.inodes[number] != inode:
                        self.repeated.add(number)
                    continue
                target = self.side / f"chk-{number}"
                target.mkdir(exist_ok=True)
                os.link(source, target / "_metadata")
                self.inodes[number] = inode
            except FileNotFoundError:
                continue


def chk_folders(folder):
    """Numbers of the chk-N folders that are there."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for match in map(_CHK.match, names) if match)


def complete_on_disk(folder):
    """Numbers of the checkpoints with a _metadata."""
    return [number for number in chk_folders(folder) if (Path(folder) / f"chk-{number}" / "_metadata").exists()]


def settle(folder, quiet=5.0, timeout=60.0):
    """Waits until the job's files are all gone, or have not changed for `quiet` seconds (Flink deletes in the
    background and says nowhere that it is done)."""
    end = time.monotonic() + timeout
    seen, since = None, time.monotonic()
    while time.monotonic() < end:
        files, _ = _listing(folder)
        if not files:
            return
        if files != seen:
            seen, since = files, time.monotonic()
        elif time.monotonic() - since >= quiet:
            return
        time.sleep(0.1)


def account(folder, watcher, acknowledged, flink_lib):
    """The account after the job's end, as a dict for the JSON report."""
    folder = Path(folder)
    referenced, unreadable = _references(folder, watcher.side, flink_lib)
    known = {file for number in acknowledged for file in referenced.get(number, ())}
    files, empty = _listing(folder)
    leaked, inflight = {}, {}
    for file, size in files.items():
        match = _CHK.match(Path(file).relative_to(folder).parts[0])
        theirs = file in known or (match and int(match[1]) in acknowledged)
        (leaked if theirs else inflight)[file] = size
    return {
        "leaked_files": len(leaked), "leaked_bytes": sum(leaked.values()),
        "leaked": [os.path.relpath(file, folder) for file in sorted(leaked)[:20]],
        "inflight_files": len(inflight), "inflight_bytes": sum(inflight.values()),
        "empty_folders": len(empty), "acknowledged": len(acknowledged),
        "metadata_missed": sorted(set(acknowledged) - set(watcher.inodes)), "metadata_unreadable": sorted(unreadable),
    }


def _references(folder, side, flink_lib):
    """{checkpoint: {file, ...}} as Flink's own reader sees it, and the checkpoints it could not read."""
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
        number = int(_CHK.match(name)[1])
        files = referenced.setdefault(number, set())
        if file.startswith("!"):
            unreadable.add(number)
        elif file:
            # State beside its _metadata is named relative to it, and the copy lies elsewhere.
            path = Path(file)
            files.add(str(folder / path.relative_to(side)) if path.is_relative_to(side) else file)
    return referenced, unreadable


def _listing(folder):
    """({file: size}, [folders with nothing in them]) below a folder that others may be deleting from."""
    files, empty = {}, []
    for place, folders, names in os.walk(folder):
        if not folders and not names and Path(place) != Path(folder):
            empty.append(place)
        for name in names:
            path = os.path.join(place, name)
            try:
                files[path] = os.stat(path).st_size
            except FileNotFoundError:
                pass
    return files, empty
