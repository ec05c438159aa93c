#!/usr/bin/env python3
"""The store's servers are killed with kill -9 under load, and come back: service must resume by itself.

--what s3: the server is killed and started again a second later. --what namenode: of a pair of NameNodes the active one is
killed and the other one made active, as an automatic failover does; the killed one comes back as standby. --what datanode: one
of two DataNodes is killed, and started again at the end of the round.

Through all of it no acknowledged commit is lost and no session ends. Figures, for each kill: how long the store could not be
written (`down`), from then until every job has had a commit acknowledged (`resumed`), and the longest time that any job waited (`gap`).
"""
import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib.failure import Failure, wait_until  # noqa: E402
from lib.hdfs import Hdfs  # noqa: E402
from lib.holdfastd import Holdfastd  # noqa: E402
from lib.load import Connection, Job, Manager  # noqa: E402
from lib.places import HdfsPlace, S3Place  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402

S3_DOWN_S = 1.0
RESUME_LIMIT_S = 120
TTL_MS = 60000


class S3Victim:
    def __init__(self, work):
        self.place = S3Place(work)
        self.place.start()

    def strike(self):
        """Until the store can be written again."""
        self.place.server.kill()
        time.sleep(S3_DOWN_S)  # in which requests fail
        self.place.server.restart()

    def heal(self):
        pass


class NameNodeVictim:
    def __init__(self, work):
        self.place = HdfsPlace(work, Hdfs(work, namenodes=2))
        self.place.start()
        self.killed = None

    def strike(self):
        cluster = self.place.cluster
        self.killed = cluster.active()
        other = next(node for node in cluster.namenodes if node is not self.killed)
        self.killed.kill()
        cluster.activate(other)

    def heal(self):
        self.killed.start()
        wait_until(lambda: self.killed.require_alive() or self.killed.state() == "standby", 120, "the killed one as standby", poll=0.1)


class DataNodeVictim:
    def __init__(self, work):
        self.place = HdfsPlace(work, Hdfs(work, datanodes=2))
        self.place.start()
        self.killed = None
        self.dice = random.Random(1)

    def strike(self):
        self.killed = self.dice.choice(self.place.cluster.datanodes)
        self.killed.kill()

    def heal(self):
        self.killed.start()
        self.place.cluster.wait_ready(2)


VICTIMS = {"s3": S3Victim, "namenode": NameNodeVictim, "datanode": DataNodeVictim}


def arguments():
    parser = argparse.ArgumentParser(prog="store-outage", description=__doc__.splitlines()[0])
    parser.add_argument("--what", choices=sorted(VICTIMS), default="s3")
    parser.add_argument("--kills", type=int, default=5, help="default 5")
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--seed", type=int, help="of the random moments; default: a new one, printed")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


def spread(values):
    return {"min": round(min(values)), "median": round(statistics.median(values)), "max": round(max(values))}


def strike(victim, jobs, dice, times):
    time.sleep(dice.uniform(0.3, 1.0))
    for job in jobs:
        job.gap_reset()
    at = time.monotonic()
    victim.strike()
    back = time.monotonic()
    answers = [job.answers for job in jobs]
    # Two: the first may have been on its way.
    wait_until(lambda: all(job.answers >= before + 2 or job.problems for job, before in zip(jobs, answers)), RESUME_LIMIT_S,
               "every job to commit again", poll=0.005)
    times["down"].append((back - at) * 1000)
    times["resumed"].append((time.monotonic() - back) * 1000)
    times["gap"].append(max(job.gap for job in jobs) * 1000)
    victim.heal()


def run(args, work, result):
    dice = random.Random(result["seed"])
    times = {"down": [], "resumed": [], "gap": []}
    victim = VICTIMS[args.what](work)
    daemon, manager, jobs = None, None, []
    try:
        daemon = Holdfastd(work, place=victim.place).start()
        address = daemon.url.removeprefix("http://")
        manager = Manager([address], "outage", ttl_ms=TTL_MS).start()
        jobs = [Job(manager).start() for _ in range(args.jobs)]
        for number in range(args.kills):
            strike(victim, jobs, dice, times)
            result["kills"] = number + 1
            daemon.require_alive()
            if manager.lost or any(job.problems for job in jobs):
                break
        for job in jobs:
            job.stop()
        daemon.kill()
        daemon.restart()
        daemon.wait_ready()
        connection = Connection([address])
        for job in jobs:
            if not job.problems:
                job.check(connection)
        result.update({f"{name}_ms": spread(values) for name, values in times.items()})
        result.update(commits=sum(job.acked for job in jobs), lost_writes=sum(len(job.problems) for job in jobs),
                      sessions_lost=len(manager.lost),
                      problems=[text for job in jobs for text in job.problems][:10] + manager.lost[:10])
    finally:
        for job in jobs:
            job.ended.set()
        if manager:
            manager.stop()
        if daemon:
            daemon.stop()
        victim.place.stop()


def main():
    args = arguments()
    result = {"what": args.what, "jobs": args.jobs, "kills": 0,
              "seed": args.seed if args.seed is not None else random.SystemRandom().randrange(2 ** 31)}
    print(f"seed {result['seed']}", flush=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-outage-") as work:
        run(args, Path(work), result)
    print(f"{result['kills']} x kill -9 of {args.what}: down {result['down_ms']}, resumed after {result['resumed_ms']}, longest gap "
          f"{result['gap_ms']} ms; {result['commits']} commits, lost_writes {result['lost_writes']}, "
          f"sessions_lost {result['sessions_lost']}")
    if args.json:
        write_json(args.json, result)
    if result["problems"] or result["kills"] < args.kills:
        raise Failure(f"ended early or lost something: {result['problems'][:3]}")


if __name__ == "__main__":
    main_guard("store-outage", main)
