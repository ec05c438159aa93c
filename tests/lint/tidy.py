#!/usr/bin/env python3
"""clang-tidy over every C file, as .clang-tidy says; any warning fails.

    tidy.py [--build DIR] [--jobs N] [FILE ...]     without FILE: all that a build of everything compiles
The compilation database is configured here, with clang, tests and fuzzers. Before the tree, a file with planted
mistakes has to be found out. What was found clean is remembered outside the tree, under a digest of all that clang-tidy
looks at: its version, its settings, the file as the preprocessor leaves it. Its last line is "N passed, N failed": one per file.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from lib import paths  # noqa: E402

# What each line does wrong must be reported under the name beside it.
PLANTED = """
#include <stdlib.h>
#include <string.h>
int planted(const char *a);
int planted(const char *a)
{
    char *copy = malloc(strlen(a + 1));
    if (copy == NULL)
        return 0;
    free(copy);
    return copy[0] == a[0] && a[0] == a[0];
}
"""
FINDS = ("bugprone-misplaced-operator-in-strlen-in-alloc", "clang-analyzer-unix.Malloc", "misc-redundant-expression")

CACHE = paths.CACHE / "clang-tidy"


def arguments():
    parser = argparse.ArgumentParser(prog="tidy", description=__doc__.splitlines()[0])
    parser.add_argument("--build", metavar="DIR", default=os.path.join(ROOT, "build", "tidy"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("files", nargs="*")
    return parser.parse_args()


def configure(folder):
    done = subprocess.run(["cmake", "-S", ROOT, "-B", folder, "-DCMAKE_C_COMPILER=clang", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                           "-DHF_TESTS=ON", "-DHF_FUZZ=ON"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"tidy: cmake cannot configure: {done.stderr.strip()}\n0 passed, 1 failed")
    with open(os.path.join(folder, "compile_commands.json"), encoding="utf-8") as file:
        # What the build makes (web/ as bytes) is nobody's to mend, and not there before it is built.
        return {os.path.relpath(entry["file"], ROOT): shlex.split(entry["command"]) for entry in json.load(file)
                if not os.path.realpath(entry["file"]).startswith(os.path.realpath(folder) + os.sep)}


def tidy(command):
    """The warnings and errors it prints, as "file:line:column: what [check]"."""
    done = subprocess.run(["clang-tidy", "--quiet", *command], cwd=ROOT, capture_output=True, text=True, errors="replace",
                          check=False)
    found = re.findall(r"^\S+:\d+:\d+: (?:warning|error): .*$", done.stdout, re.M)
    if done.returncode != 0 and not found:
        found = [f"clang-tidy ended with {done.returncode}: {(done.stderr.strip() or 'no word').splitlines()[-1]}"]
    return [line.replace(ROOT + os.sep, "") for line in found]


def looked_at(command, folder, settings):
    """The name under which a clean result is remembered, or None when the file cannot be preprocessed."""
    preprocess = [part for part in command if part != "-c"]
    at = preprocess.index("-o")
    del preprocess[at:at + 2]
    done = subprocess.run([*preprocess, "-E", "-C"], cwd=folder, capture_output=True, check=False)
    if done.returncode != 0:
        return None
    digest = hashlib.sha256(settings)
    digest.update(done.stdout.replace(ROOT.encode(), b""))
    return digest.hexdigest()


def tidy_once(path, command, args, settings):
    """As tidy(), but not again for what was clean."""
    name = looked_at(command, args.build, settings) if command else None
    mark = os.path.join(CACHE, name) if name else None
    if mark and os.path.exists(mark):
        os.utime(mark)
        return []
    findings = tidy(["-p", args.build, path])
    if mark and not findings:
        os.makedirs(CACHE, exist_ok=True)
        with open(mark, "w", encoding="ascii"):
            pass
    return findings


def forget():
    """Marks that no run has asked for in a month."""
    for entry in os.scandir(CACHE) if os.path.isdir(CACHE) else ():
        if entry.stat().st_mtime < time.time() - 30 * 86400:
            os.unlink(entry.path)


def planted():
    """What clang-tidy should have found in the planted mistakes and did not."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "planted.c")
        with open(path, "w", encoding="utf-8") as file:
            file.write(PLANTED)
        found = "\n".join(tidy(["--config-file=" + os.path.join(ROOT, ".clang-tidy"), path, "--", "-std=c11"]))
    return [name for name in FINDS if name not in found]


def main():
    args = arguments()
    compiled = configure(args.build)
    tracked = subprocess.run(["git", "ls-files", "-z", "*.c"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = {path for path in tracked.stdout.split("\0") if path and os.path.exists(os.path.join(ROOT, path))}
    files = [os.path.relpath(path, ROOT) for path in args.files] or list(compiled)
    files.sort(key=lambda path: -os.path.getsize(os.path.join(ROOT, path)))  # the long ones first: all workers end together
    passed, failed, seen = 0, 0, set()

    def note(name, findings):
        nonlocal passed, failed
        fresh = [finding for finding in findings if finding not in seen]  # a header is seen by many files
        seen.update(fresh)
        print(f"{'FAIL' if fresh else 'ok  '} {name}", *(f"     {finding}" for finding in fresh), sep="\n", flush=True)
        passed, failed = passed + (not fresh), failed + bool(fresh)

    note("planted mistakes", [f"{name} is not reported" for name in planted()])
    if not args.files:
        note("every C file is compiled", [f"{path} is in no target of CMake" for path in sorted(tracked - compiled.keys())])
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    with open(os.path.join(ROOT, ".clang-tidy"), "rb") as file:
        settings = version + file.read()
    forget()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name, findings in zip(files, pool.map(lambda path: tidy_once(path, compiled.get(path), args, settings), files)):
            note(name, findings)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
