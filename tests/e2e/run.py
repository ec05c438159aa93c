#!/usr/bin/env python3
"""The tour that ./run takes: a real Flink on Holdfast loses its leading JobManager and goes on.

Two JobManagers, one TaskManager, a stateful job with a checkpoint every second. The leading JobManager gets kill -9;
the standby must lead within a second, restore the newest acknowledged checkpoint and go on making new ones. With
--once the job is cancelled at the end and every file it leaves is accounted for.

With --replicas 3 Holdfast itself fails over, too: its leading replica is killed, ended in order, and put to sleep beyond its
lease. The JobManager goes on leading, and the job goes on, without a restart.
"""
import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import checkpoints, flink, maven, places  # noqa: E402
from lib.failover import Takeover, task_count, wait_checkpoints  # noqa: E402
from lib.failure import Failure, require, wait_until  # noqa: E402
from lib.holdfastd import History  # noqa: E402
from lib.installation import ELECTIONS, ReplicatedHoldfast  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402

RETAINED = 2
FAILOVER_LIMIT_MS = 1000
#: How long a replica that says nothing keeps its lease; one whose process is dead is replaced at once.
LEASE_MS = 4000


def arguments():
    parser = Parser("run", "Shows a JobManager failover of a real Flink on Holdfast.", "the figures")
    parser.add_argument("--once", action="store_true", help="exit by itself; 0 only if everything held")
    parser.add_argument("--ha", choices=("holdfast", "zookeeper"), default="holdfast",
                        help="zookeeper: the same with Flink's own HA, to compare")
    parser.add_argument("--replicas", type=int, default=1, help="of holdfastd; more than 1 elect their leader; default 1")
    parser.add_argument("--election", choices=sorted(ELECTIONS), help="of the replicas; default zookeeper")
    parser.add_argument("--store", choices=places.PLACES, default="file",
                        help="where holdfastd and Flink keep their files: folders, an S3 server or an HDFS; default file")
    parser.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.replicas < 1 or args.replicas > 9:
        parser.error("--replicas is a number from 1 to 9")
    if args.election and args.replicas == 1:
        parser.error("--election needs --replicas 2 or more")
    if args.replicas > 1 and args.ha != "holdfast":
        parser.error("--replicas are Holdfast's; they do not go with --ha " + args.ha)
    if args.json and not args.once:
        parser.error("--json goes with --once")
    if args.json and args.json != "-" and not os.path.isdir(os.path.dirname(os.path.abspath(args.json))):
        parser.error(f"the folder of {args.json} does not exist")
    return args


def start_cluster(rig):
    rig.say("starting two JobManagers and a TaskManager")
    leader = rig.flink.start()
    rig.say(f"{leader.name} leads (pid {leader.pid}); web page {leader.url}")
    return leader


def fail_over(rig, job, leader, result):
    """Kills the leader and follows the takeover to the first new checkpoint."""
    tasks = task_count(rig, job)
    takeover = Takeover(rig, job, leader)
    rig.say(f"kill -9 of {leader.name}")
    takeover.kill()
    takeover.follow_grant()
    result["failover_ms"] = takeover.failover_ms
    result["checkpoint_before"] = takeover.acknowledged
    rig.say(f"{takeover.successor.name} leads after {takeover.failover_ms} ms; "
            f"newest acknowledged checkpoint is {takeover.acknowledged}")
    takeover.follow_restore()
    result["restored_checkpoint"] = takeover.restored
    takeover.follow_tasks(tasks)
    result["job_running_ms"] = takeover.running_ms
    rig.say(f"restored checkpoint {takeover.restored}; the job runs after {takeover.running_ms} ms")
    takeover.follow_checkpoint()
    result["first_checkpoint_after"] = takeover.first_checkpoint
    result["first_checkpoint_after_ms"] = takeover.first_checkpoint_ms
    rig.say(f"first new checkpoint is {takeover.first_checkpoint}, after {takeover.first_checkpoint_ms} ms")

    require(rig.ha.kind != "holdfast" or takeover.failover_ms <= FAILOVER_LIMIT_MS,
            f"failover took {takeover.failover_ms} ms, more than {FAILOVER_LIMIT_MS}")
    require(takeover.right_checkpoint(),
            f"restored checkpoint {takeover.restored} instead of {takeover.acknowledged}, the newest acknowledged")
    require(not takeover.lost_write(), f"checkpoint {takeover.logged} was confirmed to the JobManager, and holdfastd "
                                       f"knows only {takeover.acknowledged}")
    require(takeover.first_checkpoint > takeover.acknowledged, "a checkpoint id was used again")


def check_retention(rig, job, result):
    """The folder and the daemon agree on exactly as many checkpoints as configured."""
    folder = rig.flink.checkpoint_folder(job)
    seen = {}

    def agreed():
        seen["folder"] = checkpoints.complete_on_disk(folder)
        listed = rig.ha.listed(rig.flink.cluster_id, job)
        seen["listed"] = seen["folder"] if listed is None else [entry["id"] for entry in listed]
        return len(seen["listed"]) == RETAINED and seen["listed"] == seen["folder"]
    wait_until(agreed, 120, lambda: f"{RETAINED} retained checkpoints (listed {seen['listed']}, "
                                   f"on disk {seen['folder']})", poll=0.02)
    result["retained"] = len(seen["listed"])
    rig.say(f"retained: {', '.join(map(str, seen['listed']))} (configured: {RETAINED})")


