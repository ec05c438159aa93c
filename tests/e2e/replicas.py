#!/usr/bin/env python3
"""Replicas of holdfastd under load, whose leader is killed again and again.

--how kill: kill -9 of the leading replica at random moments, started again once another one leads. --how term: an orderly
end. --how pause: SIGSTOP for longer than its lease, then SIGCONT: what it answers after that must not be an acknowledgement
of its own. --how drill: `holdfast drill`, which must find the same as this test does.

Through all of it: no acknowledged commit is lost or overtaken, no session ends, no leadership of a JobManager changes. The
gap is the longest time that each job waited for an answer around each kill. With --flink a real Flink cluster stands beside
the load: its job completes checkpoints all the time and is never restarted.
"""
import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib.bystander import Bystander  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.installation import ELECTIONS, STORES, Installation, ReplicatedHoldfast  # noqa: E402
from lib.load import Connection, Job, Manager  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import Rig, main_guard, write_json  # noqa: E402

BAD = ("lost_writes", "sessions_lost", "stale_acknowledgements", "flink_restarts")


def arguments():
    parser = argparse.ArgumentParser(prog="replicas", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="default 100")
    parser.add_argument("--how", choices=("kill", "term", "pause", "drill"), default="kill")
    parser.add_argument("--election", choices=sorted(ELECTIONS), default="zookeeper")
    parser.add_argument("--store", choices=sorted(STORES), default="file")
    parser.add_argument("--flink", metavar="VERSION", help="a real Flink cluster beside the load, whose job must not restart")
    parser.add_argument("--nodes", type=int, default=3, help="of the ensemble; default 3")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--clusters", type=int, default=8, help="that the jobs belong to; default 8")
    parser.add_argument("--no-proof-of-death", action="store_true", help="a leader is replaced when its lease ends")
    parser.add_argument("--session-ms", type=int, default=6000, help="of the election; default 6000")
    parser.add_argument("--seed", type=int, help="of the random moments; default: a new one, printed")
    parser.add_argument("--json", metavar="FILE", help="write the counts to FILE")
    parser.add_argument("--work", metavar="DIR", help="work in DIR and keep it; default: a temporary folder")
    args = parser.parse_args()
    if args.kills < 1 or args.replicas < 2 or args.clusters < 1 or args.jobs < args.clusters:
        parser.error("at least 1 kill, 2 replicas, 1 cluster and one job for each cluster")
    return args


def spread(values):
    return {"min": round(min(values)), "median": round(statistics.median(values)), "max": round(max(values))}


class Attack:
    def __init__(self, args, replicas, jobs, dice):
        self.args = args
        self.replicas = replicas
        self.jobs = jobs
        self.dice = dice
        self.takeovers = []
        self.gaps = []
        self.drills = []  # the gaps that `holdfast drill` measured, in ms
        self.stale = 0

    def _stale_answers(self, replica):
        """A replica that slept through its lease acknowledges nothing by itself."""
        connection = Connection([replica.address], timeout=2)
        job = self.jobs[0]
        body = {"ids": [10 ** 9]}  # strikes nothing off: valid for the leader, and changes nothing
        code, answer = connection.once("POST", f"{job.manager.base}/jobs/{job.id}/discards/done", body,
                                       job.manager.headers())
        if code == 200 and not replica.leads():
            self.stale += 1
        return code, answer

    def _drill(self, leader):
        done = subprocess.run([BUILD / "cli" / "holdfast", "drill", "--yes", "-o", "json", "--endpoint",
                               ",".join(f"http://{address}" for address in self.replicas.endpoints)],
                              capture_output=True, text=True, timeout=120)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            raise Failure(f"holdfast drill ended with {done.returncode}: {done.stderr.strip()}") from None
        if done.returncode or not report["ok"] or report["changed"] or report["before"]["leader"] != leader.address:
            raise Failure(f"holdfast drill ended with {done.returncode}: {report}")
        self.drills.append(report["gap_ms"])

    def once(self):
        leader = self.replicas.wait_leader()
        time.sleep(self.dice.uniform(0.1, 0.6))
        for job in self.jobs:
            job.gap_reset()
        answers = [job.answers for job in self.jobs]
        at = time.monotonic()
        if self.args.how == "kill":
            leader.process.kill()
        elif self.args.how == "term":
            leader.process.child.terminate()
        elif self.args.how == "drill":
            self._drill(leader)
        else:
            leader.process.pause()
        self.replicas.wait_leader(besides=leader)
        self.takeovers.append(self.drills[-1] if self.args.how == "drill" else (time.monotonic() - at) * 1000)
        # Two answers: the first may be to what was under way.
        wait_until(lambda: all(job.answers >= before + 2 or job.problems for job, before in zip(self.jobs, answers)), 120,
                   "every job to commit under the new leader", poll=0.005)
        self.gaps += [job.gap * 1000 for job in self.jobs]
        if self.args.how == "pause":
            leader.process.resume()
            self._stale_answers(leader)
        elif self.args.how != "drill":
            leader.process.child.wait(120)
            leader.process.start()
        self.replicas.wait_ready()


