#!/usr/bin/env python3
"""The simulator from outside: seeds, mutants, and whether it can be trusted itself.

    run.py --program FILE sim [--seeds N] [--from N] [--jobs N] [--json FILE] | --seed N ...
    run.py --program FILE mutants [--mutant NAME] [--seeds N] [--jobs N] [--json FILE]
    run.py --program FILE self

Further arguments go to hf_sim; see the head of tests/sim/main.c.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys

# Found within few seeds, and by its own oracle rather than by a crash.
PLANTED = "retains_one_less"
SEEDS_COMPARED = 18


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, check=False)
    return done.returncode, done.stdout


def check(name, passed, why=""):
    print(f"{'ok  ' if passed else 'FAIL'} {name}" + (f": {why}" if why and not passed else ""), flush=True)
    return passed


def the_same_seed_is_the_same_world_in_another_process(program):
    for seed in range(1, SEEDS_COMPARED + 1):
        first, second = (run(program, "--seed", seed, "--hash") for _ in range(2))
        if first != second or "hash" not in first[1]:
            return check("the_same_seed_is_the_same_world_in_another_process", False, f"seed {seed}")
    return check("the_same_seed_is_the_same_world_in_another_process", True)


def watching_changes_nothing(program):
    quiet = run(program, "--seed", 8, "--hash")[1].splitlines()
    watched = run(program, "--seed", 8, "--hash", "--trace")[1].splitlines()
    return check("watching_changes_nothing", quiet[0] in watched and len(watched) > 100)


def verdict(text):
    found = re.search(r"^seed (\d+) \(\w+\) fails at step (\d+), [\d.]+ ms: (.*)$", text, re.M)
    return found.groups() if found else None


def a_failure_is_shrunk_and_shown_again(program):
    name = "a_failure_is_shrunk_and_shown_again"
    code, text = run(program, "--mutant", PLANTED, "--seeds", 200)
    shrunk = verdict(text)
    again = re.search(r"^again: hf_sim (.*)$", text, re.M)
    if code != 1 or shrunk is None or again is None or "every seed holds" in text:
        return check(name, False, "the planted defect is not reported")
    code, text = run(program, *shlex.split(again.group(1)))
    if code != 1 or verdict(text) != shrunk:
        return check(name, False, f"{again.group(0)} shows {verdict(text)}, not {shrunk}")
    code, whole = run(program, "--mutant", PLANTED, "--seed", shrunk[0], "--trace")
    code_less, less = run(program, *shlex.split(again.group(1)), "--trace")
    fewer = less.count("FAULT ") < whole.count("FAULT ") or whole.count("FAULT ") == 0
    return check(name, code == code_less == 1 and fewer, "no fault could be taken away")


def what_it_does_not_know_is_refused(program):
    return check("what_it_does_not_know_is_refused",
                 all(run(program, *a)[0] == 64 for a in (["--what", "1"], ["--mutant", "none"], ["--seeds"],
                                                         ["--off", "RAIN"], ["--seed", "x"])))


def self_test(program):
    tests = (the_same_seed_is_the_same_world_in_another_process, watching_changes_nothing,
             a_failure_is_shrunk_and_shown_again, what_it_does_not_know_is_refused)
    passed = sum(test(program) for test in tests)
    return passed, len(tests) - passed


def campaign(program, what, extra):
    """hf_sim's own output, and how many of what it tried held."""
    command = [program, *(["--mutants"] if what == "mutants" else []), "--jobs", str(os.cpu_count() or 1), *extra]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    text = ""
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        text += line
    code = process.wait()
    found = re.search(r"^(\d+) of (\d+) mutants caught", text, re.M)
    if what == "mutants" and found:
        caught, tried = map(int, found.groups())
        return caught, tried - caught + (code != 0 and caught == tried)
    return int(code == 0), int(code != 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("what", choices=["sim", "mutants", "self"])
    arguments, extra = parser.parse_known_args()
    passed = failed = 0
    if arguments.what != "mutants" and not extra or arguments.what == "self":
        passed, failed = self_test(arguments.program)
    if arguments.what != "self":
        more = campaign(arguments.program, arguments.what, extra)
        passed, failed = passed + more[0], failed + more[1]
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
