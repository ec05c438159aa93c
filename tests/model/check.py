#!/usr/bin/env python3
"""Checks the models of docs/model with spin: the rules hold, every deliberate defect is found.

  check.py                bounded, complete searches: what CI runs
  check.py --large        the larger ones (minutes, up to 6 GB)
  check.py --only TEXT    those whose line contains TEXT
  check.py --json FILE    writes the figures;  --table  prints them as in docs/model/README.md
"""

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODELS = os.path.join(ROOT, "docs", "model")

# HOLDS: no error in a search that saw every state. BROKEN: an assertion fails.
HOLDS, BROKEN = "holds", "broken"

# model, settings, what is expected, what it shows
CHECKS = [
    ("log", "", HOLDS, "the rules, 2 replicas, 3 epochs of 3 slots"),
    ("log", "EPOCHS=4", HOLDS, "4 epochs"),
    ("log", "EPOCHS=4 KEEP=2", HOLDS, "truncation up to the second newest snapshot, as coded"),
    ("log", "LATE_DELETE=1", HOLDS, "a delete decided on a record arrives at any later time"),
    ("log", "DEPTH=1 SLOTS=4 APPENDS=3 KEEP=2", HOLDS, "one record under way, as coded; longer reigns"),
    ("log", "REPLICAS=3 SLOTS=2 DEPTH=1 APPENDS=1 LOOK=0", HOLDS, "3 replicas; without the look they can do more"),
    ("log", "DEPTH=1", HOLDS, "nothing is taken for a hole in a store that loses nothing"),
    ("log", "DEPTH=1 LATE_DELETE=1", HOLDS, "the same with late deletes"),
    ("log", "DEPTH=1 LOSS=1", HOLDS, "the store loses an object: takeovers stop, and with it back nothing is missing"),
    ("log", "DEPTH=1 LOSS=1 SLOTS=2 EPOCHS=4", HOLDS, "the same over more ends of epochs"),
    ("log", "READS=0 SEALS_STAY=0", BROKEN, "seals are removed by truncation: an acknowledged write is lost"),
    ("log", "READS=0 SEALS_STAY=0 KEEP=2 SLOTS=4 APPENDS=3", BROKEN, "the same with truncation as coded"),
    ("log", "READS=0 RECHECK=0", BROKEN, "no second look at the snapshots: a truncated slot is taken for the end"),
    ("log", "READS=0 RECHECK=0 KEEP=2 SLOTS=4 APPENDS=3", BROKEN, "the same with truncation as coded"),
    ("log", "READS=0 RECHECK=2 REPLICAS=3 EPOCHS=4 SLOTS=2 DEPTH=1", BROKEN,
     "only the own seal is checked: a phantom epoch"),
    ("log", "READS=0 IN_ORDER=0", BROKEN, "acknowledged out of order"),
    ("log", "READS=0 FROZEN=0", BROKEN, "packed anew on a retry"),
    ("log", "READS=0 RESOLVE=0", BROKEN, "\"exists\" is taken for our own write"),
    ("log", "READS=2", BROKEN, "a proof on a slot that was sent: a stale read"),
    ("log", "READS=3", BROKEN, "a proof with older puts unconfirmed: a stale read"),
    ("log", "READS=0 DEPTH=1 LOSS=1 LOOK=0", BROKEN, "no look behind the first free slot: what is behind a hole is lost"),
    ("log", "READS=0 DEPTH=1 LOOK=2", BROKEN, "the slot is not read again: a log that goes on is taken for a hole"),
    ("log", "READS=0 DEPTH=1 LOOK=4", BROKEN, "no second look at the snapshots: a truncated slot is taken for a hole"),
    ("log", "READS=0 DEPTH=1 LOOK=3 REPLICAS=3 SLOTS=2 APPENDS=1", BROKEN,
     "first slots count: a stale candidate's seal is taken for the sign of a hole"),
    ("log", "READS=0 LOOK=1", BROKEN, "with two records under way the second may come first: the look rests on one"),
    ("settle", "", HOLDS, "the folder store and the loss of power"),
    ("settle", "SETTLE=0", BROKEN, "what a takeover read is served before it is durable"),
    ("settle", "SETTLE=2", BROKEN, "flushed after the seal only: an epoch that follows a seal which is lost"),
    ("settle", "FLUSH=0", BROKEN, "answered before the flush of the folder"),
    ("settle", "POISON=0", BROKEN, "goes on after a failed flush of a folder"),
    ("lease", "", HOLDS, "sessions over a change of leader: proof by the log or by the election lease"),
    ("lease", "PROOF=0", BROKEN, "renewed without a proof"),
    ("lease", "FROM_SEND=0", BROKEN, "the JobManager counts from the receipt"),
    ("lease", "LEASE_FROM_SEND=0", BROKEN, "the replica counts its election lease from the receipt"),
    ("lease", "GRACE=2", BROKEN, "the new leader waits less than a time-to-live"),
    ("lease", "TRUE_LEASE=0", BROKEN, "a limit, not a rule: when the election lies, or a live leader is taken for "
     "dead, two JobManagers believe"),
    ("payload", "", HOLDS, "a removal is a transaction"),
    ("payload", "FRESH=0", HOLDS, "also when a name is used again"),
    ("payload", "TOMBSTONE=0", BROKEN, "looked, then deleted: a payload that is referred to is missing"),
    ("single-sequence", "REPLICAS=2", BROKEN, "the design not taken, as it first comes to mind"),
    ("single-sequence", "FENCES_STAY=1", BROKEN, "with permanent fences only"),
    ("single-sequence", "RECHECK=1", BROKEN, "with the second look only"),
    ("single-sequence", "FENCES_STAY=1 RECHECK=1 REPLICAS=2", HOLDS, "with both"),
]

