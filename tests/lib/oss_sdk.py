"""Aliyun's own client of OSS, installed once into the cache."""
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .failure import Failure
from .paths import CACHE, ROOT, cache_lock

REQUIREMENTS = ROOT / "tests" / "fixtures" / "oss" / "requirements.txt"


def load():
    """The module alibabacloud_oss_v2."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    target = CACHE / f"oss-sdk-{digest}"
    with cache_lock(target.name):
        if not target.is_dir():
            install(target)
    sys.path.insert(0, str(target))
    import alibabacloud_oss_v2
    return alibabacloud_oss_v2


def install(target):
    log = CACHE / "oss-sdk.log"
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".oss-sdk-") as scratch:
        folder = Path(scratch)
        commands = [[sys.executable, "-m", "venv", folder / "venv"],
                    [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps",
                     "--disable-pip-version-check", "--target", folder / "lib", "-r", REQUIREMENTS]]
        with open(log, "wb") as out:
            for command in commands:
                done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                      check=False)
                if done.returncode:
                    raise Failure(f"Aliyun's client of OSS cannot be installed (is python3-venv there?); see {log}")
        shutil.move(folder / "lib", target)
