#!/usr/bin/env python3
"""Damage to one job's data must not take the other jobs of a session cluster down.

Two jobs in one cluster. The stored graph of the first is damaged on disk; an old retained checkpoint of the second
loses its _metadata. Then the leading JobManager is killed. Flink's own HA would end the next JobManager over either;
here the second job comes back from its newest checkpoint, and what cannot be read is set aside with a reason.
"""
import argparse
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink, maven  # noqa: E402
from lib.failover import wait_checkpoints  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.rig import Rig, main_guard, write_json  # noqa: E402

RETAINED = 3


def arguments():
    parser = argparse.ArgumentParser(prog="quarantine", description=__doc__.splitlines()[0])
    parser.add_argument("--flink", metavar="VERSION", default="1.20", help="Flink line or full version; default 1.20")
    parser.add_argument("--json", metavar="FILE", help="write what was seen to FILE")
    parser.add_argument("--work", metavar="DIR", help="work in DIR and keep it; default: a temporary folder")
    args = parser.parse_args()
    try:
        maven.flink_version(args.flink)
    except Failure as failure:
        parser.error(str(failure))
    return args


def require(holds, otherwise):
    if not holds:
        raise Failure(otherwise)


def raw_graph(rig, job):
    """The stored graph's bytes, as the daemon serves them."""
    url = rig.ha.url + rig.ha.cluster_path(rig.flink.cluster_id) + f"/graphs/{job}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def damage_graph(rig, job):
    """Flips bytes in the middle of the graph wherever the store folder holds it."""
    graph = raw_graph(rig, job)
    damaged = 0
    for path in rig.ha.store.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        at = content.find(graph) if len(graph) > 0 else -1
        if at >= 0:
            middle = at + len(graph) // 2
            path.chmod(0o600)
            with open(path, "r+b") as file:
                file.seek(middle)
                file.write(bytes(byte ^ 0xFF for byte in content[middle:middle + 16]))
            damaged += 1
    require(damaged == 1, f"the graph of job {job} was expected in one file of {rig.ha.store}, found in {damaged}")


def complete(rig, job, count):
    """Waits until the daemon lists `count` checkpoints of a job."""
    def look():
        answer = rig.ha.checkpoints(rig.flink.cluster_id, job)
        return answer and len(answer["checkpoints"]) >= count and answer["checkpoints"]
    return wait_until(look, flink.JOB_TIMEOUT, f"{count} listed checkpoints of job {job}")


def graph_info(rig, job):
    return rig.ha.get(rig.ha.cluster_path(rig.flink.cluster_id) + f"/graphs/{job}/info") or {}


def damage_and_kill(rig, broken, sound, leader, result):
    complete(rig, broken, RETAINED)
    complete(rig, sound, RETAINED)
    damage_graph(rig, broken)
    rig.say(f"the stored graph of job {broken} is damaged")
    wait_checkpoints(leader, 1, leader.lines.mark())  # so that the oldest will not be subsumed in the next instant
    oldest = complete(rig, sound, RETAINED)[0]
    result["removed_metadata_of"] = oldest["id"]
    (rig.flink.checkpoint_folder(sound) / f"chk-{oldest['id']}" / "_metadata").unlink()
    leader.kill()
    rig.say(f"the _metadata of checkpoint {oldest['id']} of job {sound} is gone, {leader.name} is killed")


def check(rig, broken, sound, leader, result):
    successor = rig.flink.wait_leader()
    granted = successor.grants()[-1][0]
    listed = rig.ha.listed(rig.flink.cluster_id, sound)
    newest = max(entry["id"] for entry in listed if entry["started_ms"] <= leader.killed_at * 1000)
    restored = successor.lines.wait_for(rf"Restoring job {sound} from Checkpoint (\d+) @", flink.JOB_TIMEOUT,
                                        "the sound job's restore", granted.index, successor)
    result["restored_checkpoint"] = int(restored[1][1])
    rig.flink.wait_running(sound)
    successor.lines.wait_for(rf"Completed checkpoint \d+ for job {sound}", flink.JOB_TIMEOUT,
                             "a new checkpoint of the sound job", granted.index, successor)
    rig.say(f"job {sound} runs, restored from checkpoint {result['restored_checkpoint']}")
    require(result["restored_checkpoint"] == newest, f"restored {result['restored_checkpoint']} instead of {newest}")

    reason = wait_until(lambda: graph_info(rig, broken).get("quarantined"), 30, f"job {broken} to be quarantined")
    result["graph_reason"] = reason
    said = successor.lines.first(rf"(?i)quarantin.*{broken}|{broken}.*quarantin", granted.index)
    require(said, f"{successor.log} does not say that job {broken} is quarantined")
    rig.say(f"job {broken} is quarantined: {reason}")
    said = successor.lines.first(rf"(?i)checkpoint {result['removed_metadata_of']}\b.*quarantin|"
                                 rf"quarantin.*checkpoint {result['removed_metadata_of']}\b", granted.index)
    require(said, f"{successor.log} does not say that checkpoint {result['removed_metadata_of']} is quarantined")
    rig.say(said[0].text[:200])
    successor.require_alive()
    jobs = {entry["jid"]: entry["state"] for entry in (rig.flink.get("/jobs/overview") or {}).get("jobs", [])}
    require(jobs.get(sound) == "RUNNING", f"the sound job is {jobs.get(sound)}")
    require(jobs.get(broken) != "RUNNING", "the damaged job runs, from what?")


def run(args, result):
    options = {"execution.checkpointing.interval": "2 s", "execution.checkpointing.num-retained": str(RETAINED)}
    with Rig("quarantine", args.flink, "holdfast", args.work, options, slots=2) as rig:
        cluster = rig.flink
        for _ in range(2):
            cluster.start_jobmanager()
        cluster.start_taskmanager()
        leader = cluster.wait_leader()
        for jm in cluster.living():
            jm.wait_rest()
        rig.ha.wait_standby(cluster.cluster_id)
        cluster.wait_slots(2)
        broken = cluster.submit(maven.job_jar(), "--name", "broken")
        sound = cluster.submit(maven.job_jar(), "--name", "sound")
        cluster.wait_running(broken)
        cluster.wait_running(sound)
        rig.say("two jobs run")
        damage_and_kill(rig, broken, sound, leader, result)
        check(rig, broken, sound, leader, result)
        errors = cluster.task_errors()
        require(not errors, f"a job lost state: {errors[:1]}")


def main():
    args = arguments()
    result = {"flink_version": maven.flink_version(args.flink), "ok": False}
    try:
        run(args, result)
        result["ok"] = True
    except Failure as failure:
        result["error"] = str(failure)
        raise
    finally:
        if args.json:
            write_json(args.json, result)
    print("quarantine: everything held")
    return 0


if __name__ == "__main__":
    main_guard("quarantine", main)
