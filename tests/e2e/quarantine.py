#!/usr/bin/env python3
"""Damage to one job's data must not take the other jobs of a session cluster down.

Before Flink starts, its cluster already holds results that no Flink can read. Two jobs run; on Flink 2.3 and later two
applications as well. The stored graph (or plan) of the first job and the stored form of the first application are
damaged on disk; an old retained checkpoint of the second job loses its _metadata. Then the leading JobManager is
killed. Flink's own HA would end the next JobManager over any of these; here the sound ones come back from their newest
checkpoints, and what cannot be read is set aside with a reason.
"""
import http.client
import json
import sys
import urllib.request
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink, maven  # noqa: E402
from lib.failover import newest_before  # noqa: E402
from lib.failure import require, wait_until  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402

RETAINED = 3


def arguments():
    return Parser("quarantine", __doc__).parse_args()


class Session:
    """A leadership of the test's own, taken before any JobManager is there."""

    def __init__(self, rig):
        self.base = f"/v1/clusters/default/{rig.flink.cluster_id}"
        self.sid = uuid.uuid4().hex
        self.port = rig.ha.port
        self._call("POST", "/sessions", {"session": self.sid, "holder": "test", "ttl_ms": 60000})
        self.stream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.stream.request("GET", f"{self.base}/sessions/{self.sid}/events?contend=true")
        answer = self.stream.getresponse()
        event = {}
        while event.get("event") != "granted":
            event = json.loads(answer.readline())
        self.fence = event["fence"]

    def _call(self, method, path, body, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, self.base + path, json.dumps(body), {"Content-Type": "application/json", **headers})
        with connection.getresponse() as answer:
            text = answer.read().decode()
            require(answer.status == 200, f"{method} {path}: {answer.status} {text}")
        connection.close()

    def write(self, method, path, body):
        self._call(method, path, body, **{"Holdfast-Session": self.sid, "Holdfast-Fence": str(self.fence)})

    def close(self):
        self._call("DELETE", f"/sessions/{self.sid}", {})
        self.stream.close()


def store_unreadable_results(rig):
    """Unfinished results in a form that no Flink writes: {kind: id}."""
    session = Session(rig)
    ids = {kind: uuid.uuid4().hex for kind in ("results", "application-results")}
    for kind, name in ids.items():
        session.write("PUT", f"/{kind}/{name}", {"result": {"written by": "nobody"}})
    session.close()
    return ids


def damage(rig, kind, name):
    """Flips bytes in the middle of a stored graph or application, wherever the store folder holds it."""
    url = rig.ha.url + rig.ha.cluster_path(rig.flink.cluster_id) + f"/{kind}/{name}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        stored = answer.read()
    damaged = 0
    for path in rig.ha.store.rglob("*"):
        try:
            content = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:  # old records go at any time
            continue
        at = content.find(stored) if stored else -1
        if at >= 0:
            middle = at + len(stored) // 2
            path.chmod(0o600)
            with open(path, "r+b") as file:
                file.seek(middle)
                file.write(bytes(byte ^ 0xFF for byte in content[middle:middle + 16]))
            damaged += 1
    require(damaged == 1, f"{kind}/{name} was expected in one file of {rig.ha.store}, found in {damaged}")
    rig.say(f"the stored form of {kind}/{name} is damaged")


def complete(rig, job, count):
    """Waits until the daemon lists `count` checkpoints of a job."""
    def look():
        answer = rig.ha.checkpoints(rig.flink.cluster_id, job)
        return answer and len(answer["checkpoints"]) >= count and answer["checkpoints"]
    return wait_until(look, flink.JOB_TIMEOUT, f"{count} listed checkpoints of job {job}")


def at_rest(rig, job):
    """The daemon's list of a job's checkpoints when it has not changed for half a second."""
    seen = []

    def look():
        seen.append(rig.ha.listed(rig.flink.cluster_id, job))
        return len(seen) > 1 and seen[-1] == seen[-2]
    wait_until(look, 60, f"the list of job {job} to rest", poll=0.5)
    return seen[-1]


def quarantined(rig, kind, name):
    """The reason that the daemon tells people."""
    return (rig.ha.get(rig.ha.cluster_path(rig.flink.cluster_id) + f"/{kind}/{name}/info") or {}).get("quarantined")


def damage_and_kill(rig, cast, leader, result):
    for job in cast.values():
        complete(rig, job, RETAINED)
    damage(rig, "graphs", cast["broken"])
    if "broken application" in cast:
        damage(rig, "applications", cast["broken application"])
    sound = cast["sound"]
    leader.pause()  # nothing is subsumed any more, but what was on its way
    oldest = at_rest(rig, sound)[0]
    result["removed_metadata_of"] = oldest["id"]
    (rig.flink.checkpoint_folder(sound) / f"chk-{oldest['id']}" / "_metadata").unlink()
    leader.kill()
    rig.say(f"the _metadata of checkpoint {oldest['id']} of job {sound} is gone, {leader.name} is killed")


