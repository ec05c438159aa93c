#!/usr/bin/env python3
"""deploy/Containerfile without a container engine: its steps, in minimal Debian systems of their own.

Each stage is a copy of a fresh Debian 12 (without manuals, like the image it names); COPY copies, RUN runs there in a mount
and process namespace. Then the programs run in the last one as the user that it names: the daemon serves, the CLI sees it.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from debian12 import NEEDED, RELEASE, Machine, debian_sources, machine_settings, run, say, used_mb  # noqa: E402
from lib.failure import Failure  # noqa: E402
from lib.paths import ROOT  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402

FILE = ROOT / "deploy" / "Containerfile"
BASE = "debian:12-slim"
WITHOUT = ("/usr/share/man", "/usr/share/doc", "/usr/share/locale", "/usr/share/info")  # of the slim image
#: In the image, as its user: the daemon serves on a store of its own.
SERVES = """
set -e
cd /var/lib/holdfast
{entrypoint} -D listen=127.0.0.1:7070 -D store=file:///var/lib/holdfast/store >log 2>&1 &
for try in $(seq 600); do
    if /usr/local/bin/holdfast status >status 2>&1 && grep -q leading status; then break; fi
    sleep 0.1
done
cat log status
grep -q leading status
id -u
kill $!
wait $!
"""


def instructions(text):
    """[(name, rest)] of a container file."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


class Builder:
    def __init__(self, work, figures):
        self.work = work
        self.figures = figures
        self.stages = {}
        self.root = None
        self.settings = {}

    def base(self):
        """The fresh system that each stage starts from."""
        root = self.work / "base"
        sources = debian_sources()
        run(["debootstrap", "--variant=minbase", RELEASE, root, sources[0][0]])
        machine_settings(root, sources)
        rules = "".join(f"path-exclude={folder}/*\n" for folder in WITHOUT)
        (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(rules, "utf-8")
        for folder in WITHOUT:
            shutil.rmtree(root / folder[1:])
            (root / folder[1:]).mkdir()
        return root

    def build(self):
        base = self.base()
        for number, (name, rest) in enumerate(instructions(FILE.read_text("utf-8"))):
            begin = time.monotonic()
            if name == "FROM":
                image, _, stage = rest.partition(" AS ")
                if image != BASE:
                    raise Failure(f"{FILE.name}: {image} is not {BASE}")
                self.root = self.work / f"stage-{stage or 'last'}"
                self.stages[stage or "last"] = self.root
                run(["cp", "-a", base, self.root])
                self.settings = {}
            elif name == "COPY":
                self.copy(shlex.split(rest))
            elif name == "RUN":
                say(f"{self.root.name}: {' '.join(rest.split())}")
                Machine(self.root).run(self.work / f"step-{number}.log", "/", "host", "/bin/sh", "-c", rest)
                self.figures["steps"].append({"run": " ".join(rest.split())[:80], "seconds": round(time.monotonic() - begin, 1)})
            else:
                self.settings[name] = rest
        return self.root

    def copy(self, words):
        source = self.root
        if words[0].startswith("--from="):
            source = self.stages[words.pop(0)[len("--from="):]]
        else:
            source = self.work / "context"
            if not source.is_dir():
                source.mkdir()
                archive = subprocess.run(["git", "-C", ROOT, "archive", "HEAD"], check=True, capture_output=True).stdout
                subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
        *names, target = words
        into = self.root / target.lstrip("/")
        for name in names:
            path = source / name.lstrip("/")
            (into if path.is_dir() else into.parent if not target.endswith("/") else into).mkdir(parents=True, exist_ok=True)
            run(["cp", "-a", f"{path}/.", into] if path.is_dir() else ["cp", "-a", path, into])


def prove(work, figures):
    begin = time.monotonic()
    builder = Builder(work, figures)
    root = builder.build()
    figures["base_mb"], figures["image_mb"] = used_mb(work / "base"), used_mb(root)
    user = builder.settings["USER"]
    entrypoint = " ".join(map(shlex.quote, json.loads(builder.settings["ENTRYPOINT"])))
    if user in ("", "0", "root"):
        raise Failure(f"{FILE.name}: the image's user is root")
    say(f"the image, as user {user}, with a loopback network only")
    lines = Machine(root).run(work / "serves.log", "/", "loopback", "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                              "/bin/bash", "-c", SERVES.format(entrypoint=entrypoint))
    if user not in [line for _, line in lines]:
        raise Failure(f"the daemon did not run as {user}")
    figures["total_s"] = round(time.monotonic() - begin, 1)


def main():
    parser = argparse.ArgumentParser(prog="container", description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    if os.getuid() != 0:
        raise Failure("it takes root to make systems of its own")
    for program, package in NEEDED.items():
        if not shutil.which(program):
            raise Failure(f"{program} is missing: apt-get install {package}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures = {"commit": run(["git", "-C", ROOT, "rev-parse", "HEAD"]).strip(), "steps": [], "ok": False}
    work = Path(tempfile.mkdtemp(prefix="holdfast-container-"))
    work.chmod(0o755)
    try:
        prove(work, figures)
        figures["ok"] = True
    finally:
        if args.json:
            write_json(args.json, figures)
        if figures["ok"]:
            shutil.rmtree(work)
        else:
            say(f"kept: {work}")
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    main_guard("container", main)
