#!/usr/bin/env python3
"""A real Flink whose job completes five checkpoints a second, looked at by two replicas of holdfastd.

The replica that leads is killed while the job goes on; the other takes over. Then the job is stopped with a savepoint, and started
again from where `holdfast checkpoints restore-advice` says. In the end the history has every checkpoint that the JobManager's log
has, each once, and what it does not have is counted as missed.
"""
import contextlib
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink, http, maven, zookeeper  # noqa: E402
from lib.failure import require, wait_until  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.replicas import Replicas  # noqa: E402
from lib.rig import Parser, main_guard  # noqa: E402

BOUND_S = 120
HISTORY = 100  # of web.checkpoints.history: twenty seconds, so that a slow machine misses nothing either


class NoHa:
    """One JobManager by itself."""

    kind = "none"
    granted = r"was granted leadership"
    lost = r"was revoked the leadership"

    def class_path(self):
        return []

    def flink_options(self):
        # Nobody tells the TaskManager which port the JobManager took.
        return {"high-availability.type": "NONE", "jobmanager.rpc.port": str(free_port())}


class World:
    def __init__(self, work, version, history):
        self.work = Path(work)
        self.flink = flink.Flink(self.work, version, NoHa(), {
            "execution.checkpointing.interval": "200 ms", "web.checkpoints.history": str(history),
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION"})
        self.ensemble = self.replicas = None
        self.url = None

    def start(self):
        jobmanager = self.flink.start_jobmanager()
        self.flink.start_taskmanager()
        self.ensemble = zookeeper.Ensemble(self.work, 1).start()
        self.url = jobmanager.wait_rest()
        self.replicas = Replicas(self.work, 2, f"file://{self.work}/store", {
            "election": "zookeeper", "election.zookeeper.quorum": self.ensemble.quorum,
            "election.zookeeper.session-timeout": "6s", "observe.clusters": f"prod/orders={self.url}"}).start()
        self.flink.wait_leader()
        self.flink.wait_slots(1)

    def stop(self):
        if self.replicas:
            for replica in self.replicas.all:
                replica.process.stop()
        self.flink.stop()
        if self.ensemble:
            self.ensemble.stop()

    def ask(self, path):
        """What the leading replica says, or {}."""
        leader = self.replicas.leader()
        code, answer = http.call("GET", f"http://{leader.address}{path}", timeout=10) if leader else (0, {})
        return answer if code == 200 else {}

    def seen(self, job):
        return self.ask(f"/v1/clusters/prod/orders/jobs/{job}/observed?limit=5000")

    def wait_seen(self, job, holds, what):
        last = {}

        def look():
            last.update(self.seen(job))
            return last if last and holds(last) else None
        return wait_until(look, BOUND_S, lambda: f"{what}; last seen: {json.dumps({**last, 'checkpoints': None})[:900]}", poll=0.1)

    def completed(self, job):
        """The numbers of all checkpoints and savepoints that the JobManager's log says were completed."""
        return {int(match[1]) for _, match, _ in self.flink.history(flink.COMPLETED, job) if match[2] == job}


def stop_with_savepoint(world, job):
    folder = (world.work / "savepoints").as_uri()
    code, answer = world.flink.rest("POST", f"/jobs/{job}/stop", {"targetDirectory": folder, "drain": False}, timeout=60)
    require(code == 202, f"the stop was not accepted: {code} {answer}")
    seen = world.wait_seen(job, lambda seen: seen["final"], "the job's last word")
    require(seen["state"] == "FINISHED", f"the job is {seen['state']}")
    last = seen["checkpoints"][-1]
    require(last["savepoint"] and last["type"] == "SYNC_SAVEPOINT", f"the newest is no savepoint of a stop: {last}")
    local = Path(urllib.parse.urlparse(last["path"]).path)
    require((local / "_metadata").is_file(), f"there is no savepoint at {last['path']}")
    return seen, last


def advice(world, job):
    run = subprocess.run([BUILD / "cli" / "holdfast", "--endpoint", ",".join(f"http://{e}" for e in world.replicas.endpoints), "-n", "prod",
                          "-o", "json", "checkpoints", "restore-advice", "orders", job],
                         capture_output=True, text=True, timeout=BOUND_S, check=False)
    require(run.returncode == 0, f"restore-advice: {run.returncode} {run.stderr}{run.stdout}")
    return shlex.split(json.loads(run.stdout)["jobs"][0]["command"])


def check(world, job, seen):
    """Every one once, or counted."""
    ids = [entry["id"] for entry in seen["checkpoints"]]
    logged = world.completed(job)
    told = len(ids) + seen["missed"] + seen["before"]
    require(len(set(ids)) == len(ids), f"some are there twice: {sorted(ids)}")
    require(set(ids) <= logged, f"recorded, and never completed: {sorted(set(ids) - logged)}")
    require(told == len(logged), f"{len(logged)} were completed; {len(ids)} are recorded, {seen['missed']} missed and "
                                 f"{seen['before']} before: {len(logged) - told} are not told of")
    return len(logged)


def run(arguments, world):
    begin = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - begin:6.1f} s] {text}", flush=True)

    world.start()
    job = world.flink.submit(maven.job_jar())
    world.flink.wait_running(job)
    say("the job runs")
    first = world.wait_seen(job, lambda seen: seen["recorded"] >= 25, "25 checkpoints")
    leader = world.replicas.leader()
    killed = time.monotonic()
    leader.process.kill()
    world.replicas.wait_leader(besides=leader)
    newest = first["recorded"]
    second = world.wait_seen(job, lambda seen: seen["recorded"] >= newest + 25, "25 more, by the other replica")
    say(f"killed the leading replica; {second['recorded']} recorded {time.monotonic() - killed:.1f} s later")
    seen, savepoint = stop_with_savepoint(world, job)
    count = check(world, job, seen)
    say(f"stopped with {savepoint['path']}: {count} completed, {seen['recorded']} recorded, {seen['missed']} missed, {seen['before']} before")
    if arguments.none_missed:
        require(seen["missed"] == 0 and seen["before"] == 0, f"{seen['missed']} were missed")
    words = advice(world, job)
    require(words[words.index("-s") + 1] == savepoint["path"], f"the advice names something else: {words}")
    again = world.flink.submit(maven.job_jar(), restore=urllib.parse.urlparse(savepoint["path"]).path,
                               claim=words[words.index("--claimMode") + 1])
    world.flink.wait_running(again)
    world.wait_seen(again, lambda seen: seen["recorded"] >= 3, "checkpoints of the job that was restored")
    require(not world.flink.task_errors(), f"the state is not the same: {world.flink.task_errors()[:1]}")
    text = http.call("GET", f"http://{world.replicas.leader().address}/metrics", timeout=10, raw=True)[1].decode()
    require(f'holdfast_observed_job_checkpoint_id{{flink_namespace="prod",flink_cluster="orders",flink_job="{again}"}}' in text, "no metrics of the job")
    say("restored from there")
    return {"flink": world.flink.version, "completed": count, "recorded": seen["recorded"], "missed": seen["missed"],
            "before": seen["before"], "seconds": round(time.monotonic() - begin, 1)}


def main():
    parser = Parser("observed", __doc__)
    parser.add_argument("--history", type=int, default=HISTORY, help="web.checkpoints.history")
    parser.add_argument("--none-missed", action="store_true", help="fail when one was")
    arguments = parser.parse_args()
    # A polite end from outside goes through the clean-up, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        work = arguments.work or stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-observed-"))
        world = World(work, maven.flink_version(arguments.flink), arguments.history)
        stack.callback(world.stop)
        result = run(arguments, world)
    print(json.dumps(result))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result) + "\n", "utf-8")


if __name__ == "__main__":
    main_guard("observed", main)
