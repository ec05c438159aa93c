"""holdfastd of an earlier commit of this repository, built once and kept."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .failure import Failure
from .paths import CACHE, ROOT, cache_lock


def commit_of(name):
    """The full id of a commit."""
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"there is no commit {name} here: in a clone of recent history only, git fetch --unshallow")
    return done.stdout.strip()


def holdfastd(name):
    """(path of the program, id of the commit)"""
    commit = commit_of(name)
    target = CACHE / f"holdfastd-{commit[:12]}"
    with cache_lock(target.name):
        if not target.is_file():
            _build(commit, target)
    return target, commit


def _build(commit, target):
    log = CACHE / f"{target.name}.log"
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".holdfastd-") as scratch, open(log, "wb") as out:
        tree, build = Path(scratch) / "tree", Path(scratch) / "build"
        tree.mkdir()
        archive = Path(scratch) / "tree.tar"
        for command in (["git", "-C", ROOT, "archive", "-o", archive, commit], ["tar", "-xf", archive, "-C", tree],
                        ["cmake", "-S", tree, "-B", build, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DHF_TESTS=OFF"],
                        ["cmake", "--build", build, "--target", "holdfastd", "--parallel", str(os.cpu_count() or 1)]):
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False).returncode:
                raise Failure(f"holdfastd of {commit[:12]} cannot be built; see {log}")
        shutil.move(build / "daemon" / "holdfastd", target)
