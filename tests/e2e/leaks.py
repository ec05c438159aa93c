#!/usr/bin/env python3
"""What kills leave behind: no file that nobody needs, and every file that somebody needs.

A job makes checkpoints; the leading JobManager and holdfastd are killed (-9) at moments when files are being deleted;
`holdfast gc run` sweeps while the job goes on, with the smallest age that is safe here. Then the job is cancelled, its
newest checkpoints stay (RETAIN_ON_CANCELLATION), and the end is swept once more. After that every file below the job's folders
belongs to a retained checkpoint, every file that one of those names is there, and each of them restores in a new job.

With --ha zookeeper or kubernetes the same kills run against Flink's own HA, which is only counted; with --beside they do so
after the kills on Holdfast, and the counts stand in one report: the comparison.
"""
import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import checkpoints, gc, maven  # noqa: E402
from lib.failover import Takeover, task_count, wait_checkpoints  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.kubernetes_ha import KubernetesHa  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402

RETAINED = 2
#: Flink's own HA. Its sessions and leases are 4 s here, so that a takeover does not take a minute.
OWN = ("zookeeper", "kubernetes")
_ROCKSDB = {"state.backend.type": "rocksdb", "execution.checkpointing.incremental": "true"}
_JOB = ["--state-bytes", 2_000_000, "--keys", 2000, "--rate", 1000]
#: Name -> settings, arguments of the job.
MODES = {
    "rocksdb": (_ROCKSDB, _JOB),
    "filemerging": ({**_ROCKSDB, "execution.checkpointing.file-merging.enabled": "true"}, _JOB),
    "unaligned": ({"execution.checkpointing.unaligned.enabled": "true",
                   "execution.checkpointing.aligned-checkpoint-timeout": "0 ms"},
                  ["--state-bytes", 3_000_000, "--keys", 50, "--rate", 100_000_000]),
    "changelog": ({**_ROCKSDB, "state.changelog.enabled": "true", "state.changelog.storage": "filesystem",
                   "state.changelog.periodic-materialize.interval": "1 s",
                   "state.changelog.dstl.dfs.base-path": "file:{side}/changelog"},
                  ["--state-bytes", 500_000, "--keys", 500, "--rate", 1000]),
}


def arguments():
    parser = Parser("leaks", __doc__, "the counts")
    parser.add_argument("--kills", type=int, default=50, help="of JobManagers; holdfastd is killed 2 times for every 5")
    parser.add_argument("--mode", choices=sorted(MODES), default="rocksdb")
    parser.add_argument("--ha", choices=("holdfast", *OWN), default="holdfast")
    parser.add_argument("--beside", choices=OWN, nargs="+", default=[], help="Flink's own HA, killed and counted after Holdfast's")
    parser.add_argument("--beside-kills", type=int, metavar="N", help="of JobManagers there; default as many as --kills")
    parser.add_argument("--interval-ms", type=int, default=200, help="checkpoint interval; default 200")
    parser.add_argument("--seed", type=int, help="of the random moments; default: a new one, printed")
    args = parser.parse_args()
    if args.kills < 1:
        parser.error("--kills must be at least 1")
    return args


