#!/usr/bin/env python3
"""Kills a process again and again at random moments and counts what went wrong.

--target jobmanager: kill -9 of the leading JobManager under RocksDB incremental checkpoints. Each time the job must
come back from the newest acknowledged checkpoint; over the whole campaign no checkpoint id is used twice, no confirmed
checkpoint is lost, and after the job is cancelled no file is left that an acknowledged checkpoint referred to.

--target daemon: kill -9 of holdfastd, which is started again at once. What it had confirmed must be there, and since
the outage is shorter than the JobManagers' sessions live, no leadership and no job may be disturbed.
"""
import os
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import checkpoints, flink, maven, places  # noqa: E402
from lib.failover import Takeover, completed, task_count, wait_checkpoints  # noqa: E402
from lib.failure import Failure  # noqa: E402
from lib.holdfastd import History  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402

RETAINED = 2
BAD = ("wrong_checkpoint", "repeated_ids", "leaked_files", "lost_writes", "needless_restarts")


def arguments():
    parser = Parser("campaign", __doc__, "the counts")
    parser.add_argument("--kills", type=int, default=50, help="default 50")
    parser.add_argument("--target", choices=("jobmanager", "daemon"), default="jobmanager")
    parser.add_argument("--interval-ms", type=int, help="checkpoint interval; default 200, on hdfs 500: it is looked at from afar")
    parser.add_argument("--seed", type=int, help="of the random moments; default: a new one, printed")
    parser.add_argument("--ha", choices=("holdfast", "zookeeper"), default="holdfast")
    parser.add_argument("--store", choices=places.PLACES, default="file",
                        help="where holdfastd and Flink keep their files: folders, an S3 server or an HDFS; default file")
    args = parser.parse_args()
    if args.interval_ms is None:
        args.interval_ms = 500 if args.store == "hdfs" else 200
    if args.kills < 1 or args.interval_ms < 10:
        parser.error("--kills must be at least 1 and --interval-ms at least 10")
    return args


class Campaign:
    """The cluster under attack, the random moments, and the counts."""

    def __init__(self, rig, args, result):
        self.rig = rig
        self.args = args
        self.result = result
        self.random = random.Random(result["seed"])
        self.tasks = 0
        self.job = self.watcher = self.history = None
        self.times = {name: [] for name in ("failover_ms", "job_running_ms", "first_checkpoint_ms", "outage_ms")}
        self.lost = set()

    def start(self):
        cluster = self.rig.flink
        leader = cluster.start()
        self.job = cluster.submit(maven.job_jar(), "--name", "campaign", "--state-bytes", 2_000_000, "--keys", 2000,
                                  "--rate", 1000)
        self.watcher = checkpoints.MetadataWatcher(cluster.checkpoint_folder(self.job), self.rig.work / "metadata")
        self.watcher.start()
        if self.rig.ha.kind == "holdfast":
            self.history = History(self.rig.ha, cluster.cluster_id, self.job).start()
        cluster.wait_running(self.job)
        self.tasks = task_count(self.rig, self.job)
        wait_checkpoints(leader, RETAINED)

    def random_moment(self, leader, start):
        """A few checkpoints from now, and then anywhere inside the next ones."""
        wait_checkpoints(leader, self.random.randint(1, 4), start)
        time.sleep(self.random.uniform(0, 3 * self.args.interval_ms / 1000))

    def kill_jobmanager(self, number):
        takeover = Takeover.of_leader(self.rig, self.job, self.random_moment)
        self.result["kills"] += 1
        takeover.follow(self.tasks)
        self.result["recovered"] += 1
        wrong = not takeover.right_checkpoint()
        self.result["wrong_checkpoint"] += wrong
        if takeover.lost_write():
            self.lost.add(takeover.logged)
        self.times["failover_ms"].append(takeover.failover_ms)
        self.times["job_running_ms"].append(takeover.running_ms)
        self.times["first_checkpoint_ms"].append(takeover.first_checkpoint_ms)
        self.rig.say(f"kill {number}/{self.args.kills}: leader after {takeover.failover_ms} ms, running after "
                     f"{takeover.running_ms} ms, restored {takeover.restored} "
                     f"({'NOT ' if wrong else ''}as acknowledged: {takeover.acknowledged}), "
                     f"next {takeover.first_checkpoint}")

    def kill_daemon(self, number):
        cluster, ha = self.rig.flink, self.rig.ha
        leader = cluster.wait_leader()
        self.random_moment(leader, leader.lines.mark())
        ha.kill()
        confirmed = set(completed(leader)) | set(self.history.entries if self.history else ())
        self.result["kills"] += 1
        start = leader.lines.mark()
        ha.restart()
        ha.wait_ready()
        outage = round((time.time() - ha.process.killed_at) * 1000)
        listed = ha.listed(cluster.cluster_id, self.job)
        if listed is not None:
            self.lost |= unexplained(confirmed, [entry["id"] for entry in listed])
        wait_checkpoints(leader, 1, start)
        first = leader.lines.first(flink.COMPLETED, start)
        self.result["recovered"] += 1
        self.times["outage_ms"].append(outage)
        self.times["first_checkpoint_ms"].append(round((first[0].time - ha.process.killed_at) * 1000))
        self.rig.say(f"kill {number}/{self.args.kills}: serving again after {outage} ms, next checkpoint {first[1][1]} "
                     f"after {self.times['first_checkpoint_ms'][-1]} ms, {len(self.lost)} lost so far")

    def attack(self):
        kill = self.kill_daemon if self.args.target == "daemon" else self.kill_jobmanager
        for number in range(1, self.args.kills + 1):
            kill(number)

    def finish(self):
        """Cancels the job and accounts for its files."""
        cluster = self.rig.flink
        cluster.cancel(self.job)
        folder = cluster.checkpoint_folder(self.job)
        checkpoints.settle(folder)
        self.watcher.stop()
        acknowledged = {int(match[1]) for _, match, _ in cluster.history(flink.COMPLETED, self.job)}
        if self.history:
            self.history.stop()
            acknowledged |= set(self.history.entries)
        self.result.update(checkpoints.account(folder, self.watcher, acknowledged, maven.flink_lib(self.rig.version)))

    def count(self):
        """The counts that need no ended job; also made when the campaign broke off."""
        cluster = self.rig.flink
        triggered = Counter(int(match[1]) for _, match, _ in cluster.history(flink.TRIGGERED))
        repeated = {number for number, times in triggered.items() if times > 1} | self.watcher.repeated
        if self.history:
            repeated |= self.history.changed
        failures = cluster.history(flink.RESTARTED, self.job)
        # A process that was killed logs no loss; one that lives and lost its leadership was disturbed.
        losses = [line for jm in cluster.jobmanagers if jm.killed_at is None
                  for line, _ in jm.losses() if line.time < self.result["cancelled_at"]]
        grants = sum(len(jm.grants()) for jm in cluster.jobmanagers) if self.rig.ha.kind == "holdfast" else 0
        expected = 1 + (self.result["kills"] if self.args.target == "jobmanager" else 0)
        self.result.update(
            repeated_ids=len(repeated), repeated=sorted(repeated), lost_writes=len(self.lost), lost=sorted(self.lost),
            needless_restarts=len(failures) + max(len(losses), grants - expected), leadership_grants=grants,
            state_errors=cluster.task_errors(), checkpoints_triggered=len(triggered))
        for name, values in self.times.items():
            if values:
                self.result[name] = {"min": min(values), "median": statistics.median(values), "max": max(values)}


