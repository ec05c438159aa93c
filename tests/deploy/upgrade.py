#!/usr/bin/env python3
"""Replicas are upgraded one after the other from an earlier commit to what is built, and taken back, under load.

Each replica is ended in order (SIGTERM), as a StatefulSet does it from the last to the first, and started with the other
program; the next one follows when all are ready. Meanwhile JobManagers hold their leaderships and jobs commit: none of the
sessions may end, no leadership change, and nothing that was acknowledged be lost or overtaken, in either direction.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import older  # noqa: E402
from lib.failure import Failure, require, wait_until  # noqa: E402
from lib.installation import ELECTIONS, STORES, Installation  # noqa: E402
from lib.load import Connection, Job, Manager  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import main_guard, reported  # noqa: E402

PATIENCE_S = 120


def arguments():
    parser = argparse.ArgumentParser(prog="upgrade", description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="commit", metavar="COMMIT", required=True, help="the earlier version")
    parser.add_argument("--rounds", type=int, default=1, help="there and back so many times; default 1")
    parser.add_argument("--election", choices=sorted(ELECTIONS), default="zookeeper")
    parser.add_argument("--store", choices=sorted(STORES), default="file")
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--clusters", type=int, default=8, help="that the jobs belong to; default 8")
    parser.add_argument("--json", metavar="FILE", help="write the counts to FILE")
    return parser.parse_args()


class Roll:
    """All replicas from one program to another."""

    def __init__(self, replicas, managers, jobs):
        self.replicas, self.managers, self.jobs = replicas, managers, jobs

    def to(self, program):
        begin = time.monotonic()
        for job in self.jobs:
            job.gap_reset()
        for replica in reversed(self.replicas.all):
            child = replica.process.child
            child.terminate()
            try:
                code = child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                raise Failure(f"{replica.name} does not end") from None
            require(code == 0, f"{replica.name} ended with {code}; its log: {replica.log}")
            replica.process.argv[replica.process.argv.index(self.program_of(replica))] = str(program)
            replica.process.start()
            self.replicas.wait_ready(PATIENCE_S)
            self.wait_answers()
        for replica in self.replicas.all:
            running = os.readlink(f"/proc/{replica.process.pid}/exe")
            require(running == str(program), f"{replica.name} runs {running}")
        gaps = [job.gap * 1000 for job in self.jobs]
        return {"seconds": round(time.monotonic() - begin, 1), "gap_ms": {"median": round(statistics.median(gaps)),
                                                                       "max": round(max(gaps))}}

    @staticmethod
    def program_of(replica):
        return next(word for word in replica.process.argv if Path(word).name.startswith("holdfastd"))

    def wait_answers(self):
        """Every job goes on, or has said why not. Two answers: the first may be to what was under way."""
        before = [job.answers for job in self.jobs]
        wait_until(lambda: all(job.answers >= count + 2 or job.problems for job, count in zip(self.jobs, before)), PATIENCE_S,
                   "every job to commit")
        problems = [text for job in self.jobs for text in job.problems] + [text for each in self.managers for text in each.lost]
        require(not problems, f"{len(problems)} problems: {problems[:3]}")


def run(args, work, result):
    old, result["from"] = older.holdfastd(args.commit)
    result["to"] = older.commit_of("HEAD")
    programs = {name: shutil.copy(path, work / f"holdfastd-{name}") for name, path in
                (("old", old), ("new", BUILD / "daemon" / "holdfastd"))}
    require(programs["old"].read_bytes() != programs["new"].read_bytes(), "both versions are the same program")
    installation = Installation(work, election=args.election, store=args.store, binary=programs["old"])
    managers, jobs = [], []
    try:
        replicas = installation.start().replicas
        managers = [Manager(replicas.endpoints, f"c{number}").start() for number in range(args.clusters)]
        jobs = [Job(managers[number % len(managers)]).start() for number in range(args.jobs)]
        roll = Roll(replicas, managers, jobs)
        roll.wait_answers()
        result["steps"] = []
        for _ in range(args.rounds):
            for direction, program in (("upgrade", "new"), ("downgrade", "old")):
                step = {"direction": direction, **roll.to(programs[program])}
                result["steps"].append(step)
                print(f"  {step}", flush=True)
        result["steps"].append({"direction": "upgrade", **roll.to(programs["new"])})
        print(f"  {result['steps'][-1]}", flush=True)
        for job in jobs:
            job.stop()
        connection = Connection(replicas.endpoints)
        for job in jobs:
            job.check(connection)
    finally:
        for manager in managers:
            manager.stop()
        for job in jobs:
            job.ended.set()
        installation.stop()
    lost = {"lost_writes": [text for job in jobs for text in job.problems],
            "sessions_lost": [text for manager in managers for text in manager.lost]}
    result.update({key: len(texts) for key, texts in lost.items()}, commits=sum(job.acked for job in jobs))
    require(not any(lost.values()), f"{lost}")


def main():
    args = arguments()
    result = {"election": args.election, "store": args.store, "replicas": 3, "jobs": args.jobs, "clusters": args.clusters}
    with reported(args.json, result), tempfile.TemporaryDirectory(prefix="holdfast-upgrade-") as work:
        run(args, Path(work), result)
    print(f"{args.commit} to {result['to'][:7]} and back: {result['commits']} commits, lost writes {result['lost_writes']}, "
          f"lost sessions {result['sessions_lost']}")


if __name__ == "__main__":
    main_guard("upgrade", main)
