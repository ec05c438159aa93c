#!/usr/bin/env python3
"""A leading JobManager that sleeps through its own deposition and then goes on as if nothing had happened.

SIGSTOP keeps its connections open, so only its time-to-live can end its session. When it is woken (SIGCONT) it still
believes to lead, with a checkpoint half done. It must get nothing written any more, say so in its log as Flink does
when leadership is lost, stay alive as a standby, and not disturb the job under its new leader.
"""
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import checkpoints, flink, maven  # noqa: E402
from lib.failover import completed, newest_before, wait_checkpoints  # noqa: E402
from lib.failure import require  # noqa: E402
from lib.holdfastd import History  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402

RETAINED = 2
TTL_MS = 4000
#: How much later than its time-to-live a silent leader may be replaced; the rest is a loaded machine's.
SLACK_MS = 8000
REVOKED = r"DefaultDispatcherRunner was revoked the leadership"


def arguments():
    return Parser("stale_leader", __doc__).parse_args()


def pause_in_checkpoint(leader):
    """Stops the leader between the trigger of a checkpoint and its completion, if the moment can be caught."""
    for _ in range(50):
        start = leader.lines.mark()
        leader.lines.wait_for(flink.TRIGGERED, flink.JOB_TIMEOUT, "a checkpoint", start, leader, poll=0.001)
        if not completed(leader, start):
            leader.pause()
            time.sleep(0.05)  # what it wrote before the signal arrives in the file
            if not completed(leader, start):
                return True
            leader.resume()
    leader.pause()
    return False


def sleep_through_deposition(rig, job, leader, result):
    """The leader is paused, the other one takes over and makes checkpoints."""
    result["checkpoint_pending_at_pause"] = pause_in_checkpoint(leader)
    paused_at = time.time()
    rig.say(f"{leader.name} is stopped by SIGSTOP" +
            (" in the middle of a checkpoint" if result["checkpoint_pending_at_pause"] else ""))
    other = next(jm for jm in rig.flink.living() if jm is not leader)
    granted = other.lines.wait_for(rig.ha.granted, 60, "the standby's grant", process=other)[0]
    result["takeover_ms"] = round((granted.time - paused_at) * 1000)
    rig.say(f"{other.name} leads after {result['takeover_ms']} ms (time-to-live {TTL_MS} ms)")
    result["checkpoint_before"] = newest_before(rig, job, other, granted)
    restored = other.lines.wait_for(flink.RESTORED, flink.JOB_TIMEOUT, "the restore", granted.index, other)
    result["restored_checkpoint"] = int(restored[1][2])
    wait_checkpoints(other, 2, granted.index)
    require(result["takeover_ms"] <= TTL_MS + SLACK_MS,
            f"a silent leader was replaced after {result['takeover_ms']} ms, time-to-live {TTL_MS} ms")
    require(result["restored_checkpoint"] == result["checkpoint_before"],
            f"restored {result['restored_checkpoint']} instead of {result['checkpoint_before']}")
    return other


def wake(rig, job, stale, leader, result):
    """The old leader goes on, and must find out before anything of it is accepted."""
    address = dispatcher(rig)
    before = rig.ha.listed(rig.flink.cluster_id, job)
    start, others = stale.lines.mark(), leader.lines.mark()
    rig.say(f"{stale.name} is woken by SIGCONT")
    woken_at = time.time()
    stale.resume()
    told = stale.lines.wait_for(f"{rig.ha.refused}|{rig.ha.lost}", 60, "the word that it does not lead any more",
                                start, stale)[0]
    revoked = stale.lines.wait_for(REVOKED, 60, "Flink's word that its leadership was revoked", start, stale)[0]
    result["noticed_ms"] = round((told.time - woken_at) * 1000)
    result["first_word"] = told.text
    rig.say(f"after {result['noticed_ms']} ms: {told.text}")
    rig.say(f"Flink says: {revoked.text[:120]}")

    wait_checkpoints(leader, 5, others)
    stale.require_alive()
    after = rig.ha.listed(rig.flink.cluster_id, job)
    written = completed(stale, start)
    require(not written, f"the stale leader completed checkpoint(s) {written}")
    foreign = {entry["id"] for entry in after} - set(completed(leader))
    require(not foreign - {entry["id"] for entry in before}, f"checkpoints {foreign} came from nowhere")
    active = [jm.name for jm in rig.flink.living() if jm.leads()]
    require(active == [leader.name], f"these JobManagers lead: {active}")
    require(dispatcher(rig) == address, "the published dispatcher address changed when the stale leader woke")
    result["refused_writes"] = len(stale.lines.find(rig.ha.refused, start))
    result["restarts_by_freed_slot"] = check_restarts(leader, others, stale, start)
    rig.say(f"one dispatcher is active, in {leader.name}; the job goes on; {result['refused_writes']} write(s) refused")


