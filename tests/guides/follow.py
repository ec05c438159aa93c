#!/usr/bin/env python3
"""Follows the guides of docs/guides to the letter: every block of sh, in order, as a reader would paste it.

A block that fails stops its guide and is named with file and line. What a guide presumes (servers, a Flink, packages) is made
by worlds.py; of the text itself nothing is replaced but the values of variables in blocks that are marked as the reader's own.

    follow.py [--json FILE] [GUIDE ...]     without GUIDE: those that are short and need no rights of root
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "deploy")]
import markdown  # noqa: E402
import worlds  # noqa: E402
from lib.failure import Failure, require  # noqa: E402
from lib.paths import ROOT  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402

GUIDES = ROOT / "docs" / "guides"
BLOCK_TIMEOUT_S = 600
MARK = "HOLDFAST_GUIDE"
OWN_NETWORK = "HOLDFAST_OWN_NETWORK"
#: On the first line, before any block: what went before is there again, and what is set here is kept. $1: where.
PREAMBLE = ('[ ! -f "$1/state" ] || . "$1/state"; cd "$(cat "$1/cwd")"; trap \'s=$?; set +e; export -p >"$1/state"; pwd >"$1/cwd"; '
            'exit $s\' EXIT; trap \'echo "$LINENO" >>"$1/failed"\' ERR; set -aeEuo pipefail\n')


class Guide:
    """One guide in its world. run() fills steps: [heading, seconds], one for each heading with code."""

    def __init__(self, path, world, work):
        self.path, self.world, self.work = path, world, work
        self.blocks = markdown.blocks(path.read_text("utf-8"))
        self.mark = uuid.uuid4().hex
        self.log = work / "log"
        self.steps = []
        self.quiet = False

    def run(self):
        require(len(self.blocks) >= 3, f"{self.path.name} has {len(self.blocks)} blocks to run")
        given = set(self.world.values) - {name for block in self.blocks if block.yours for name in markdown.names(block.code)}
        require(not given, f"{self.path.name} does not ask for {given}")
        self.log.touch()
        try:
            for block in self.blocks:
                begin = time.monotonic()
                self._run(block)
                took = time.monotonic() - begin
                if self.steps and self.steps[-1][0] == block.step:
                    self.steps[-1][1] += took
                else:
                    self.steps.append([block.step, took])
            self.world.check()
        except Failure:
            if not self.quiet:
                self._show()
            raise
        finally:
            self._sweep()

    def _run(self, block):
        code = block.code
        if block.yours:
            code += "".join(f"export {name}='{self.world.values[name]}'\n" for name in markdown.names(block.code) if name in self.world.values)
        script = self.work / "block"
        script.write_text(PREAMBLE + "\n" * (block.line - 2) + code, "utf-8")
        state = self.world.state
        self.world.command("rm", "-f", f"{state}/failed")
        with open(script, "rb") as file, open(self.log, "ab") as log:
            child = subprocess.Popen(self.world.prefix + ["env", "-i", f"{MARK}={self.mark}", *(f"{k}={v}" for k, v in self._environment()),
                                                          "bash", f"/dev/fd/{file.fileno()}", state],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[file.fileno()], start_new_session=True)
            try:
                code = child.wait(BLOCK_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise Failure(f"{self._place(block.line)}: no end of this block after {BLOCK_TIMEOUT_S} s") from None
        if code:
            lines = self.world.command("sh", "-c", f"cat {state}/failed 2>/dev/null || true").split()
            inside = [int(line) for line in lines if block.line <= int(line) < block.line + len(block.code.splitlines())]
            raise Failure(f"{self._place(inside[0] if inside else block.line)}: exit code {code}; {self._last_words()}")

    def _environment(self):
        return {"PATH": os.pathsep.join([*map(str, self.world.path), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]),
                "LANG": "C.UTF-8", **self.world.environment}.items()

    def _place(self, line):
        return f"{self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path.name}:{line}"

    def _last_words(self):
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return lines[-1].strip()[:300] if lines else "it said nothing"

    def _show(self):
        print("".join(f"    | {line}\n" for line in self.log.read_text("utf-8", "replace").splitlines()[-40:]), file=sys.stderr)
        for line in self.world.tell().splitlines()[-120:]:
            print(f"    : {line[:240]}", file=sys.stderr)

    def _sweep(self):
        """What the blocks left running, by the mark that each of them has inherited."""
        mark = f"{MARK}={self.mark}".encode()
        end = time.monotonic() + 20
        while True:
            left = []
            for entry in Path("/proc").iterdir():
                try:
                    if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0") and b"State:\tZ" not in (entry / "status").read_bytes():
                        left.append(int(entry.name))
                except OSError:
                    continue
            if not left or time.monotonic() > end:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.1)


def prepare(world):
    """Where the first block begins."""
    world.command("sh", "-c", 'mkdir -p "$1" && echo "$2" >"$1/cwd"', "sh", world.state, world.home)


def elsewhere(name):
    """The same in a network of its own; what has to be downloaded is there by then."""
    worlds.WORLDS[name].fetch()
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = ["unshare", "--net", "--mount", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, __file__, "--json", report.name, name]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ, OWN_NETWORK: "1"})
        try:
            child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        said = json.loads(Path(report.name).read_text("utf-8") or "{}").get(name, {"failed": f"ended with {child.returncode}"})
    require("failed" not in said, said.get("failed"))
    return [(each["step"], each["seconds"]) for each in said["steps"]]


def follow(name):
    """Its steps, with their seconds."""
    if worlds.WORLDS[name].own_network and OWN_NETWORK not in os.environ:
        return elsewhere(name)
    path = GUIDES / f"{name}.md"
    with tempfile.TemporaryDirectory(prefix="holdfast-guide-", ignore_cleanup_errors=True) as work:
        work = Path(work)
        work.chmod(0o755)
        with worlds.WORLDS[name](work) as world:
            prepare(world)
            guide = Guide(path, world, work)
            guide.run()
            return guide.steps


PLANTED = """# Planted
{yours}
```sh
export WHERE=there
```
text
```sh
mkdir "$WHERE"
cd "$WHERE"
KEPT=1
```
1. In a list:
   ```sh
   test "$KEPT" = 1
   test "$(basename "$PWD")" = here
   {line}
   ```
