"""What lies below a job's folders, what the retained checkpoints name, and `holdfast gc`."""
import json
import os
import subprocess

from .failure import Failure
from .paths import BUILD


def holdfast(*arguments, check=True):
    """Runs the CLI; its standard output."""
    done = subprocess.run([BUILD / "cli" / "holdfast", *map(str, arguments)], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise Failure(f"holdfast {' '.join(map(str, arguments))}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Folders:
    """A job's checkpoint folder and its changelog folder (which need not be there)."""

    def __init__(self, checkpoints, changelog):
        self.checkpoints = checkpoints
        self.changelog = changelog

    def present(self):
        return [folder for folder in (self.checkpoints, self.changelog) if folder.is_dir()]

    def files(self):
        """{path: bytes} of all that is there."""
        found = {}
        for folder in self.present():
            for place, _, names in os.walk(folder):
                for name in names:
                    path = os.path.join(place, name)
                    try:
                        found[path] = os.stat(path).st_size
                    except FileNotFoundError:
                        pass
        return found

    def complete(self):
        """The folders of the complete checkpoints."""
        return sorted(path.parent for path in self.checkpoints.glob("chk-*/_metadata"))

    def named(self):
        """{path: set of checkpoints} of every file that a complete checkpoint names, and {folder} that one claims."""
        files, claimed = {}, set()
        for checkpoint in self.complete():
            files.setdefault(str(checkpoint / "_metadata"), set()).add(checkpoint.name)
            for operator in json.loads(holdfast("metadata", "show", "-o", "json", checkpoint))["operators"]:
                claimed |= {_plain(folder["path"]) for folder in operator.get("folders", [])}
                for handle in operator["state"]:
                    if handle["kind"] != "inline":
                        path = str(checkpoint / handle["path"]) if handle["kind"] == "relative" else _plain(handle["path"])
                        files.setdefault(path, set()).add(checkpoint.name)
        return files, claimed


def _plain(uri):
    path = uri[5:] if uri.startswith("file:") else uri
    return "/" + path.lstrip("/")
