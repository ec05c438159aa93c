#!/usr/bin/env python3
"""How much of the C code the tests run: lines and branches of each folder, and what they do not reach.

  coverage.py --build FOLDER      runs the suites below in it, then prints the shares and, for store/ and
                                  election/, every line and branch that was not reached
  --suite NAME                    only this one (may be repeated);  --keep adds to the counts of the last run
  --list FOLDER                   the lines not reached of another folder or file, too (may be repeated)
  --seeds N                       of the simulator;  --json FILE writes the figures

A branch is one way out of a condition. Those of an hf_assert do not count, since the other way is our own
mistake, and those inside the macros of uthash.
exceptions.py names what cannot be reached, or only in ways no test should take; a name there that is reached
after all, or matches nothing, is an error. The build must be configured with -DHF_COVERAGE=ON.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys

import exceptions

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ["base", "store", "election", "gc", "loop", "backends", "rpc", "alerts", "daemon", "cli"]
STRICT = ["store", "election"]
TIMEOUT_S = 3600


def suites(build, seeds):
    def label(name):
        return [["ctest", "--test-dir", build, "-L", name, "--no-tests=error", "-j", str(os.cpu_count() or 1)]]
    stores = [[sys.executable, os.path.join(ROOT, "tests/contract/store.py"), "--store", store, "--build", build]
              for store in ("s3", "hdfs")]
    rpc = [[sys.executable, os.path.join(ROOT, "tests/rpc", name)]
           for name in ("test_protocol.py", "test_bad_input.py", "test_openapi.py")]
    return {"unit": label("unit"), "contract": label("contract") + stores, "crash": label("crash"), "rpc": rpc,
            # One by one: the processes of --seeds leave without the exit hook that writes the counts.
            "sim": [[os.path.join(build, "tests/sim/hf_sim"), "--seed", str(seed)] for seed in range(1, seeds + 1)]}


def run(name, commands, build):
    """Runs a suite; what it prints goes to a log beside the build. True when all passed."""
    passed = True
    env = {**os.environ, "HOLDFAST_BUILD": build, "HOLDFASTD": os.path.join(build, "daemon", "holdfastd"),
           "HOLDFAST_CLI": os.path.join(build, "cli", "holdfast")}
    with open(os.path.join(build, f"coverage-{name}.log"), "wb") as log:
        for command in commands:
            try:
                done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      timeout=TIMEOUT_S, env=env, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                log.write(f"\n{error}\n".encode())
                passed = False
                continue
            passed = passed and done.returncode == 0
    print(f"{'ran ' if passed else 'FAILED'} {name}" + ("" if passed else f": see {log.name}"), flush=True)
    return passed


def count_files(build):
    for folder, _, names in os.walk(build):
        for name in names:
            if name.endswith(".gcda"):
                yield os.path.join(folder, name)


def read_counts(path):
    """The files of one .gcda, as gcov's JSON has them."""
    done = subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--stdout", path],
                          cwd=os.path.dirname(path), capture_output=True, text=True, check=True)
    return [file for line in done.stdout.splitlines() if line for file in json.loads(line)["files"]]


class File:
    """A source file: how often each line ran, and each branch of it."""

    def __init__(self, path):
        self.path = path
        with open(os.path.join(ROOT, path), encoding="utf-8") as source:
            self.text = source.read().splitlines()
        self.lines = collections.Counter()
        self.branches = {}
        self.function = {}

    def add(self, line, is_plain):
        number = line["line_number"]
        counts = [branch["count"] for branch in line["branches"]]
        if not is_plain and number not in self.lines:
            return  # of a mutant
        self.lines[number] += line["count"]
        self.function[number] = line.get("function_name", "")
        if self.is_assertion(number) or re.search(r"\bHASH_[A-Z]+", self.text[number - 1]):
            return
        known = self.branches.get(number)
        if known is None:
            if is_plain and counts:
                self.branches[number] = counts
        elif len(known) == len(counts):
            self.branches[number] = [a + b for a, b in zip(known, counts)]

    def is_assertion(self, number):
        """Also of one that goes over several lines."""
        for start in range(number, max(number - 4, 0), -1):
            text = self.text[start - 1]
            if "hf_assert(" in text:
                return True
            if start < number and text.rstrip().endswith((";", "{", "}")):
                return False
            if start == number and not text.strip():
                return False
        return False