class Leaks:
    """The cluster under attack and what became of its files."""

    def __init__(self, rig, args, result, side):
        self.rig = rig
        self.side = side
        self.args = args
        self.result = result
        self.random = random.Random(result["seed"])
        self.holdfast = rig.ha.kind == "holdfast"
        self.tasks = 0
        self.job = self.folders = self.namespace = None

    def start(self):
        cluster = self.rig.flink
        leader = cluster.start()
        self.job = cluster.submit(maven.job_jar(), "--name", "leaks", *MODES[self.args.mode][1])
        self.folders = gc.Folders(cluster.checkpoint_folder(self.job), self.side / "changelog" / self.job)
        cluster.wait_running(self.job)
        if self.holdfast:
            self.namespace = wait_until(lambda: self.rig.ha.cluster_path(cluster.cluster_id), 60,
                                        "the daemon to list the cluster").split("/")[3]
        self.tasks = task_count(self.rig, self.job)
        wait_checkpoints(leader, RETAINED + 1)

    def deleting(self, leader, start):
        """A moment in which a subsumed checkpoint's files are going: soon after the next one is completed."""
        wait_checkpoints(leader, self.random.randint(1, 3), start)
        time.sleep(self.random.uniform(0, 0.04))

    def kill_jobmanager(self):
        takeover = Takeover.of_leader(self.rig, self.job, self.deleting)
        self.result["jobmanager_kills"] += 1
        takeover.follow(self.tasks)

    def kill_daemon(self):
        leader = self.rig.flink.wait_leader()
        self.deleting(leader, leader.lines.mark())
        self.rig.ha.kill()
        self.result["daemon_kills"] += 1
        start = leader.lines.mark()
        self.rig.ha.restart()
        self.rig.ha.wait_ready()
        wait_checkpoints(leader, 2, start)

    def sweep(self, *how):
        """One `holdfast gc run`; its answer."""
        changelog = ["--changelog-folder", self.folders.changelog] if self.folders.changelog.is_dir() else []
        answer = json.loads(gc.holdfast("gc", "run", *how, *changelog, "--yes", "-o", "json"))
        for name in ("files", "bytes", "uncertain"):
            self.result["swept_" + name] = self.result.get("swept_" + name, 0) + answer[name]
        return answer

    def sweep_running(self):
        """While the job goes on: 2 s are longer than any checkpoint here takes, once the newest one is begun."""
        self.sweep("--endpoint", self.rig.ha.url, "-n", self.namespace, self.rig.flink.cluster_id, self.job, "--unlisted",
                   "--min-age", "2s", "--delete")

    def attack(self):
        for number in range(1, self.args.kills + 1):
            self.kill_jobmanager()
            if self.holdfast and (number % 5) in (2, 4):
                self.kill_daemon()
            before = len(self.folders.files())
            if self.holdfast:
                self.sweep_running()
            self.rig.say(f"kill {number}/{self.args.kills}: {before} file(s), {len(self.folders.files())} after the sweep")

    def cancel(self):
        if self.holdfast:
            # What a kill left complete and unacknowledged is older than the newest checkpoint by 2 s then.
            leader = self.rig.flink.wait_leader()
            wait_checkpoints(leader, 1 + 3000 // self.args.interval_ms, leader.lines.mark())
            self.sweep_running()
        self.rig.flink.cancel(self.job)
        checkpoints.settle(self.folders.checkpoints, quiet=10)
        if self.folders.changelog.is_dir():
            checkpoints.settle(self.folders.changelog, quiet=5)

    def account(self, name):
        """What is there and what is named; the counts go into the result as <name>_…"""
        files = self.folders.files()
        named, claimed = self.folders.named()
        missing = sorted(path for path in named if path not in files)
        left = sorted(path for path in files if path not in named)
        self.result[name] = {
            "files": len(files), "bytes": sum(files.values()), "retained": len(self.folders.complete()),
            "missing": len(missing), "leaked": len(left), "leaked_bytes": sum(files[path] for path in left),
            "in_claimed_folders": sum(os.path.dirname(path) in claimed for path in left),
            "names": [os.path.relpath(path, self.rig.work) for path in (missing or left)[:20]]}
        self.rig.say(f"{name}: {self.result[name]}")
        return missing, left


    def last_sweep(self):
        """The sweep after the end: nothing is young any more. Into the trash, back, and away again."""
        how = ["--job-folder", self.folders.checkpoints, "--ended", "--min-age", "0s"]
        before = self.folders.files()
        first = self.sweep(*how)
        if first["files"]:
            gc.holdfast("gc", "undo", first["plan"], "--job-folder", self.folders.checkpoints)
            if self.folders.files() != before:
                raise Failure(f"gc undo {first['plan']} did not bring back what was there before")
            self.sweep(*how)
        if self.sweep(*how)["files"]:
            raise Failure("a second sweep found more than the first")

    def restore_all(self):
        """Each retained checkpoint, in a job of its own: the job checks its state against its source's position."""
        cluster = self.rig.flink
        for checkpoint in self.folders.complete():
            gc.holdfast("checkpoints", "verify", checkpoint)
            mark = cluster.wait_leader().lines.mark()
            job = cluster.submit(maven.job_jar(), "--name", "restored", *MODES[self.args.mode][1], restore=checkpoint,
                                 # A changelog cannot make the full checkpoint that the default, NO_CLAIM, begins with.
                                 claim="LEGACY" if self.args.mode == "changelog" else "NO_CLAIM")
            cluster.wait_running(job)
            wait_checkpoints(cluster.wait_leader(), 2, mark)
            cluster.cancel(job)
            self.result["restored"] += 1
            self.rig.say(f"{checkpoint.name} restored")
        if cluster.task_errors():
            raise Failure(f"state is not as it was: {cluster.task_errors()[0]}")


def verdict(result):
    """One line for the first thing that is not as it must be, or None."""
    before, after = result["before_gc"], result["after_gc"]
    if before["missing"] or after["missing"]:
        return f"files that a retained checkpoint names are gone: {(before if before['missing'] else after)['names'][:3]}"
    if after["leaked"]:
        return f"{after['leaked']} file(s) are left that no checkpoint names: {after['names'][:3]}"
    if after["retained"] != RETAINED or result["restored"] != RETAINED:
        return f"{after['retained']} checkpoint(s) are retained and {result['restored']} restored, must be {RETAINED}"
    return None


def run(args, result):
    settings, _ = MODES[args.mode]
    with tempfile.TemporaryDirectory(prefix="holdfast-leaks-") as side:
        options = {"execution.checkpointing.interval": f"{args.interval_ms} ms",
                   "execution.checkpointing.num-retained": str(RETAINED),
                   "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
                   **{key: value.replace("{side}", side) for key, value in settings.items()}}
        kind, how = args.ha, {}
        if args.ha == "kubernetes":
            kind, how = KubernetesHa, {"version": maven.flink_version(args.flink), "lease_s": 4}
        with Rig("leaks", args.flink, kind, args.work, options, how, managed="128m") as rig:
            leaks = Leaks(rig, args, result, Path(side))
            leaks.start()
            rig.say(f"{args.kills} kills of JobManagers, seed {result['seed']}")
            leaks.attack()
            leaks.cancel()
            leaks.account("before_gc")
            if not leaks.holdfast:
                return
            leaks.last_sweep()
            leaks.account("after_gc")
            leaks.restore_all()
            leaks.account("after_gc")
            problem = verdict(result)
            if problem:
                raise Failure(problem)


def fresh(args):
    """A report before anything has happened."""
    return {"flink_version": maven.flink_version(args.flink), "ha": args.ha, "mode": args.mode, "ok": False,
            "seed": args.seed, "jobmanager_kills": 0, "daemon_kills": 0, "restored": 0}


def run_beside(args, kind):
    """The same kills on Flink's own HA; its report."""
    own = argparse.Namespace(**{**vars(args), "ha": kind, "work": None, "kills": args.beside_kills or args.kills})
    result = fresh(own)
    run(own, result)
    result["ok"] = True
    return result


def main():
    args = arguments()
    if args.seed is None:
        args.seed = int.from_bytes(os.urandom(4), "big")
    result = fresh(args)
    with reported(args.json, result):
        run(args, result)
        if args.beside:
            result["beside"] = {kind: run_beside(args, kind) for kind in args.beside}
    print("leaks: nothing leaked, nothing missing, every retained checkpoint restores" if args.ha == "holdfast" else
          f"leaks: counted, {result['before_gc']['leaked']} file(s) leaked")
    for kind, own in result.get("beside", {}).items():
        print(f"leaks: Flink's own HA on {kind}: {own['before_gc']['leaked']} file(s) leaked by {own['jobmanager_kills']} kills")
    return 0


if __name__ == "__main__":
    main_guard("leaks", main)
