"""kubectl, from its Go module; built once and kept."""
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import golang
from .failure import Failure
from .paths import CACHE, ROOT, cache_lock

MODULE = ROOT / "tests" / "fixtures" / "kubectl"


def kubectl():
    """The path of the program."""
    digest = hashlib.sha256(b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))).hexdigest()[:12]
    target = CACHE / f"kubectl-{digest}"
    with cache_lock(target.name):
        if not target.is_file():
            go, environment = golang.go((1, 21))  # which fetches what the module asks for
            log = CACHE / "kubectl.log"
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".kubectl-") as scratch, open(log, "wb") as out:
                built = Path(scratch) / "kubectl"
                done = subprocess.run([go, "build", "-p", "2", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", built, "."],
                                      cwd=MODULE, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False,
                                      env={**os.environ, **environment, "GOFLAGS": "", "GOTOOLCHAIN": "auto"})
                if done.returncode:
                    raise Failure(f"kubectl cannot be built; see {log}")
                shutil.move(built, target)
    return target
