"""A folder in which Flink keeps checkpoints, as the tests look at it: on this machine, or on HDFS.

A name is relative to the folder. An identity tells a checkpoint from another one of the same number.
"""
import os
import re
import urllib.parse
from pathlib import Path

from . import http
from .failure import Failure

_CHK = re.compile(r"^chk-(\d+)$")


def chk_number(name):
    """N of "chk-N", or None."""
    match = _CHK.match(name)
    return int(match[1]) if match else None


def tree_of(folder):
    """Whoever has a plain folder may give that."""
    return folder if isinstance(folder, (LocalTree, HdfsTree)) else LocalTree(folder)


class LocalTree:
    """A folder of this machine; `root` is its path as Flink names it, when that is another one."""

    def __init__(self, folder, root=None):
        self.folder = Path(folder)
        self.root = str(root or folder)

    def numbers(self):
        """Of the chk-N folders that are there."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(number for number in map(chk_number, names) if number is not None)

    def _metadata(self, number):
        return self.folder / f"chk-{number}" / "_metadata"

    def complete(self):
        """Numbers of the checkpoints with a _metadata."""
        return [number for number in self.numbers() if self._metadata(number).exists()]

    def identity(self, number):
        """Raises FileNotFoundError."""
        return os.stat(self._metadata(number)).st_ino

    def keep(self, number, target):
        """Puts the _metadata at `target`. The link keeps the inode in use: another one is another checkpoint."""
        os.link(self._metadata(number), target)

    def listing(self):
        """({name: size}, [folders with nothing in them]); others may be deleting meanwhile."""
        files, empty = {}, []
        for place, folders, names in os.walk(self.folder):
            if not folders and not names and Path(place) != self.folder:
                empty.append(os.path.relpath(place, self.folder))
            for name in names:
                path = os.path.join(place, name)
                try:
                    files[os.path.relpath(path, self.folder)] = os.stat(path).st_size
                except FileNotFoundError:
                    pass
        return files, empty


class HdfsTree:
    """A folder of an HDFS (hdfs.Hdfs), through WebHDFS."""

    def __init__(self, cluster, root, user):
        self.cluster = cluster
        self.root = root
        self.user = user
        self._seen = {}
        self._node = None  # that answered last: to ask which is active would double the time of each look

    def _get(self, name, operation):
        """The answer's JSON or text; None when there is no such file."""
        path = urllib.parse.quote(f"{self.root}/{name}".rstrip("/"))
        for node in (self._node, None):
            node = node or self.cluster.active()
            if node is None:
                raise Failure("no NameNode is active")
            code, answer = http.call("GET", f"{node.url}/webhdfs/v1{path}?op={operation}&user.name={self.user}",
                                     raw=operation == "OPEN")
            if code in (200, 404):
                self._node = node
                break
        if code == 404:
            return None
        if code != 200:
            raise Failure(f"{operation} {path}: {code} {answer}")
        return answer

    def _entries(self, name=""):
        answer = self._get(name, "LISTSTATUS")
        return answer["FileStatuses"]["FileStatus"] if answer else []

    def numbers(self):
        found = {chk_number(entry["pathSuffix"]): entry["fileId"] for entry in self._entries()}
        found.pop(None, None)
        self._seen = found
        return sorted(found)

    def complete(self):
        return [number for number in self.numbers() if self._get(f"chk-{number}/_metadata", "GETFILESTATUS")]

    def identity(self, number):
        """The folder's, as of the last numbers()."""
        return self._seen[number]

    def keep(self, number, target):
        data = self._get(f"chk-{number}/_metadata", "OPEN")
        if data is None:
            raise FileNotFoundError(f"chk-{number}/_metadata")
        Path(target).write_bytes(data)

    def listing(self):
        files, empty, folders = {}, [], [""]
        while folders:
            folder = folders.pop()
            entries = self._entries(folder)
            if folder and not entries:
                empty.append(folder)
            for entry in entries:
                name = f"{folder}/{entry['pathSuffix']}".lstrip("/")
                if entry["type"] == "DIRECTORY":
                    folders.append(name)
                else:
                    files[name] = entry["length"]
        return files, empty
