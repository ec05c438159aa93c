"""The Go command. Debian 12's is 1.19; a program that needs a later one is built with a toolchain from Go's own modules."""
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .failure import Failure

TOOLCHAIN = "1.25.4"  # for a Go that cannot fetch one by itself (before 1.21)
_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


def _run(command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)


def version(command):
    """(1, 19) for a go command."""
    found = re.search(r"go(\d+)\.(\d+)", _run([command, "version"], env={**os.environ, "GOTOOLCHAIN": "local"}).stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def go(minimum=(1, 19)):
    """(command, what its environment needs beside ours) of a Go that is at least that new."""
    command = shutil.which("go")
    if not command:
        raise Failure("there is no go: run scripts/install, or apt-get install golang-go")
    have = version(command)
    if have >= minimum:
        return command, {}
    if have >= (1, 21):
        return command, {"GOTOOLCHAIN": f"go{TOOLCHAIN}"}
    return _toolchain(command)


def _toolchain(command):
    """What later Go commands do by themselves: the toolchain is a module, checked against Go's checksum database."""
    module = f"golang.org/toolchain@v0.0.1-go{TOOLCHAIN}.linux-{_ARCH.get(platform.machine(), platform.machine())}"
    with tempfile.TemporaryDirectory() as nowhere:  # not in somebody's module
        done = _run([command, "mod", "download", "-json", module], cwd=nowhere)
    if done.returncode:
        raise Failure(f"{module} cannot be downloaded: {(done.stdout + done.stderr).strip()[-500:]}")
    root = Path(json.loads(done.stdout)["Dir"])
    for program in [*root.glob("bin/*"), *root.glob("pkg/tool/*/*")]:  # modules hold no executable files
        program.chmod(0o755)
    return str(root / "bin" / "go"), {"GOROOT": str(root), "GOTOOLCHAIN": "local"}
