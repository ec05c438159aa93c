"""Jars made by Maven: a Flink's class path, the test job, the plugin. Each is made once and kept."""
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .failure import Failure
from .paths import CACHE, FIXTURE, ROOT, cache_lock

#: Newest patch release of each line that the fixture knows; any full version can be given as well.
FLINK_LINES = {"1.20": "1.20.5", "2.0": "2.0.2", "2.1": "2.1.3", "2.2": "2.2.1", "2.3": "2.3.0"}
PLUGIN = ROOT / "flink"
PLUGIN_JAR = PLUGIN / "target" / "holdfast-flink-0.1.0.jar"


def flink_version(text):
    """A full version for a line ("2.3") or a full version ("2.3.0")."""
    if text in FLINK_LINES:
        return FLINK_LINES[text]
    if text.count(".") == 2 and all(part.isdigit() for part in text.split(".")):
        return text
    raise Failure(f"unknown Flink version {text!r}: give one of {', '.join(FLINK_LINES)} or a full version")


def flink_lib(version):
    """The folder with all jars of a Flink version, downloaded on first use."""
    digest = _digest([FIXTURE / "pom.xml"])
    target = CACHE / f"flink-{version}-{digest}"
    with cache_lock(target.name):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".flink-") as scratch:
                lib = Path(scratch) / "lib"
                _maven(f"Flink {version}", FIXTURE / "pom.xml", "package", f"-Dflink.version={version}",
                       f"-Dlib.dir={lib}")
                lib.rename(target)
    return target


def hadoop_lib():
    """The folder with all jars of a NameNode and a DataNode, downloaded on first use."""
    return _fixture_lib("Hadoop", "hadoop")


def kdc_lib():
    """The folder with all jars of a Kerberos KDC, downloaded on first use."""
    return _fixture_lib("a Kerberos KDC", "kdc")


def _fixture_lib(what, name):
    pom = FIXTURE.parent / name / "pom.xml"
    target = CACHE / f"{name}-{_digest([pom])}"
    with cache_lock(target.name):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{name}-") as scratch:
                lib = Path(scratch) / "lib"
                _maven(what, pom, "package", f"-Dlib.dir={lib}")
                lib.rename(target)
    return target


def s3_plugin(version):
    """Flink's own file system for s3://, of a Flink version or of the next older one that it was published for."""
    return _flink_jar("Flink's S3 plugin", "flink-s3-fs-hadoop", version)


def kubernetes_jar(version):
    """Flink's own high availability on Kubernetes, likewise."""
    return _flink_jar("Flink on Kubernetes", "flink-kubernetes", version)


def operator_jar():
    """The resources of the Flink Kubernetes Operator, with their definitions."""
    return _flink_jar("the operator's resources", "flink-kubernetes-operator-api", "1.10.0")


def _flink_jar(what, artifact, version):
    version = {"1.20.5": "1.20.1", "2.1.3": "2.1.0"}.get(version, version)
    target = CACHE / f"{artifact}-{version}.jar"
    with cache_lock(target.name):
        if not target.is_file():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{artifact}-") as scratch:
                _maven(f"{what} {version}", None, "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
                       f"-Dartifact=org.apache.flink:{artifact}:{version}", f"-DoutputDirectory={scratch}")
                shutil.move(Path(scratch) / target.name, target)
    return target


def job_jar():
    """The jar with the test job and the metadata oracle."""
    sources = sorted((FIXTURE / "job" / "src").rglob("*.java")) + [FIXTURE / "job" / "pom.xml"]
    target = CACHE / f"flink-test-job-{_digest(sources)}.jar"
    with cache_lock("flink-test-job"):
        if not target.is_file():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".job-") as scratch:
                _maven("the test job", FIXTURE / "job" / "pom.xml", "package", f"-Dout.dir={scratch}")
                shutil.move(Path(scratch) / "flink-test-job.jar", target)
    return target


def plugin_jar():
    """The plugin as people get it: built where Maven puts it, again only when a source is newer."""
    if os.environ.get("HOLDFAST_PLUGIN_JAR"):
        return Path(os.environ["HOLDFAST_PLUGIN_JAR"])
    with cache_lock("plugin"):
        sources = [path for path in PLUGIN.rglob("*")
                   if path.is_file() and "target" not in path.relative_to(PLUGIN).parts]
        if not sources:
            raise Failure(f"the Flink plugin has no sources in {PLUGIN}")
        newest = max(path.stat().st_mtime for path in sources)
        if not PLUGIN_JAR.is_file() or PLUGIN_JAR.stat().st_mtime < newest:
            _maven("the Flink plugin", PLUGIN / "pom.xml", "package", "-DskipTests")
            os.utime(PLUGIN_JAR)
    return PLUGIN_JAR


def _digest(files):
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _maven(what, pom, *arguments):
    log = CACHE / f"maven-{what.replace(' ', '-').lower()}.log"
    with open(log, "wb") as out:
        try:
            project = ["-f", str(pom)] if pom else []
            code = subprocess.run(["mvn", "-q", "-B", *project, *arguments], cwd=CACHE, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=subprocess.STDOUT, check=False).returncode
        except FileNotFoundError as missing:
            raise Failure("mvn is not installed: run scripts/install") from missing
    if code != 0:
        errors = [line for line in log.read_text("utf-8", "replace").splitlines() if "ERROR" in line]
        reason = errors[0].split("[ERROR]")[-1].strip()[:200] if errors else f"exit code {code}"
        raise Failure(f"Maven could not make {what}: {reason} (log: {log})")