def replicas_fail_over(rig, result):
    """The leading replica is killed, ended in order, and put to sleep; Flink must not notice."""
    leader = rig.flink.wait_leader()
    start = leader.lines.mark()
    result["replica_failover_ms"] = {}
    for how, words in (("kill", "kill -9 of"), ("term", "SIGTERM for"), ("pause", "SIGSTOP, for longer than its lease, of")):
        replica = rig.ha.wait_leader()
        rig.say(f"{words} {replica.name}, the leading replica (pid {replica.process.child.pid})")
        at = time.monotonic()
        {"kill": replica.process.kill, "term": replica.process.child.terminate, "pause": replica.process.pause}[how]()
        other = rig.ha.wait_leader(besides=replica)
        result["replica_failover_ms"][how] = round((time.monotonic() - at) * 1000)
        rig.say(f"{other.name} leads after {result['replica_failover_ms'][how]} ms, epoch {other.status()['epoch']}")
        wait_checkpoints(leader, 2, leader.lines.mark())
        if how == "pause":
            replica.process.resume()
        else:
            replica.process.child.wait(120)
            replica.process.start()
        rig.ha.wait_ready()
        require(not replica.leads(), f"{replica.name} leads again")
        rig.say(f"the job made checkpoints under it; {replica.name} is back, as a standby of {other.name}")
    lost = leader.lines.find(rig.ha.lost, start)
    restarts = leader.lines.find(flink.RESTARTED, start)
    require(not lost, f"{leader.name} lost its leadership: {lost[:1]}")
    require(not restarts, f"the job was restarted: {restarts[:1]}")
    rig.say(f"{leader.name} led all the time, and the job was not restarted")


def finish(rig, job, watcher, history, result):
    """Cancels the job and accounts for every file it leaves."""
    rig.say("cancelling the job")
    rig.flink.cancel(job)
    checkpoints.settle(rig.flink.checkpoint_folder(job))
    watcher.stop()
    acknowledged = {int(match[1]) for _, match, _ in rig.flink.history(flink.COMPLETED, job)}
    if history:
        history.stop()
        acknowledged |= set(history.entries)
    result.update(checkpoints.account(rig.flink.checkpoint_folder(job), watcher, acknowledged,
                                      maven.flink_lib(rig.version)))
    result["state_errors"] = rig.flink.task_errors()
    # Jars and, with ZooKeeper, serialized graphs and checkpoints; only shown, because they are Flink's to delete.
    result["ha_files_left"] = len(rig.place.tree("ha").listing()[0])
    rig.say(f"after the cancellation: {result['leaked_files']} leaked file(s), "
            f"{result['inflight_files']} of checkpoints in flight at the kill")
    require(result["leaked_files"] == 0, f"{result['leaked_files']} files leaked, the first: {result['leaked'][:1]}")
    require(not checkpoints.too_many_missed(result), f"checkpoints {result['metadata_missed']} were not captured: no account")
    require(not result["state_errors"], f"the job lost state: {result['state_errors'][:1]}")


def stay(rig, job):
    """Leaves all running until Ctrl-C, and tells when another JobManager takes over."""
    leader = rig.flink.wait_leader()
    rig.say("starting another standby")
    rig.flink.start_jobmanager().wait_rest()
    print(f"\n  Flink     {leader.url}/#/job/running/{job}")
    if rig.ha.kind == "holdfast":
        print(f"  Holdfast  {rig.ha.url}/v1/status\n")
        print(f"  {BUILD}/cli/holdfast --endpoint {rig.ha.endpoints} leaders")
        if "," in rig.ha.endpoints:
            print(f"  {BUILD}/cli/holdfast --endpoint {rig.ha.endpoints} drill")
    print(f"  kill -9 {leader.pid}      # the leading JobManager: see the other one take over")
    print(f"  logs: {rig.work}/logs\n\n  Ctrl-C stops everything.\n", flush=True)
    while True:
        rig.ha.require_alive()
        if not rig.flink.living():
            raise Failure("no JobManager is left")
        now = rig.flink.leader()
        if now is not None and now is not leader:
            leader = now
            rig.say(f"{leader.name} leads now (pid {leader.pid}); web page {leader.url}")
        time.sleep(0.2)


def tour(args, result):
    options = {"execution.checkpointing.interval": "1 s", "execution.checkpointing.num-retained": str(RETAINED)}
    ha, ha_options = args.ha, {}
    if args.replicas > 1:
        ha = ReplicatedHoldfast
        ha_options = {"replicas": args.replicas, "election": args.election or "zookeeper", "session_ms": LEASE_MS}
    with Rig("run", args.flink, ha, args.work, options, ha_options, store=args.store) as rig:
        result.update(flink_version=rig.version, store=args.store)
        leader = start_cluster(rig)
        job = rig.flink.submit(maven.job_jar(), "--name", "tour")
        watcher = checkpoints.MetadataWatcher(rig.flink.checkpoint_folder(job), rig.work / "metadata").start()
        history = None
        if rig.ha.kind == "holdfast":
            history = History(rig.ha, rig.flink.cluster_id, job).start()
        rig.flink.wait_running(job)
        wait_checkpoints(leader, RETAINED + 1)
        rig.say(f"job {job} runs and makes checkpoints")
        fail_over(rig, job, leader, result)
        check_retention(rig, job, result)
        if args.replicas > 1:
            replicas_fail_over(rig, result)
        if args.once:
            finish(rig, job, watcher, history, result)
        else:
            stay(rig, job)


def main():
    args = arguments()
    if args.check_arguments:
        return 0
    result = {"flink_version": maven.flink_version(args.flink), "ha": args.ha}
    with reported(args.json, result):
        tour(args, result)
    print("everything held")
    return 0


if __name__ == "__main__":
    main_guard("run", main)
