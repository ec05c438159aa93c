#!/usr/bin/env python3
"""What a person sees who clones Holdfast on a fresh Debian 12: root, git, nothing else.

A minimal Debian is made with debootstrap, the repository is cloned inside it, and in a mount and process namespace of
its own `./run --once` and `./test quick` have to succeed. The tests and a second run then have nothing but a loopback
network. Where packages come from is read from this machine's own settings of apt.
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
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib.failure import Failure  # noqa: E402
from lib.paths import ROOT  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402

RELEASE = "bookworm"
DISK_GB = 8
NEEDED = {"debootstrap": "debootstrap", "unshare": "util-linux", "ip": "iproute2"}

# Runs as the first process of the new namespaces; nothing of these mounts is seen outside, or outlives them.
ENTER = """
set -e
root=$1; repository=$2; network=$3; folder=$4; shift 4
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount --bind "$repository" "$root/mnt"
mount -o remount,bind,ro "$root/mnt"
if [ "$network" = loopback ]; then ip link set lo up; fi
exec chroot "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


def arguments():
    parser = argparse.ArgumentParser(prog="fresh", description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--work", metavar="DIR", help="make the system below DIR and keep it; default: a temporary folder")
    return parser.parse_args()


def say(text):
    print(f"fresh: {text}", flush=True)


def run(command, **options):
    """A command that has to succeed; its output is shown only when it does not."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, **options)
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failure(f"{command[0]}: {lines[-1]}")
    return done.stdout


def deb822(text):
    """(uri, suite) of every source in the newer format that has the component main."""
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, re.M))
        if "main" in fields.get("Components", "").split() and "deb" in fields.get("Types", "").split():
            for uri in fields.get("URIs", "").split():
                for suite in fields.get("Suites", "").split():
                    yield uri, suite


def one_line(text):
    for uri, suite, components in re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)$", text, re.M):
        if "main" in components.split():
            yield uri, suite


def debian_sources():
    """This machine's sources of the release: [(uri, suite)], the release itself first."""
    found = []
    for folder in ("/etc/apt", "/etc/apt/sources.list.d"):
        for path in sorted(Path(folder).glob("*")):
            if path.suffix == ".sources":
                found += deb822(path.read_text("utf-8"))
            elif path.suffix == ".list":
                found += one_line(path.read_text("utf-8"))
    wanted = [(uri, suite) for uri, suite in dict.fromkeys(found)
              if suite in (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")]
    wanted.sort(key=lambda source: source[1])
    if not wanted or wanted[0][1] != RELEASE:
        raise Failure(f"/etc/apt names no source of Debian {RELEASE}")
    return wanted


def machine_settings(root, sources):
    """What a machine in this network has: where its packages come from, and whom it trusts."""
    text = "".join(f"deb {uri} {suite} main\n" for uri, suite in sources)
    (root / "etc/apt/sources.list").write_text(text, "utf-8")
    acquire = [line for line in run(["apt-config", "dump", "Acquire"]).splitlines() if ' "";' not in line]
    (root / "etc/apt/apt.conf.d/99machine").write_text("\n".join(acquire) + "\n", "utf-8")
    for name in ("hosts", "resolv.conf"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)
    authorities = Path("/usr/local/share/ca-certificates")
    for path in authorities.glob("*.crt"):
        target = root / authorities.relative_to("/")
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


class Machine:
    """The fresh system. Each command is its own set of processes; all of them end with it."""

    def __init__(self, root):
        self.root = root
        self.environment = {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                            "TERM": "dumb", **{key: value for key, value in os.environ.items()
                                               if key.lower() in ("http_proxy", "https_proxy", "no_proxy")}}

    def start(self, folder, network, *command):
        namespaces = ["--mount", "--pid", "--fork", "--kill-child"] + (["--net"] if network == "loopback" else [])
        return subprocess.Popen(
            ["unshare", *namespaces, "/bin/sh", "-c", ENTER, "enter", str(self.root), str(ROOT / ".git"), network, folder,
             *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env=self.environment, start_new_session=True)

    def run(self, log, folder, network, *command):
        """Runs to the end; [(seconds since the start, line)]. What it prints is shown and kept in the log."""
        begin = time.monotonic()
        lines = []
        process = self.start(folder, network, *command)
        try:
            with open(log, "w", encoding="utf-8") as out:
                for line in process.stdout:
                    seconds = time.monotonic() - begin
                    lines.append((seconds, line.rstrip()))
                    print(f"  {seconds:6.1f} s | {line.rstrip()}", flush=True)
                    out.write(line)
            if process.wait() != 0:
                last = next((line for _, line in reversed(lines) if "FAILED" in line), lines[-1][1] if lines else "")
                raise Failure(f"{' '.join(command)} ended with {process.returncode}: {last} (log: {log})")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return lines + [(time.monotonic() - begin, "")]


def at(lines, pattern):
    """The second at which a line was printed."""
    for seconds, line in lines:
        if re.search(pattern, line):
            return seconds
    raise Failure(f"the output has no line {pattern!r}")


def make_system(root):
    sources = debian_sources()
    run(["debootstrap", "--variant=minbase", "--include=git", RELEASE, root, sources[0][0]])
    machine_settings(root, sources)


def installed(root):
    text = (root / "var/lib/dpkg/status").read_text("utf-8")
    return len(re.findall(r"^Status: install ok installed$", text, re.M))


def used_mb(path):
    return int(run(["du", "-sxm", path]).split()[0])


def prove(work, figures):
    root = work / "root"
    say(f"a minimal Debian {RELEASE} in {root}")
    begin = time.monotonic()
    make_system(root)
    figures["debootstrap_s"] = round(time.monotonic() - begin, 1)
    figures["system_mb"], figures["packages_before"] = used_mb(root), installed(root)

    machine = Machine(root)
    machine.run(work / "clone.log", "/srv", "host", "git", "clone", "--quiet", "/mnt", "holdfast")
    say("./run --once --json")
    lines = machine.run(work / "run.log", "/srv/holdfast", "host", "./run", "--once", "--json", "/srv/run.json")
    installed_at, building_at = at(lines, r"^run: configuring"), at(lines, r"^run: building")
    running_at = at(lines, r"^\[ +0\.\d s\]")
    cluster_at = at(lines, r"^\[.*starting holdfastd")
    figures.update({
        "install_s": round(installed_at, 1), "build_s": round(running_at - building_at, 1),
        "jars_s": round(cluster_at - running_at, 1), "first_run_s": round(lines[-1][0] - cluster_at, 1),
        "run_total_s": round(lines[-1][0], 1), "packages_after": installed(root),
        "run": json.loads((root / "srv/run.json").read_text("utf-8")),
    })
    say("./run --once again, with a loopback network only")
    lines = machine.run(work / "again.log", "/srv/holdfast", "loopback", "./run", "--once", "--json", "/srv/again.json")
    figures["second_run_total_s"] = round(lines[-1][0], 1)
    say("./test quick, with a loopback network only")
    lines = machine.run(work / "quick.log", "/srv/holdfast", "loopback", "./test", "quick")
    figures["test_quick_s"] = round(lines[-1][0], 1)
    figures["test_quick_build_s"] = round(sum(float(found[1]) for found in (
        re.search(r"built in (\d+) s", line) for _, line in lines) if found), 1)
    figures["test_quick"] = next(line for _, line in reversed(lines) if re.match(r"\d+ passed, \d+ failed", line))
    figures["disk_mb"] = used_mb(root)


def main():
    args = arguments()
    if os.getuid() != 0:
        raise Failure("it takes root to make a system of its own")
    for program, package in NEEDED.items():
        if not shutil.which(program):
            raise Failure(f"{program} is missing: apt-get install {package}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if args.work:
        work = Path(args.work).absolute()
        work.mkdir(parents=True)
    else:
        work = Path(tempfile.mkdtemp(prefix="holdfast-fresh-"))
    if shutil.disk_usage(work).free < DISK_GB << 30:
        raise Failure(f"{work} has less than {DISK_GB} GB free")
    figures = {"release": RELEASE, "commit": run(["git", "-C", ROOT, "rev-parse", "HEAD"]).strip(), "ok": False}
    begin = time.monotonic()
    try:
        prove(work, figures)
        figures["ok"] = True
    except Failure as failure:
        figures["error"] = str(failure)
        raise
    finally:
        figures["total_s"] = round(time.monotonic() - begin, 1)
        if args.json:
            write_json(args.json, figures)
        if args.work or not figures["ok"]:
            say(f"kept: {work}")
        else:
            shutil.rmtree(work)
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    main_guard("fresh", main)