def said(jm, pattern, since):
    return jm.lines.wait_for(pattern, flink.JOB_TIMEOUT, f"a line {pattern!r} after the takeover", since, jm)[0].text


def check_sound(rig, job, newest, successor, since, result):
    """The job comes back from its newest checkpoint and goes on."""
    restored = successor.lines.wait_for(rf"Restoring job {job} from Checkpoint (\d+) @", flink.JOB_TIMEOUT,
                                        f"the restore of job {job}", since, successor)
    result["restored_checkpoint"][job] = int(restored[1][1])
    require(int(restored[1][1]) == newest, f"job {job}: restored {restored[1][1]} instead of {newest}")
    rig.flink.wait_running(job)
    successor.lines.wait_for(rf"Completed checkpoint \d+ for job {job}", flink.JOB_TIMEOUT,
                             f"a new checkpoint of job {job}", since, successor)
    rig.say(f"job {job} runs, restored from checkpoint {newest}")


def check_set_aside(rig, kind, name, successor, since, result):
    reason = wait_until(lambda: quarantined(rig, kind, name), flink.JOB_TIMEOUT, f"{kind}/{name} to be quarantined")
    result["reasons"][kind] = reason
    said(successor, rf"Holdfast: {kind} {name} cannot be recovered and is quarantined", since)
    rig.say(f"{kind}/{name} is quarantined: {reason[:200]}")


def check(rig, cast, leader, result):
    successor = rig.flink.wait_leader()
    since = successor.grants()[-1][0].index
    result["restored_checkpoint"], result["reasons"] = {}, {}
    sound = [job for who, job in cast.items() if who.startswith("sound")]
    # Asked at once: what the new leader completes replaces them soon.
    newest = {job: newest_before(rig, job, successor, successor.grants()[-1][0]) for job in sound}
    for job in sound:
        check_sound(rig, job, newest[job], successor, since, result)
    check_set_aside(rig, "graphs", cast["broken"], successor, since, result)
    if "broken application" in cast:
        check_set_aside(rig, "applications", cast["broken application"], successor, since, result)
    rig.say(said(successor, rf"(?i)checkpoint {result['removed_metadata_of']} of job {cast['sound']} .*quarantin",
                 since)[:200])
    successor.require_alive()
    overview = wait_until(lambda: rig.flink.get("/jobs/overview"), flink.JOB_TIMEOUT, "the overview of jobs")
    jobs = {entry["jid"]: entry["state"] for entry in overview["jobs"]}
    result["jobs"] = jobs
    for job in sound:
        require(jobs.get(job) == "RUNNING", f"the sound job {job} is {jobs.get(job)}")
    require(jobs.get(cast["broken"]) != "RUNNING", "the damaged job runs, from what?")
    if "broken application" in cast:
        rig.flink.wait_running(cast["broken application"])
        rig.say("the job of the damaged application runs without it: its plan is sound")


def check_results(rig, ids, leader, applications):
    """The first leader says what it cannot read, and takes jobs all the same."""
    for kind, name in ids.items():
        if kind == "application-results" and not applications:
            continue
        leader.lines.wait_for(rf"Holdfast: {kind} {name} cannot be read and is quarantined", flink.JOB_TIMEOUT,
                              f"{leader.name} to set {kind}/{name} aside", 0, leader)
        rig.say(f"{kind}/{name} is quarantined")


def run(args, result):
    options = {"execution.checkpointing.interval": "2 s", "execution.checkpointing.num-retained": str(RETAINED)}
    with Rig("quarantine", args.flink, "holdfast", args.work, options, slots=4) as rig:
        applications = tuple(map(int, rig.version.split("."))) >= (2, 3)
        cluster = rig.flink
        unreadable = store_unreadable_results(rig)
        leader = cluster.start(slots=4)
        check_results(rig, unreadable, leader, applications)
        cast = {who: cluster.submit(maven.job_jar(), "--name", who) for who in ("broken", "sound")}
        if applications:
            for who in ("broken application", "sound application"):
                application = cluster.submit_application(maven.job_jar(), "--name", who.replace(" ", "-"))
                cast[who] = cluster.application_job(application)
                require(cast[who] == application, f"the job of application {application} has the id {cast[who]}")
        for job in cast.values():
            cluster.wait_running(job)
        rig.say(f"{len(cast)} jobs run")
        damage_and_kill(rig, cast, leader, result)
        check(rig, cast, leader, result)
        for who, job in cast.items():
            if who != "broken":
                cluster.cancel(job)
        cluster.wait_leader().require_alive()
        rig.say("all jobs are cancelled as usual")
        errors = cluster.task_errors()
        require(not errors, f"a job lost state: {errors[:1]}")


def main():
    args = arguments()
    result = {"flink_version": maven.flink_version(args.flink)}
    with reported(args.json, result):
        run(args, result)
    print("quarantine: everything held")
    return 0


if __name__ == "__main__":
    main_guard("quarantine", main)