def collect(build):
    """path -> File, of our folders."""
    files = {}
    paths = list(count_files(build))
    # The simulator has its own objects, with mutants in them: they add to what the plain ones have.
    is_plain = [os.sep + os.path.join("tests", "sim") + os.sep not in path for path in paths]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        counts = list(pool.map(read_counts, paths))
    for plain in (True, False):
        for found in (c for c, p in zip(counts, is_plain) if p == plain):
            for entry in found:
                path = os.path.relpath(os.path.join(build, entry["file"]), ROOT)
                if path.split(os.sep)[0] not in FOLDERS or not path.endswith((".c", ".h")):
                    continue
                if path not in files:
                    files[path] = File(path)
                for line in entry["lines"]:
                    files[path].add(line, plain)
    return files


def exempt(files):
    """(path, line) -> why, from exceptions.py; and what is wrong with the table."""
    why, wrong = {}, []
    for path, function, text, reason in exceptions.EXCEPTIONS:
        file = files.get(path)
        found = [n for n in (file.lines if file else ()) if re.sub(r"\s+", " ", file.text[n - 1]).strip() == text
                 and (not function or file.function[n] == function)]
        missed = [n for n in found if file.lines[n] == 0 or 0 in file.branches.get(n, ())]
        if not found:
            wrong.append(f"{path}: {function}: no such line: {text}")
        elif not missed:
            wrong.append(f"{path}: {function}: is reached: {text}")
        why.update(((path, n), reason) for n in missed)
    return why, wrong


def share(part, whole):
    return f"{100 * part / whole:6.1f} %" if whole else "       -"


def figures(files, why):
    """folder -> [lines, reached, branches, taken, lines excepted, branches excepted]"""
    table = {folder: [0] * 6 for folder in FOLDERS}
    for path, file in files.items():
        row = table[path.split(os.sep)[0]]
        for number, count in file.lines.items():
            row[0] += 1
            row[1] += count > 0
            row[4] += count == 0 and (path, number) in why
            taken = file.branches.get(number, ())
            row[2] += len(taken)
            row[3] += sum(c > 0 for c in taken)
            row[5] += sum(c == 0 for c in taken) if (path, number) in why else 0
    return table


def print_missed(files, why, folder):
    for path in sorted(files):
        if path != folder and path.split(os.sep)[0] != folder:
            continue
        file = files[path]
        for number in sorted(file.lines):
            branches = file.branches.get(number, [])
            missed = file.lines[number] == 0 or 0 in branches
            if not missed or (path, number) in why:
                continue
            what = "line" if file.lines[number] == 0 else f"{branches.count(0)} of {len(branches)} branches"
            print(f"  {path}:{number} {file.function[number]}: {what}: {file.text[number - 1].strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--suite", action="append", choices=["unit", "contract", "crash", "rpc", "sim"])
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--list", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--json")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    if not options.keep:
        for path in list(count_files(build)):
            os.remove(path)
    table = suites(build, options.seeds)
    passed = [run(name, table[name], build) for name in options.suite or table]
    files = collect(build)
    if not files:
        sys.exit("coverage: no counts; configure the build with -DHF_COVERAGE=ON")
    why, wrong = exempt(files)
    rows = figures(files, why)
    rows["all"] = [sum(column) for column in zip(*rows.values())]
    print(f"\n{'folder':10} {'lines':>6} {'reached':>9} {'with exceptions':>16} {'branches':>9} {'taken':>9} "
          f"{'with exceptions':>16}")
    for folder, (lines, reached, branches, taken, lines_off, branches_off) in rows.items():
        print(f"{folder:10} {lines:6} {share(reached, lines):>9} {share(reached, lines - lines_off):>16} "
              f"{branches:9} {share(taken, branches):>9} {share(taken, branches - branches_off):>16}")
    for folder in STRICT + options.list:
        print(f"\nnot reached in {folder}:")
        print_missed(files, why, folder)
    print(f"\nexceptions: {len(exceptions.EXCEPTIONS)}, {len(why)} lines")
    for problem in wrong if not options.suite else []:
        print(f"exceptions.py: {problem}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as out:
            json.dump({folder: dict(zip(("lines", "reached", "branches", "taken", "lines_excepted",
                                         "branches_excepted"), row)) for folder, row in rows.items()}, out, indent=1)
    return 0 if all(passed) and (options.suite or not wrong) else 1


if __name__ == "__main__":
    sys.exit(main())