# --large.
LARGE = [
    ("log", "REPLICAS=3 SLOTS=2 DEPTH=1 LOOK=0", HOLDS, "3 replicas, 2 appends each; without the look they can do more"),
    ("log", "REPLICAS=3 SLOTS=2 DEPTH=1 APPENDS=1", HOLDS, "3 replicas: nothing is taken for a hole"),
    ("log", "REPLICAS=3 SLOTS=2 DEPTH=1 APPENDS=1 LOSS=1", HOLDS, "3 replicas, the store loses an object"),
    ("log", "SLOTS=4 APPENDS=3 KEEP=2", HOLDS, "longer reigns, truncation as coded"),
    ("log", "SLOTS=4 APPENDS=3 LATE_DELETE=1 DEPTH=1", HOLDS, "longer reigns, late deletes"),
    ("log", "EPOCHS=4 ATTEMPTS=3", HOLDS, "3 takeovers of each replica"),
    ("log", "REPLICAS=3 EPOCHS=4 SLOTS=2 DEPTH=1 APPENDS=1 KEEP=2", HOLDS, "3 replicas, 4 epochs, truncation as coded"),
    ("settle", "LIVES=5 EPOCHS=6 SLOTS=5 APPENDS=3", HOLDS, "five processes one after the other"),
    ("lease", "END=11 RENEWALS=3", HOLDS, "more time, more renewals"),
    ("single-sequence", "FENCES_STAY=1 RECHECK=1", HOLDS, "the design not taken with both repairs, 3 replicas"),
]

MEMORY_MB, LARGE_MEMORY_MB = 1800, 6000
TIMEOUT_S, LARGE_TIMEOUT_S = 240, 3600
DEPTH_MAX = 100000


class Outcome:
    def __init__(self, check):
        self.model, self.settings, self.expected, self.shows = check
        self.ok, self.verdict, self.states, self.depth, self.seconds, self.megabytes = False, "", 0, 0, 0.0, 0.0

    def line(self):
        return (f"{'ok' if self.ok else 'FAILED':7}{self.model:16} {self.settings or '-':52} {self.verdict:34}"
                f"{self.states:>12} states {self.depth:>4} deep {self.seconds:7.1f} s {self.megabytes:7.0f} MB")


def run(command, folder, timeout):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, errors="replace", timeout=timeout)


def judge(outcome, text):
    """What the checker said; anything but a complete search or a failed assertion is no result."""
    found = re.search(r"depth reached (\d+), errors: (\d+)", text)
    states = re.search(r"^\s*(\d+) states, stored", text, re.M)
    memory = re.search(r"([\d.]+)\s+total actual memory usage", text)
    if not found or not states:
        outcome.verdict = "no result"
        return
    outcome.depth, errors, outcome.states = int(found[1]), int(found[2]), int(states[1])
    outcome.megabytes = float(memory[1]) if memory else 0.0
    violated = re.search(r"^pan:\d+: assertion violated", text, re.M)
    limit = re.search(r"max search depth too small|reached -DMEMLIM bound|out of memory|Search not completed", text)
    if errors and violated:
        outcome.verdict = "an assertion fails"
        outcome.ok = outcome.expected == BROKEN
    elif limit:
        outcome.verdict = f"not complete: {limit[0]}"
    elif errors:
        outcome.verdict = "another error than an assertion"
    elif outcome.depth >= DEPTH_MAX - 1:
        outcome.verdict = "not complete: depth"
    else:
        outcome.verdict = "complete, no error"
        outcome.ok = outcome.expected == HOLDS


def check(row, large):
    outcome = Outcome(row)
    settings = ["-D" + item for item in outcome.settings.split()]
    memory = LARGE_MEMORY_MB if large else MEMORY_MB
    with tempfile.TemporaryDirectory(prefix="holdfast-model-") as folder:
        # The large ones keep a hash of each state instead of the state (hash compaction).
        steps = [["spin", *settings, "-a", os.path.join(MODELS, outcome.model + ".pml")],
                 ["gcc", "-O2", "-w", "-DSAFETY", f"-DMEMLIM={memory}", *(["-DHC4"] if large else []),
                  "-o", "pan", "pan.c"],
                 ["./pan", f"-m{DEPTH_MAX}", "-E"]]
        start = time.monotonic()
        try:
            for step in steps:
                start = time.monotonic()
                done = run(step, folder, LARGE_TIMEOUT_S if large else TIMEOUT_S)
                if step[0] != "./pan" and (done.returncode != 0 or re.search(r"^spin: .*[Ee]rror", done.stdout, re.M)):
                    outcome.verdict = f"{step[0]} failed"
                    print(done.stdout)
                    return outcome
            judge(outcome, done.stdout)
        except subprocess.TimeoutExpired:
            outcome.verdict = "no end in time"
        outcome.seconds = time.monotonic() - start
    return outcome


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    rows = [row for row in (LARGE if arguments.large else CHECKS) if arguments.only in " ".join(row)]
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(1 if arguments.large else 2) as pool:
        for outcome in pool.map(lambda row: check(row, arguments.large), rows):
            outcomes.append(outcome)
            print(outcome.line(), flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump([vars(outcome) for outcome in outcomes], file, indent=1)
    if arguments.table:
        for o in outcomes:
            print(f"| {o.model} | {o.settings or 'as given'} | {o.shows} | {o.verdict} | {o.states:,} | {o.seconds:.1f} |")
    failed = sum(not outcome.ok for outcome in outcomes)
    print(f"{sum(o.states for o in outcomes)} states in {sum(o.seconds for o in outcomes):.0f} s of search")
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