```yaml
not: run
```
"""


def self_test():
    """What one block sets is there in the next, and a line that fails is named."""
    for line, expected in (("true", None), ("false", 16), ("ls /none | cat", 16), ('echo "$NOTHING"', 14), ("( exit 3 )", 16)):
        with tempfile.TemporaryDirectory(prefix="holdfast-guide-") as work, worlds.World(Path(work)) as world:
            path = Path(work) / "planted.md"
            path.write_text(PLANTED.format(yours=markdown.YOURS, line=line), "utf-8")
            world.values["WHERE"] = "here"
            prepare(world)
            guide = Guide(path, world, Path(work))
            guide.quiet = True
            try:
                guide.run()
                found = None
            except Failure as failure:
                found = int(str(failure).split(":")[1])
            require(found == expected, f"the planted line {line!r} is reported as line {found}")


def main():
    parser = argparse.ArgumentParser(prog="follow", description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the seconds of each step to FILE")
    parser.add_argument("guides", metavar="GUIDE", nargs="*", help=f"of {', '.join(sorted(worlds.WORLDS))}")
    args = parser.parse_args()
    written = {path.stem for path in GUIDES.glob("*.md")} - {"README"}
    require(written == set(worlds.WORLDS), f"guides that are not followed, or not there: {written ^ set(worlds.WORLDS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    self_test()
    report, failed = {}, 0
    chosen = args.guides or sorted(name for name, world in worlds.WORLDS.items() if world.is_short and not world.needs_root)
    for name in chosen:
        require(name in worlds.WORLDS, f"there is no guide {name}")
        begin = time.monotonic()
        try:
            steps = follow(name)
            report[name] = {"seconds": round(time.monotonic() - begin, 1),
                            "steps": [{"step": step, "seconds": round(seconds, 1)} for step, seconds in steps]}
            print(f"{name}: followed in {report[name]['seconds']} s: " +
                  ", ".join(f"{step} {seconds:.1f}" for step, seconds in steps), flush=True)
        except Failure as failure:
            failed += 1
            report[name] = {"failed": str(failure)}
            print(f"{name}: FAILED: {failure}", flush=True)
    if args.json:
        write_json(args.json, report)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    main_guard("follow", main)
