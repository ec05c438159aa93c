#!/usr/bin/env python3
"""Runs every fuzzer for a while: run.py --build FOLDER [--seconds N] [--jobs N] [NAME ...]

What was learned stays in FOLDER/corpus; an input that broke something, in FOLDER/crashes.
Run it again with FOLDER/tests/fuzz/fuzz_NAME FILE. The last line is "N passed, N failed".
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

import seeds

INPUT_BYTES_MAX = 4096
RUNS_MIN = 100  # fewer means that the fuzzer did not work


def fuzz(name, build, seconds):
    """(problem or None, what happened)"""
    corpus = os.path.join(build, "corpus", name)
    first = os.path.join(build, "seeds", name)
    crashes = os.path.join(build, "crashes", name)
    for folder in (corpus, first, crashes):
        os.makedirs(folder, exist_ok=True)
    for number, data in enumerate(seeds.SEEDS[name]):
        with open(os.path.join(first, str(number)), "wb") as file:
            file.write(data)
    command = [os.path.join(build, "tests/fuzz/fuzz_" + name), f"-max_total_time={seconds}",
               f"-max_len={INPUT_BYTES_MAX}", "-timeout=60", "-rss_limit_mb=2048", "-print_final_stats=1",
               f"-artifact_prefix={crashes}/", corpus, first]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              timeout=3 * seconds + 120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error), ""
    ran = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    runs = int(ran.group(1)) if ran else 0
    covered = re.findall(r"cov: (\d+)", done.stderr)
    if done.returncode:
        return done.stderr[-6000:], ""
    if runs < RUNS_MIN:
        return f"only {runs} runs in {seconds} s", ""
    return None, f"{runs} runs, {covered[-1] if covered else '?'} edges"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*", choices=[[], *seeds.SEEDS], metavar="NAME")
    options = parser.parse_args()
    names = options.names or list(seeds.SEEDS)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {name: pool.submit(fuzz, name, os.path.abspath(options.build), options.seconds) for name in names}
        for name, run in runs.items():
            problem, facts = run.result()
            failed += problem is not None
            print(f"{'FAIL' if problem else 'ok  '} {name}: {problem or facts}", flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
