#!/usr/bin/env python3
"""`holdfast drill CLUSTER` on a real Flink: the leading JobManager loses its session, and the standby takes over.

What the drill reports is held against both JobManagers' own logs; the job must go on from its newest checkpoint, twice in
a row (there and back again), with no JobManager ended by it. Without --yes and without a terminal nothing may happen.
"""
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink, maven  # noqa: E402
from lib.failover import wait_checkpoints  # noqa: E402
from lib.failure import require  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402

#: Between what the drill saw and what a JobManager logged: its start, polling, and the log's own delay. On a busy machine
#: these may take longer once, so the better one of two drills counts.
SLACK_MS = 1500


def arguments():
    return Parser("drill", __doc__, "the reports").parse_args()


def drill(rig, *options):
    return subprocess.run([BUILD / "cli" / "holdfast", "drill", rig.flink.cluster_id, "--endpoint", rig.ha.url, *options],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def refusals(rig, leader):
    """What must not start a drill, and be said."""
    asked = drill(rig)
    require(asked.returncode == 2 and "--yes" in asked.stderr, f"asked nobody, and went on: {asked}")
    require("1 standby" in asked.stderr and "1 running" in asked.stderr, f"the plan is not shown: {asked.stderr}")
    unknown = subprocess.run([BUILD / "cli" / "holdfast", "drill", "--yes", "nobody", "--endpoint", rig.ha.url],
                             capture_output=True, text=True, timeout=60)
    require(unknown.returncode == 4 and "default/nobody" in unknown.stderr, f"a drill of nobody: {unknown}")
    alone = subprocess.run([BUILD / "cli" / "holdfast", "drill", "--yes", "--endpoint", rig.ha.url],
                           capture_output=True, text=True, timeout=60)
    require(alone.returncode == 5 and "alone" in alone.stderr, f"a drill of one replica: {alone}")
    require(leader.leads(), "a drill that was refused took the leadership")


def once(rig, leader, other):
    start, others = leader.lines.mark(), other.lines.mark()
    began = time.time()
    done = drill(rig, "--yes", "-o", "json")
    require(done.returncode == 0, f"ended with {done.returncode}: {done.stdout} {done.stderr}")
    report = json.loads(done.stdout)
    rig.say(f"leadership after {report['granted_ms']} ms, dispatcher after {report['dispatcher_ms']} ms, a checkpoint of "
            f"the job after {report['jobs_ms']} ms")
    require(report["ok"] and report["jobs"] == 1, f"{report}")
    require(report["holder_before"] != report["holder_after"], f"the same JobManager came back: {report}")
    granted = other.lines.wait_for(rig.ha.granted, 60, "the standby's grant", others, other)[0]
    report["logged_ms"] = round((granted.time - began) * 1000)
    restored = other.lines.wait_for(flink.RESTORED, flink.JOB_TIMEOUT, "the restore", granted.index, other)
    before = [int(match[1]) for _, match in leader.lines.find(flink.COMPLETED)]
    require(int(restored[1][2]) >= max(before) - 1, f"restored {restored[1][2]}, completed was {max(before)}")
    leader.lines.wait_for(rig.ha.lost, 60, "the word that it does not lead any more", start, leader)
    leader.require_alive()
    wait_checkpoints(other, 2, granted.index)
    return report


def run(args, result):
    options = {"execution.checkpointing.interval": "500 ms"}
    with Rig("drill", args.flink, "holdfast", args.work, options, {}) as rig:
        cluster = rig.flink
        leader = cluster.start()
        job = cluster.submit(maven.job_jar(), "--name", "drill")
        cluster.wait_running(job)
        wait_checkpoints(leader, 2)
        refusals(rig, leader)
        other = next(jm for jm in cluster.living() if jm is not leader)
        result["reports"] = [once(rig, leader, other)]
        rig.ha.wait_standby(cluster.cluster_id)
        result["reports"].append(once(rig, other, leader))
        differences = [abs(report["logged_ms"] - report["granted_ms"]) for report in result["reports"]]
        require(min(differences) <= SLACK_MS, f"the log says that it was granted {differences} ms earlier or later")
        cluster.cancel(job)
        errors = cluster.task_errors()
        require(not errors, f"the job lost state: {errors[:1]}")


def main():
    args = arguments()
    result = {"flink_version": maven.flink_version(args.flink)}
    with reported(args.json, result):
        run(args, result)
    print("drill: everything held")
    return 0


if __name__ == "__main__":
    main_guard("drill", main)
