"""Flink as people install it: bin/, conf/, lib/ and plugins/, put together once from its two Python packages."""
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import maven
from .failure import Failure
from .paths import CACHE, ROOT, cache_lock

REQUIREMENTS = ROOT / "tests" / "fixtures" / "flink-home" / "requirements.txt"
VERSION = next(line.split("==")[1].strip() for line in REQUIREMENTS.read_text("utf-8").splitlines() if line.startswith("apache-flink=="))


def original():
    """The one that all are copied from; nobody writes to it."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    target = CACHE / f"flink-home-{VERSION}-{digest}"
    with cache_lock(target.name):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".flink-home-") as scratch:
                _assemble(Path(scratch)).rename(target)
    return target


def _assemble(scratch):
    _download(scratch / "scripts", "apache-flink", "--only-binary", ":all:", "--python-version", "3.11",
              "--platform", "manylinux2014_x86_64", folder=scratch)
    _download(scratch / "jars", "apache-flink-libraries", "--no-binary", ":all:", folder=scratch)
    for path in (scratch / "scripts").glob("*.whl"):
        shutil.unpack_archive(path, scratch / "wheel", "zip")
    for path in (scratch / "jars").glob("*.tar.gz"):
        shutil.unpack_archive(path, scratch / "sources", "gztar")
        path.unlink()
    home = scratch / "home"
    try:
        jars = next((scratch / "sources").glob("*/deps"))
        for name in ("lib", "opt", "plugins"):
            shutil.move(jars / name, home / name)
        for name in ("bin", "conf"):
            shutil.move(scratch / "wheel" / "pyflink" / name, home / name)
        for path in (jars / "bin").iterdir():
            shutil.move(path, home / "bin" / path.name)
    except (OSError, StopIteration) as error:
        raise Failure(f"Flink's Python packages are not as they were: {error}") from error
    for path in (home / "bin").iterdir():
        path.chmod(0o755)
    (home / "log").mkdir()
    return home


def _download(target, package, *how, folder):
    """pip wants a version that is pinned, and nothing that it depends on."""
    venv, log = folder / "venv", CACHE / "flink-home.log"
    commands = [] if venv.exists() else [[sys.executable, "-m", "venv", venv]]
    commands.append([venv / "bin" / "python", "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
                     "--no-cache-dir", *how, "--dest", target, f"{package}=={VERSION}"])
    with open(log, "ab") as out:
        for command in commands:
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False).returncode:
                raise Failure(f"Flink {VERSION} cannot be downloaded (is python3-venv there?); see {log}")


def install(target):
    """One to work in: settings and scripts are its own, jars are links. With the file system for S3, as the download has it."""
    source = original()
    for name in ("bin", "conf", "plugins"):
        shutil.copytree(source / name, target / name)
    for name in ("lib", "opt"):
        (target / name).mkdir()
        for jar in (source / name).iterdir():
            (target / name / jar.name).symlink_to(jar)
    (target / "log").mkdir()
    return target


def add_s3(home):
    """Into opt/, where the download has it."""
    jar = maven.s3_plugin(maven.flink_version(VERSION.rsplit(".", 1)[0]))
    (home / "opt" / jar.name).symlink_to(jar)