def check_restarts(leader, start, stale, stale_start):
    """How often the job was restarted since log line `start`: never, or once for the one reason that is Flink's own.

    While the stale leader slept, the TaskManager told it that its tasks failed and that it should let go of its slots. Awake,
    it obeys before it learns that it is deposed, and sends a "free slot" for a slot that belongs to the new leader by now,
    under the same id. TaskManagers do not check who asks. No HA service can stop that message; its own log tells that it
    was sent, and the restart must do no harm.
    """
    failures = leader.lines.find(flink.RESTARTED, start)
    freed = stale.lines.find(r"Releasing slot \[\w+\]|Disconnect TaskExecutor", stale_start)
    require(len(failures) <= (1 if freed else 0), f"the job was restarted {len(failures)} times")
    for line, match in leader.lines.find(flink.RESTORED, start):
        done = [int(number[1]) for before, number in leader.lines.find(flink.COMPLETED) if before.index < line.index]
        require(int(match[2]) == max(done), f"restored {match[2]} instead of {max(done)} after a restart")
    return len(failures)


def dispatcher(rig):
    """The dispatcher's address as TaskManagers and clients see it."""
    leader_map = rig.ha.get(rig.ha.cluster_path(rig.flink.cluster_id) + "/leader") or {}
    found = leader_map.get("components", {}).get("dispatcher", {}).get("address")
    require(found, f"no dispatcher is published: {leader_map}")
    return found


def finish(rig, job, watcher, history, result):
    rig.flink.cancel(job)
    folder = rig.flink.checkpoint_folder(job)
    checkpoints.settle(folder)
    watcher.stop()
    history.stop()
    acknowledged = {int(match[1]) for _, match, _ in rig.flink.history(flink.COMPLETED, job)} | set(history.entries)
    result.update(checkpoints.account(folder, watcher, acknowledged, maven.flink_lib(rig.version)))
    errors = rig.flink.task_errors()
    require(result["leaked_files"] == 0, f"{result['leaked_files']} files leaked, the first: {result['leaked'][:1]}")
    require(not errors, f"the job lost state: {errors[:1]}")
    require(not watcher.repeated and not history.changed, "a checkpoint id was used twice")


def run(args, result):
    options = {"execution.checkpointing.interval": "200 ms", "execution.checkpointing.num-retained": str(RETAINED)}
    ha_options = {"flink_options": {"holdfast.session.timeout": f"{TTL_MS} ms"}}
    with Rig("stale-leader", args.flink, "holdfast", args.work, options, ha_options) as rig:
        cluster = rig.flink
        leader = cluster.start()
        # State big enough that a checkpoint takes a moment, so that the leader can be stopped inside one.
        job = cluster.submit(maven.job_jar(), "--name", "stale", "--state-bytes", 5_000_000, "--rate", 200)
        watcher = checkpoints.MetadataWatcher(cluster.checkpoint_folder(job), rig.work / "metadata").start()
        history = History(rig.ha, cluster.cluster_id, job).start()
        cluster.wait_running(job)
        wait_checkpoints(leader, RETAINED + 1)
        successor = sleep_through_deposition(rig, job, leader, result)
        wake(rig, job, leader, successor, result)
        finish(rig, job, watcher, history, result)


def main():
    args = arguments()
    result = {"flink_version": maven.flink_version(args.flink), "ttl_ms": TTL_MS}
    with reported(args.json, result):
        run(args, result)
    print("stale_leader: everything held")
    return 0


if __name__ == "__main__":
    main_guard("stale_leader", main)