def unexplained(confirmed, listed):
    """Confirmed checkpoints that are neither listed nor subsumed by as many newer ones as are retained."""
    return {number for number in confirmed
            if number not in listed and sum(other > number for other in listed) < RETAINED}


def verdict(result):
    """One line for the first thing that is not as it must be, or None."""
    for name in BAD:
        if result[name]:
            return f"{name} is {result[name]}, must be 0"
    if result["recovered"] != result["kills"]:
        return f"only {result['recovered']} of {result['kills']} kills were recovered from"
    if checkpoints.too_many_missed(result):
        return f"metadata_missed: {len(result['metadata_missed'])} of {result['acknowledged']}"
    for name in ("metadata_unreadable", "state_errors"):
        if result[name]:
            return f"{name}: {result[name][:3]}"
    return None


def run(args, result):
    options = {"execution.checkpointing.interval": f"{args.interval_ms} ms",
               "execution.checkpointing.num-retained": str(RETAINED), "state.backend.type": "rocksdb",
               "execution.checkpointing.incremental": "true"}
    with Rig("campaign", args.flink, args.ha, args.work, options, store=args.store, managed="128m") as rig:
        campaign = Campaign(rig, args, result)
        campaign.start()
        rig.say(f"{args.kills} kills of the {args.target}, seed {result['seed']}")
        try:
            campaign.attack()
        finally:
            result["cancelled_at"] = time.time()
            campaign.count()
        campaign.finish()
        problem = verdict(result)
        if problem:
            raise Failure(problem)


def main():
    args = arguments()
    result = {"flink_version": maven.flink_version(args.flink), "ha": args.ha, "store": args.store, "target": args.target,
              "interval_ms": args.interval_ms,
              "seed": args.seed if args.seed is not None else int.from_bytes(os.urandom(4), "big"),
              "kills": 0, "recovered": 0, "wrong_checkpoint": 0}
    with reported(args.json, result):
        try:
            run(args, result)
        finally:
            result.pop("cancelled_at", None)
    print("campaign: everything held")
    return 0


if __name__ == "__main__":
    main_guard("campaign", main)
