#!/usr/bin/env python3
"""The election service goes away while replicas serve; and how much it is asked when it is there.

nodes     (ZooKeeper) every server of the ensemble is killed and started again, one after the other: nothing changes, the
          same replica leads in the same epoch.
outage    the whole service stands still (SIGSTOP) for --outage-s: the leader goes on, since nobody can replace it, and
          proves to itself by the store that nobody has. When the service is back, one hand-over may follow: its session may
          have ended meanwhile. No commit and no session of a JobManager is lost.
requests  what the service is asked per second with 1 cluster and with --many clusters: the same, and at most one a second,
          all replicas together, with their default settings.
"""
import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib.bystander import Bystander  # noqa: E402
from lib.failure import require, wait_until  # noqa: E402
from lib.installation import ELECTIONS, STORES, Installation, ReplicatedHoldfast  # noqa: E402
from lib.load import Connection, Job, Manager  # noqa: E402
from lib.rig import Rig, main_guard, reported  # noqa: E402

#: Requests a second that all replicas together may ask of the service.
RATE_MAX = 1.0
#: holdfastd's default. A client of ZooKeeper says that it lives each third of it.
SESSION_MS = 15000


def arguments():
    parser = argparse.ArgumentParser(prog="election_away", description=__doc__.splitlines()[0])
    parser.add_argument("--election", choices=sorted(ELECTIONS), default="zookeeper")
    parser.add_argument("--store", choices=sorted(STORES), default="file")
    parser.add_argument("--outage-s", type=int, default=60, help="default 60")
    parser.add_argument("--count-s", type=int, default=30, help="seconds to count requests for; default 30")
    parser.add_argument("--many", type=int, default=1000, help="clusters; default 1000")
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--flink", metavar="VERSION", help="a real Flink cluster beside the load, whose job must not restart")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


def service_of(installation):
    """The election's own; the store's is started before it."""
    return installation.services[-1]


def requests(service):
    """All that the service was asked so far, by the replicas and by this question."""
    if hasattr(service, "packets"):
        return service.packets()
    text = service.api().call("GET", "/metrics", timeout=30)
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if re.match(r'apiserver_request_total\{.*resource="leases"', line) and 'verb="WATCH"' not in line)


class Load:
    def __init__(self, replicas, count):
        self.replicas = replicas
        self.manager = Manager(replicas.endpoints, "load").start()
        self.jobs = [Job(self.manager).start() for _ in range(count)]

    def gap_ms(self):
        now = time.monotonic()
        return round(max(max(job.gap, now - job.last_at - job.pause) for job in self.jobs) * 1000)

    def reset(self):
        for job in self.jobs:
            job.gap_reset()

    def wait_commits(self, count=3):
        before = [job.answers for job in self.jobs]
        wait_until(lambda: all(job.answers >= old + count or job.problems for job, old in zip(self.jobs, before)), 120,
                   "every job to go on", poll=0.01)

    def problems(self):
        return [text for job in self.jobs for text in job.problems] + self.manager.lost

    def stop(self):
        for job in self.jobs:
            job.stop()
        connection = Connection(self.replicas.endpoints)
        for job in self.jobs:
            if not job.problems:
                job.check(connection)
        self.manager.stop()


def reign(replicas):
    def told():
        leader = replicas.wait_leader()
        epoch = leader.status().get("epoch")
        return (leader.name, epoch) if epoch else None
    return wait_until(told, 60, "the leader to tell its epoch")


def nodes(service, replicas, load, result):
    before = reign(replicas)
    load.reset()
    for member in service.members:
        member.process.kill()
        load.wait_commits()
        member.process.start()
        service.wait_ready()
        load.wait_commits()
    require(reign(replicas) == before, f"{before} led, and {reign(replicas)} does after each server was killed once")
    result["nodes"] = {"killed": len(service.members), "gap_ms": load.gap_ms()}
    print(f"{len(service.members)} servers killed, one by one: {before[0]} leads on in epoch {before[1]}, longest gap "
          f"{load.gap_ms()} ms", flush=True)


