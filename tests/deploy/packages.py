#!/usr/bin/env python3
"""The Debian packages: made by cpack, and what is in them works.

Without arguments they are unpacked into a folder: the daemon runs from there on the packaged settings, the manual and the
completion say what the CLI can. With --install they are installed, upgraded, removed and purged by dpkg, on top of this
machine's Debian in a mount namespace of its own whose changes are in memory: nothing of it is seen outside, or outlives it.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import http  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.paths import BUILD, ROOT  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402

FILES = {
    "holdfastd": ["etc/holdfast/holdfastd.yaml", "usr/bin/holdfastd", "usr/lib/systemd/system/holdfastd.service",
                  "usr/share/man/man5/holdfastd.yaml.5", "usr/share/man/man8/holdfastd.8", "usr/share/doc/holdfastd/copyright"],
    "holdfast": ["usr/bin/holdfast", "usr/share/bash-completion/completions/holdfast", "usr/share/man/man1/holdfast.1",
                 "usr/share/doc/holdfast/copyright"],
    "holdfast-flink": ["usr/share/java/holdfast-flink.jar", "usr/share/doc/holdfast-flink/copyright"],
}
UNIT = "/usr/lib/systemd/system/holdfastd.service"
#: What systemd-analyze security says of it, 10 being the worst.
EXPOSURE_MAX = 2.0


def run(*command, code=0, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != code:
        raise Failure(f"{' '.join(map(str, command))}: exit code {done.returncode}: {done.stdout.strip()[-500:]}")
    return done.stdout


def check(holds, what):
    if not holds:
        raise Failure(what)


def make(folder, version=None):
    """{package: path of its .deb}"""
    run("cpack", "-G", "DEB", "-B", folder, *(["-R", version] if version else []), cwd=BUILD)
    found = {path.name.split("_")[0]: path for path in Path(folder).glob("*.deb")}
    check({"holdfastd", "holdfast"} <= found.keys(), f"cpack made {sorted(found)}")
    return found


def contents(packages):
    for name, path in packages.items():
        listed = [line.split(None, 5)[5][2:] for line in run("dpkg-deb", "-c", path).splitlines()]
        files = sorted(entry for entry in listed if not entry.endswith("/"))
        check(files == sorted(FILES[name]), f"{path.name} holds {files}")
    depends = run("dpkg-deb", "-f", packages["holdfastd"], "Depends")
    for needed in ("libuv1", "libcurl4", "libnghttp2-14", "libssl3", "libzookeeper-mt2", "adduser"):
        check(needed in depends, f"holdfastd does not depend on {needed}: {depends}")


class Service:
    """The command of the unit."""

    def __init__(self, *command):
        self.command = command
        self.child = self.url = None

    def start(self, port):
        self.child = subprocess.Popen(list(map(str, self.command)), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{port}"

        def ready():
            if self.child.poll() is not None:
                raise Failure(f"holdfastd ended: {self.child.stderr.read()[-500:]}")
            return http.call("GET", f"{self.url}/readyz", timeout=2)[0] == 200
        wait_until(ready, 60, "holdfastd to be ready")

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            code = self.child.wait(60)
            check(code == 0, f"holdfastd ended with {code} at SIGTERM")
        if self.child:
            self.child.stderr.close()

    def call(self, method, path, body=None):
        status, answer = http.call(method, self.url + path, body, timeout=20)
        check(status == 200, f"{method} {path}: {status} {answer}")
        return answer


def exec_start(unit):
    return re.search(r"^ExecStart=(.*)$", Path(unit).read_text("utf-8"), re.M)[1].split()


def completed(script, *words):
    code = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _holdfast; echo "${{COMPREPLY[@]}}"'
    return set(run("bash", "-c", code, "bash", *words).split())


def unpacked(work, packages):
    root = work / "root"
    for path in packages.values():
        run("dpkg-deb", "-x", path, root)
    program, *arguments = exec_start(root / UNIT[1:])
    check(arguments == ["--config", "/etc/holdfast/holdfastd.yaml"], f"the unit starts {program} {arguments}")
    port = free_port()
    (work / "store").mkdir()
    service = Service(root / program[1:], "--config", root / "etc/holdfast/holdfastd.yaml", "-D", f"store=file://{work}/store",
                      "-D", "store.ballast=0", "-D", f"listen=127.0.0.1:{port}")
    try:
        service.start(port)
        out = run(root / "usr/bin/holdfast", "--endpoint", service.url, "status", "-o", "json")
        check(json.loads(out), f"holdfast status: {out}")
    finally:
        service.stop()
    script = root / "usr/share/bash-completion/completions/holdfast"
    check({"gc", "drill", "status"} <= completed(script, "holdfast", ""), "verbs are not completed")
    check("plan" in completed(script, "holdfast", "gc", ""), "the words of a verb are not completed")
    check(completed(script, "holdfast", "gc", "plan", "--min") == {"--min-age"}, "options are not completed")
    check("--min-age" not in completed(script, "holdfast", "status", "--"), "another verb's options are completed")
    text = (root / "usr/share/man/man1/holdfast.1").read_text("utf-8")
    for verb in ("status", "gc", "checkpoints", "drill"):
        check(f".SS {verb} " in text, f"the manual has no {verb}")
    settings = (root / "usr/share/man/man5/holdfastd.yaml.5").read_text("utf-8")
    for line in run(root / "usr/bin/holdfastd", "--print-config").splitlines():
        name = line.split(":")[0].replace("-", "\\-")
        check(f".B {name}\n" in settings, f"the manual has no setting {name}")


class Overlay:
    """This machine's files with changes in memory, seen by nobody else."""

    SCRIPT = """set -e
mount -t tmpfs holdfast-test "$1"
mkdir "$1/upper" "$1/work" "$1/all"
mount -t overlay holdfast-test -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/all"
rm -rf "$1/all/var/lib/holdfast" "$1/all/etc/holdfast"
mount --bind /dev "$1/all/dev"
mount -t proc proc "$1/all/proc"
mount -t tmpfs tmpfs "$1/all/run"
[ -z "$2" ] || ip link set lo up
echo ready
exec sleep infinity
"""

    def __init__(self, network=False):
        """network: with a loopback of its own."""
        self.spaces = ["--mount", *(["--net"] if network else [])]

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="holdfast-overlay-")
        self.keeper = subprocess.Popen(["unshare", *self.spaces, "sh", "-c", self.SCRIPT, "sh", self.folder, "net" * (len(self.spaces) - 1)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        check(self.keeper.stdout.readline() == "ready\n", "the overlay cannot be mounted")
        return self

    def __exit__(self, *_):
        self.keeper.kill()
        self.keeper.wait()
        self.keeper.stdout.close()
        os.rmdir(self.folder)

    def inside(self, *command):
        return ["nsenter", "-t", str(self.keeper.pid), *self.spaces, "chroot", f"{self.folder}/all", *command]

    def run(self, *command, **options):
        return run(*self.inside(*command), **options)

    def copy_in(self, path, target):
        with open(path, "rb") as data:
            self.run("sh", "-c", f"mkdir -p {target.parent} && cat > {target}", stdin=data)

    def dpkg(self, *arguments):
        return self.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *arguments)


def life(first, second):
    """Installed, started, upgraded, removed, purged."""
    with Overlay() as machine:
        debs = {}
        for folder, packages in (("first", first), ("second", second)):
            debs[folder] = [Path("/run") / folder / path.name for path in packages.values()]
            for path, target in zip(packages.values(), debs[folder]):
                machine.copy_in(path, target)
        machine.dpkg("-i", *debs["first"])
        check("Status: install ok installed" in machine.dpkg("-s", "holdfastd"), "holdfastd is not installed")
        check(machine.run("stat", "-c", "%a %U %G", "/etc/holdfast/holdfastd.yaml").split() == ["640", "root", "holdfast"],
              "others can read the settings")
        check(machine.run("stat", "-c", "%a %U", "/var/lib/holdfast").split() == ["700", "holdfast"], "others can read the store")
        machine.run("test", "-L", "/etc/systemd/system/multi-user.target.wants/holdfastd.service")
        machine.run("test", "-s", "/usr/share/java/holdfast-flink.jar")
        if shutil.which("systemd-analyze"):
            machine.run("systemd-analyze", "verify", "--man=no", UNIT)
            text = machine.run("systemd-analyze", "security", "--offline=true", UNIT)
            exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", text)[1])
            check(exposure <= EXPOSURE_MAX, f"systemd-analyze finds an exposure of {exposure}")

        port = free_port()
        machine.run("sed", "-i", f"s/^listen: .*/listen: 127.0.0.1:{port}/", "/etc/holdfast/holdfastd.yaml")
        service = Service(*machine.inside("setpriv", "--reuid", "holdfast", "--regid", "holdfast", "--init-groups", "--no-new-privs",
                                          *exec_start(ROOT / "deploy/systemd/holdfastd.service")))
        base, session = "/v1/clusters/default/c/sessions", os.urandom(16).hex()
        try:
            service.start(port)
            service.call("POST", base, {"session": session, "holder": "jobmanager-1", "ttl_ms": 300000})
            service.stop()
            machine.dpkg("-i", *debs["second"])
            check("Version: 9.9.9" in machine.dpkg("-s", "holdfastd"), "the upgrade did not take place")
            check(f"listen: 127.0.0.1:{port}" in machine.run("cat", "/etc/holdfast/holdfastd.yaml"), "an upgrade lost the settings")
            service.start(port)
            service.call("POST", f"{base}/{session}/renew", {})
        finally:
            service.stop()

        machine.dpkg("-r", "holdfastd")
        machine.run("test", "-e", "/etc/holdfast/holdfastd.yaml")
        machine.run("test", "!", "-e", "/usr/bin/holdfastd")
        text = machine.dpkg("-P", "holdfastd")
        check("the store in /var/lib/holdfast is kept" in text, f"purge does not say that the store stays: {text}")
        machine.run("test", "!", "-e", "/etc/holdfast/holdfastd.yaml")
        machine.run("sh", "-c", "test -n \"$(ls /var/lib/holdfast)\"")


def main():
    parser = argparse.ArgumentParser(prog="packages", description=__doc__.splitlines()[0])
    parser.add_argument("--install", action="store_true", help="install, upgrade and remove them; needs root")
    parser.add_argument("--json", metavar="FILE", help="write the sizes to FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-packages-") as work:
        work = Path(work)
        packages = make(work / "first")
        contents(packages)
        unpacked(work, packages)
        if args.install:
            check("holdfast-flink" in packages, "the plugin is not built: mvn -f flink/pom.xml package, then cmake again")
            life(packages, make(work / "second", "9.9.9"))
        sizes = {path.name: path.stat().st_size for path in packages.values()}
    print(f"packages: {', '.join(f'{name} {size // 1024} KiB' for name, size in sorted(sizes.items()))}: "
          f"{'installed, upgraded, removed' if args.install else 'unpacked and run'}")
    if args.json:
        write_json(args.json, {"bytes": sizes, "installed": args.install, "ok": True})


if __name__ == "__main__":
    main_guard("packages", main)
