#!/usr/bin/env python3
"""The plugin's own tests (flink/it) on every line of Flink, all with the same finished jar.

First with a daemon in memory that loses answers on demand; then the tests with a whole Flink once more with the real
holdfastd. What was tested is read from the test reports, not from Maven's exit code: no report is a failure.
"""
import argparse
import concurrent.futures
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import maven  # noqa: E402
from lib.failure import Failure  # noqa: E402
from lib.paths import BUILD, ROOT  # noqa: E402
from lib.rig import main_guard  # noqa: E402
from lib.surefire import Report  # noqa: E402

POM = ROOT / "flink" / "it" / "pom.xml"
#: Fewer than this in one run means that tests were not found, not that they were thrown away.
LEAST = {"fake": 34, "real": 4}
TIMEOUT_S = 900


def arguments():
    parser = argparse.ArgumentParser(prog="lines", description=__doc__.splitlines()[0])
    parser.add_argument("--flink", metavar="VERSION", action="append", help="a line or full version; default: all lines")
    parser.add_argument("--out", metavar="DIR", default=str(BUILD.parent / "plugin-it"), help="where logs and reports go")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time; default 2")
    args = parser.parse_args()
    args.versions = [maven.flink_version(line) for line in args.flink or maven.FLINK_LINES]
    return args


def test(jar, version, kind, out):
    """One run of Maven; its report, or a Failure when there is none."""
    folder = out / f"{version}-{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = ["mvn", "-B", "-f", POM, "verify", f"-Dflink.it.version={version}", f"-Dit.out={folder}",
               f"-Dholdfast.it.jar={jar}"]
    if kind == "real":
        command += [f"-Dholdfast.it.daemon={out / 'holdfastd'}", "-Dtest=ClusterTest"]
    begin = time.monotonic()
    with open(folder / "maven.log", "wb") as log:
        try:
            code = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=subprocess.STDOUT, check=False, timeout=TIMEOUT_S).returncode
        except subprocess.TimeoutExpired:
            code = None
    report = Report(folder / "surefire-reports")
    ran = report.passed + len(report.failures)
    if code != 0 and not report.failures:
        said = (folder / "maven.log").read_text("utf-8", "replace").splitlines()
        reason = next((line for line in said if line.startswith("[ERROR]")), "no [ERROR] in its log")
        report.failures.append(f"Maven {'did not end' if code is None else f'ended with {code}'}: {reason[:300]}")
    elif ran < LEAST[kind] or report.skipped:
        report.failures.append(f"{ran} tests ran and {report.skipped} were skipped, at least {LEAST[kind]} are there")
    return report, time.monotonic() - begin


def digest(jar):
    return hashlib.sha256(Path(jar).read_bytes()).hexdigest()


def main():
    args = arguments()
    out = Path(args.out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    # Copies: somebody may build meanwhile, and all runs must see the same files.
    jar = Path(shutil.copy(maven.plugin_jar(), out / "holdfast-flink.jar"))
    shutil.copy(BUILD / "daemon" / "holdfastd", out / "holdfastd")
    before, passed, failed = digest(jar), 0, 0
    runs = [(version, kind) for kind in LEAST for version in args.versions]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        started = [(pool.submit(test, jar, version, kind, out), version, kind) for version, kind in runs]
        for future, version, kind in started:
            report, seconds = future.result()
            print(f"Flink {version}, {'daemon in memory' if kind == 'fake' else 'holdfastd'}: {report.passed} passed, "
                  f"{len(report.failures)} not, {seconds:.0f} s", flush=True)
            for failure in report.failures:
                print(f"FAILED: Flink {version}: {failure} (log: {out / f'{version}-{kind}' / 'maven.log'})", flush=True)
            passed, failed = passed + report.passed, failed + len(report.failures)
    if digest(jar) != before:
        raise Failure(f"{jar} changed while it was tested")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    main_guard("lines", main)