def outage(service, replicas, load, seconds, result):
    before = reign(replicas)
    load.reset()
    service.pause()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.5)
        require(not load.problems(), f"{load.problems()[:3]}")
        require(reign(replicas) == before, f"{before} led, and {reign(replicas)} does with no election service")
    load.wait_commits()
    during = load.gap_ms()
    load.reset()
    service.resume()
    replicas.wait_ready()
    time.sleep(10)  # a session that ended during the outage is found out about when the servers speak again
    load.wait_commits()
    after = reign(replicas)
    require(after[1] - before[1] <= 1, f"{before} led before the outage, {after} after it")
    result["outage"] = {"seconds": seconds, "gap_ms": during, "hand_overs_after": after[1] - before[1],
                        "gap_after_ms": load.gap_ms()}
    print(f"no election service for {seconds} s: {before[0]} leads on, longest gap {during} ms; when it was back: "
          f"{after[1] - before[1]} hand-over(s), longest gap {load.gap_ms()} ms", flush=True)


def rate(service, seconds):
    """Requests a second, less what asking costs."""
    begin = requests(service)
    asking = requests(service) - begin
    at = time.monotonic()
    begin = requests(service)
    time.sleep(seconds)
    return max(0.0, (requests(service) - begin - asking) / (time.monotonic() - at))


def count(service, replicas, args, result):
    one = rate(service, args.count_s)
    connection = Connection(replicas.endpoints)
    for number in range(args.many):
        connection.call("POST", f"/v1/clusters/many/c{number}/sessions",
                        {"session": os.urandom(16).hex(), "holder": "many", "ttl_ms": 300000})
    registered = wait_until(lambda: replicas.wait_leader().status().get("clusters"), 60, "the count of clusters")
    require(registered >= args.many, f"{registered} clusters are registered, not {args.many}")
    many = rate(service, args.count_s)
    result["requests"] = {"clusters": [1, registered], "per_second": [round(one, 2), round(many, 2)], "replicas": len(replicas.all)}
    print(f"requests a second: {one:.2f} with 1 cluster, {many:.2f} with {registered}, for {len(replicas.all)} replicas",
          flush=True)
    if many > RATE_MAX:  # a machine that was busy elsewhere costs reconnections, which are not the clusters'
        many = rate(service, args.count_s)
    for value in (one, many):
        require(value <= RATE_MAX, f"{value:.2f} requests a second")
    require(one > 0, "the count does not count")


def go(args, installation, result):
    replicas = installation.replicas
    service = service_of(installation)
    load = Load(replicas, args.jobs)
    try:
        if args.election == "zookeeper":
            nodes(service, replicas, load, result)
        outage(service, replicas, load, args.outage_s, result)
        count(service, replicas, args, result)
    finally:
        load.stop()
    require(not load.problems(), f"{load.problems()[:3]}")
    result["commits"] = sum(job.acked for job in load.jobs)


def run(args, work, result):
    options = {"election": args.election, "store": args.store, "session_ms": SESSION_MS}
    if args.flink is None:
        installation = Installation(work, **options)
        try:
            go(args, installation.start(), result)
        finally:
            installation.stop()
        return
    with Rig("election-away", args.flink, ReplicatedHoldfast, work / "flink", {"execution.checkpointing.interval": "500 ms"}, options,
             store=args.store) as rig:
        bystander = Bystander(rig)
        result["problems"] = []
        go(args, rig.ha.installation, result)
        bystander.end(result)
    print(f"{result['flink_checkpoints']} checkpoints of Flink {result['flink_version']}, {result['flink_restarts']} restarts", flush=True)
    require(result["flink_restarts"] == 0, f"{result['problems'][:3]}")


def main():
    args = arguments()
    result = {"election": args.election, "store": args.store}
    with tempfile.TemporaryDirectory(prefix="holdfast-election-") as work:
        with reported(args.json, result):
            run(args, Path(work), result)
    print(f"election_away: everything held, {result['commits']} commits")


if __name__ == "__main__":
    main_guard("election_away", main)
