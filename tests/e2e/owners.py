#!/usr/bin/env python3
"""Two Deployments, one after the other, under the same cluster-id: a real Flink.

  1. The first one runs a job. Its JobManager is killed and started again: same owner, the job goes on.
  2. All its processes are killed, as after `kubectl delete deployment`. Its HA data stay.
  3. Another one comes under the same cluster-id, with another owner. The job is not revived; the log says so. It runs a
     job of its own.
  4. `holdfast clusters adopt` gives the first job back, and it goes on from its newest checkpoint beside the other one.
  5. The JobManager is killed once more: both jobs go on.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink, maven  # noqa: E402
from lib.failure import require, wait_until  # noqa: E402
from lib.flink import Flink  # noqa: E402
from lib.gc import holdfast  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402

OPTIONS = {"execution.checkpointing.interval": "500 ms"}
RECOVERED = r"Successfully recovered (\d+) persisted (?:job graphs|execution plans)"


def arguments():
    return Parser("owners", __doc__).parse_args()


def quarantines(rig):
    return rig.ha.get(rig.ha.cluster_path(rig.flink.cluster_id) + "/quarantines")["quarantines"]


def wait_checkpoints(rig, job, count=2):
    """So many more than there are now."""
    def newest():
        listed = (rig.ha.checkpoints(rig.flink.cluster_id, job) or {}).get("checkpoints", [])
        return listed[-1]["id"] if listed else 0
    begin = newest()
    wait_until(lambda: newest() >= begin + count, flink.JOB_TIMEOUT, f"{count} more checkpoints of job {job}")


def restart(rig, cluster, jobs):
    """The JobManager is killed; its successor, of the same owner, restores each job."""
    cluster.wait_leader().kill()
    successor = cluster.start_jobmanager()
    for job in jobs:
        successor.lines.wait_for(rf"Restoring job {job} from Checkpoint (\d+) @", flink.JOB_TIMEOUT, f"the restore of job {job}", 0,
                                 successor)
        cluster.wait_running(job)
    require(not successor.lines.find("are of another owner"), "the same owner was taken for another one")
    rig.say(f"killed and started again: {len(jobs)} job(s) restored")
    return successor


def first_deployment(rig):
    cluster = rig.flink
    cluster.start_jobmanager()
    cluster.start_taskmanager()
    cluster.wait_leader()
    job = cluster.submit(maven.job_jar(), "--name", "orders")
    cluster.wait_running(job)
    wait_checkpoints(rig, job)
    rig.say(f"the first owner's job {job} runs")
    restart(rig, cluster, [job])
    wait_checkpoints(rig, job)
    for process in [*cluster.jobmanagers, *cluster.taskmanagers]:
        if process.alive():
            process.kill()
    rig.say("all its processes are gone")
    return job


def second_deployment(rig, job, result):
    cluster = Flink(rig.work / "second", rig.version, rig.ha,
                    {**OPTIONS, "holdfast.owner": "second", "high-availability.cluster-id": rig.flink.cluster_id},
                    slots=2, place=rig.place)
    cluster.cluster_id = rig.flink.cluster_id
    rig.on_exit.append(cluster.stop)
    manager = cluster.start_jobmanager()
    cluster.start_taskmanager()
    said = manager.lines.wait_for(r"Holdfast: 1 job graph\(s\) and the checkpoints of 1 job\(s\) under this cluster-id are of another "
                                  r"owner, first \(first\)", flink.START_TIMEOUT, "the word that a job is not revived", 0, manager)
    rig.say(said[0].text.strip()[:160])
    recovered = manager.lines.wait_for(RECOVERED, flink.START_TIMEOUT, "the dispatcher to have recovered what there is", 0, manager)
    require(recovered[1][1] == "0", f"{recovered[1][1]} jobs were revived")
    cluster.wait_slots(2)
    own = cluster.submit(maven.job_jar(), "--name", "orders of the second")
    cluster.wait_running(own)
    require(cluster.job_state(job) is None, f"the job of the first owner is {cluster.job_state(job)}")
    there = quarantines(rig)
    require([(q["owner"], q["next_owner"], q["graphs"]) for q in there] == [("first", "second", [job])], f"quarantined: {there}")
    result["set_aside"] = there[0]["jobs"][0]
    rig.say(f"the second owner's job {own} runs; job {job} is set aside with checkpoint {result['set_aside']['latest']}")
    return cluster, own


def adopt(rig, cluster, job, own, result):
    wait_checkpoints(rig, own)
    manager = cluster.wait_leader()
    since = manager.lines.mark()
    told = holdfast("clusters", "adopt", cluster.cluster_id, "--yes", "--recover-now", "--endpoint", rig.ha.url)
    require(job in told and "given back" in told, told)
    restored = manager.lines.wait_for(rf"Restoring job {job} from Checkpoint (\d+) @", flink.JOB_TIMEOUT, f"job {job} to be restored",
                                      since, manager)
    result["restored"] = int(restored[1][1])
    require(result["restored"] == result["set_aside"]["latest"],
            f"restored from {result['restored']}, set aside with {result['set_aside']['latest']}")
    for each in (job, own):
        cluster.wait_running(each)
    require(quarantines(rig) == [], "something is quarantined still")
    rig.say(f"given back: job {job} is restored from checkpoint {result['restored']}, beside {own}")


def run(args, result):
    with Rig("owners", args.flink, "holdfast", args.work, {**OPTIONS, "holdfast.owner": "first"}) as rig:
        job = first_deployment(rig)
        cluster, own = second_deployment(rig, job, result)
        adopt(rig, cluster, job, own, result)
        for each in (job, own):
            wait_checkpoints(rig, each)
        restart(rig, cluster, [job, own])
        errors = cluster.task_errors() + rig.flink.task_errors()
        require(not errors, f"a job lost state: {errors[:1]}")
        log = (rig.ha.work / "holdfastd.log").read_text("utf-8")
        require(log.count("event=owner.quarantined") == 1, "the daemon has not said it once")


def main():
    args = arguments()
    result = {"flink_version": maven.flink_version(args.flink)}
    with reported(args.json, result):
        run(args, result)
    print("owners: everything held")
    return 0


if __name__ == "__main__":
    main_guard("owners", main)