def attack_all(args, replicas, result):
    """Load, kills, and the account of both."""
    managers, jobs = [], []
    dice = random.Random(result["seed"])
    try:
        managers = [Manager(replicas.endpoints, f"c{number}").start() for number in range(args.clusters)]
        jobs = [Job(managers[number % len(managers)]).start() for number in range(args.jobs)]
        attack = Attack(args, replicas, jobs, dice)
        for number in range(args.kills):
            attack.once()
            result["kills"] = number + 1
            if any(job.problems for job in jobs) or any(manager.lost for manager in managers):
                break
            if (number + 1) % 10 == 0:
                print(f"  {number + 1} of {args.kills}: takeover {spread(attack.takeovers)}, gap {spread(attack.gaps)} ms",
                      flush=True)
        for job in jobs:
            job.stop()
        connection = Connection(replicas.endpoints)
        for job in jobs:
            if not job.problems:
                job.check(connection)
        if attack.drills:
            result["drill_gap_ms"] = spread(attack.drills)
        result.update(
            commits=sum(job.acked for job in jobs), takeover_ms=spread(attack.takeovers), gap_ms=spread(attack.gaps),
            lost_writes=sum(len(job.problems) for job in jobs), sessions_lost=sum(len(manager.lost) for manager in managers),
            stale_acknowledgements=attack.stale,
            problems=[text for job in jobs for text in job.problems][:10] +
                     [text for manager in managers for text in manager.lost][:10])
    finally:
        for manager in managers:
            manager.stop()
        for job in jobs:
            job.ended.set()


def run(args, work, result):
    options = {"election": args.election, "store": args.store, "replicas": args.replicas, "nodes": args.nodes,
               "session_ms": args.session_ms, "proof_of_death": not args.no_proof_of_death}
    if args.flink is None:
        installation = Installation(work, **options)
        try:
            attack_all(args, installation.start().replicas, result)
        finally:
            installation.stop()
        return
    flink_options = {"execution.checkpointing.interval": "500 ms"}
    with Rig("replicas", args.flink, ReplicatedHoldfast, work / "flink", flink_options, options,
             store=args.store) as rig:
        bystander = Bystander(rig)
        attack_all(args, rig.ha.replicas, result)
        bystander.end(result)


def main():
    args = arguments()
    result = {"how": args.how, "election": args.election, "store": args.store, "replicas": args.replicas, "jobs": args.jobs, "kills": 0,
              "seed": args.seed if args.seed is not None else random.SystemRandom().randrange(2 ** 31)}
    print(f"seed {result['seed']}", flush=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-replicas-") as temporary:
        work = Path(args.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        run(args, work, result)
    print(f"{result['kills']} x {args.how}: takeover {result['takeover_ms']}, gap per job {result['gap_ms']} ms, "
          f"{result['commits']} commits, " + ", ".join(f"{key} {result[key]}" for key in BAD if key in result))
    if args.json:
        write_json(args.json, result)
    bad = [key for key in BAD if result.get(key)]
    if bad or result["kills"] < args.kills:
        raise Failure(f"{', '.join(bad) or 'ended early'}: {result['problems'][:3]}")


if __name__ == "__main__":
    main_guard("replicas", main)
