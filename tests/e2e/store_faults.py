#!/usr/bin/env python3
"""A real S3 or HDFS server, or the OSS of the tests, behind a proxy that does harm, holdfastd on it, and a load that knows what was acknowledged.

Requests and answers are lost, cut, late, doubled, slow and replaced by errors; the servers refuse everything for seconds, are
stopped, killed and started again; holdfastd is killed -9 in between. In the end, after one more kill -9, every acknowledged
write must be there exactly once.
"""
import argparse
import hashlib
import http.client
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import hdfs, oss, s3  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.fault_proxy import FaultProxy, HdfsDialect, OssDialect, Plan, S3Dialect, rewrite_ports  # noqa: E402
from lib.load import Connection, Job, Manager, Refused  # noqa: E402
from lib.replicas import Replicas  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402

# Short patience, so that much happens in little time; sessions live longer than any trouble.
PATIENCE = {"timeout.request": "3s", "store.snapshot-records": "300", "store.batch-bytes": "64KiB"}
TTL_MS = 120000
SETTLE_S = 180
LATE_S = 90


def arguments():
    parser = argparse.ArgumentParser(prog="store-faults", description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=tuple(WORLDS), default="s3")
    parser.add_argument("--seconds", type=float, default=60, help="of harm; default 60")
    parser.add_argument("--jobs", type=int, default=8, help="default 8")
    parser.add_argument("--share", type=float, help="of the requests that are harmed; default 0.1, 0.05 for hdfs (it needs three each)")
    parser.add_argument("--lie", action="store_true", help="the proxy throws records away and says that they were put: the next start must refuse")
    parser.add_argument("--seed", type=int, help="default: a new one, printed")
    parser.add_argument("--json", metavar="FILE", help="write the counts to FILE")
    parser.add_argument("--work", metavar="DIR", help="work in DIR and keep it; default: a temporary folder")
    args = parser.parse_args()
    if args.share is None:
        args.share = 0.05 if args.store == "hdfs" else 0.1
    return args


class S3World:
    def __init__(self, work, seed, share, lies):
        self.server = s3.S3(work).start()
        self.plan = Plan(S3Dialect, seed, share, lies)
        self.proxies = [FaultProxy(self.server.port, self.plan)]
        self.store = f"s3://{self.server.bucket}/holdfast"
        self.settings = {**self.server.settings(), "s3.endpoint": self.proxies[0].url, "s3.timeout": "1s", "s3.retry-time": "3s"}
        self.processes = [self.server.process]

    def restart(self, process, pause):
        process.kill()
        time.sleep(pause)
        self.server.restart()

    def stop(self):
        self.server.stop()


class OssWorld:
    """No server of OSS can be had: the strict one of the tests, whose objects outlive its stops."""

    def __init__(self, _work, seed, share, lies):
        self.server = oss.OssServer()
        self.server.wants_condition = True
        self.server.start()
        self.plan = Plan(OssDialect, seed, share, lies)
        self.proxies = [FaultProxy(self.server.port, self.plan)]
        self.store = f"oss://{self.server.bucket}/holdfast"
        self.settings = {**self.server.settings(), "oss.endpoint": self.proxies[0].url, "oss.timeout": "1s", "oss.retry-time": "3s"}
        self.processes = [self.server]

    def restart(self, server, pause):
        server.stop()
        time.sleep(pause)
        server.start()

    def stop(self):
        self.server.stop()
        odd = [text for text in self.server.violations if not text.startswith("not a request")]
        if odd:  # the proxy may cut a request, not change it
            raise Failure(f"the server was sent what it should not: {odd[:5]}")


class HdfsWorld:
    def __init__(self, work, seed, share, lies):
        self.server = hdfs.Hdfs(work)
        try:
            self.server.start()
            self.server.make_folder("/holdfast")
        except BaseException:
            self.server.stop()
            raise
        self.plan = Plan(HdfsDialect, seed, share, lies)
        ports = [int(re.search(r"dfs\.datanode\.http\.address=127\.0\.0\.1:(\d+)", " ".join(node.argv))[1])
                 for node in self.server.datanodes]
        behind = [FaultProxy(port, self.plan) for port in ports]
        rewrite = rewrite_ports({port: proxy.port for port, proxy in zip(ports, behind)})
        self.proxies = [FaultProxy(self.server.namenodes[0].http, self.plan, rewrite), *behind]
        self.store = "hdfs://test/holdfast"
        self.settings = {"hdfs.namenodes": self.proxies[0].url, "hdfs.user": os.environ.get("USER", "root"),
                         "hdfs.timeout": "2s", "hdfs.retry-time": "3s"}
        self.processes = [*self.server.namenodes, *self.server.datanodes]

    def restart(self, process, pause):
        process.kill()
        time.sleep(pause)
        process.start()
        self.server.wait_ready()

    def stop(self):
        self.server.stop()


WORLDS = {"s3": S3World, "oss": OssWorld, "hdfs": HdfsWorld}


class RawConnection(Connection):
    """Sends and receives payloads as they are."""

    def once(self, method, path, body=None, headers=None):
        try:
            connection = self.open()
            sent = {**(headers or {}), **({"Content-Type": "application/octet-stream"} if body is not None else {})}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status == 200 and method == "GET":
                return 200, {"data": data}
            return answer.status, json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return 0, {"status": "UNAVAILABLE", "message": repr(error)}


class Worker:
    """A thread of the load. What it finds wrong is in problems."""

    def __init__(self, manager):
        self.manager = manager
        self.problems = []
        self.acknowledged = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._guarded, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def _guarded(self):
        try:
            self.run()
        except Refused as error:
            self.problems.append(str(error))

    def stop(self):
        self.ended.set()
        self.thread.join(SETTLE_S)
        if self.thread.is_alive():
            self.problems.append(f"no answer within {SETTLE_S} s")


class Keeper(Worker):
    """Commits checkpoints that all stay, under ids that the counter handed out; one job after the other."""

    each = 500  # of a job, which may have 1000

    def __init__(self, manager, pause):
        super().__init__(manager)
        self.pause = pause
        self.ids = {}  # of commits that were acknowledged, for each job
        self.next = {}  # the newest id that was handed out

    def _path(self, job):
        return f"{self.manager.base}/jobs/{job}"

    @staticmethod
    def _pointer(job, number):
        return f"file:/checkpoints/{job}/chk-{number}"

    def _take(self, job, answer):
        if answer["from"] <= self.next.get(job, 0):
            self.problems.append(f"{self._path(job)}: id {answer['from']} was handed out after {self.next[job]}")
        self.next[job] = answer["from"]
        return answer["from"]

    def run(self):
        connection = Connection(self.manager.endpoints)
        while not self.ended.is_set():
            self._fill(connection, os.urandom(16).hex(), self.manager.headers())

    def _fill(self, connection, job, head):
        self.ids[job] = []
        number = self._take(job, connection.call("POST", self._path(job) + "/counter/reserve", {"count": 1}, head))
        while not self.ended.is_set() and len(self.ids[job]) < self.each:
            body = {"id": number, "pointer": self._pointer(job, number), "started_ms": number, "completed_ms": number + 1,
                    "size": 1, "inline": None, "num_retained": 0, "discarded": [], "reserve": 1,
                    "properties": {"type": "CHECKPOINT", "sharing": "FORWARD_BACKWARD", "format": None, "post_action": None,
                                   "forced": False, "unclaimed": False, "discard_on": ["subsumed"]}}
            answer = connection.call("POST", self._path(job) + "/checkpoints", body, head)
            self.ids[job].append(number)
            self.acknowledged += 1
            number = self._take(job, answer)
            time.sleep(self.pause)

    def check(self, connection):
        for job, ids in self.ids.items():
            answer = connection.call("GET", self._path(job) + "/checkpoints")
            there = [(entry["id"], entry["pointer"]) for entry in answer["checkpoints"]]
            lost = {(number, self._pointer(job, number)) for number in ids} - set(there)
            if lost:
                self.problems.append(f"{self._path(job)}: {len(lost)} acknowledged checkpoints are lost, first {min(lost)}")
            elif len(there) != len(ids):
                self.problems.append(f"{self._path(job)}: {len(there)} checkpoints are there, {len(ids)} were acknowledged")
            if answer["next_id"] <= self.next[job]:
                self.problems.append(f"{self._path(job)}: the counter is at {answer['next_id']}, {self.next[job]} was handed out")


class Watcher(Worker):
    """Reads the list of a job that retains one checkpoint: nothing that is gone comes back, nothing acknowledged is missing."""

    def __init__(self, manager, job, pause):
        super().__init__(manager)
        self.job = job
        self.pause = pause

    def run(self):
        connection = Connection(self.manager.endpoints)
        while not self.ended.is_set():
            before = self.job.acked
            answer = connection.call("GET", self.job.path(), ended=self.ended)
            if answer is None:
                break
            listed = [entry["id"] for entry in answer["checkpoints"]]
            if len(listed) > 1 or (before > 0 and (not listed or not before <= listed[0] <= self.job.acked + 1)):
                self.problems.append(f"{self.job.path()}: lists {listed}, acknowledged {before} to {self.job.acked}")
            self.acknowledged += 1
            time.sleep(self.pause)


class Payloads(Worker):
    """Puts, replaces, reads and removes job graphs, some larger than one part of an upload."""

    sizes = (10, 1000, 40000, 300000)
    large = 6 << 20

    def __init__(self, manager, dice, pause):
        super().__init__(manager)
        self.dice = random.Random(dice.random())
        self.ids = [os.urandom(16).hex() for _ in range(5)]
        self.there = {}
        self.pause = pause

    def path(self, number):
        return f"{self.manager.base}/graphs/{number}"

    def run(self):
        connection = RawConnection(self.manager.endpoints, timeout=15)
        round_ = 0
        while not self.ended.is_set():
            round_ += 1
            number = self.dice.choice(self.ids)
            if self.dice.random() < 0.2:
                connection.call("DELETE", self.path(number), None, self.manager.headers())
                self.there.pop(number, None)
            else:
                content = self.dice.randbytes(self.large if round_ % 40 == 20 else self.dice.choice(self.sizes))
                connection.call("PUT", self.path(number), content, {**self.manager.headers(), "Holdfast-If": "any"})
                self.there[number] = hashlib.sha256(content).digest()
            self.acknowledged += 1
            number = self.dice.choice(self.ids)
            if number in self.there:
                self.check_one(connection, number)
            time.sleep(self.pause)

    def check_one(self, connection, number):
        answer = connection.call("GET", self.path(number))
        if hashlib.sha256(answer["data"]).digest() != self.there[number]:
            self.problems.append(f"{self.path(number)}: {len(answer['data'])} bytes of other content")

    def check(self, connection):
        listed = {entry["id"] for entry in connection.call("GET", f"{self.manager.base}/graphs")["graphs"]}
        if listed != set(self.there):
            self.problems.append(f"{len(listed)} graphs are listed, {len(self.there)} are there")
        raw = RawConnection(self.manager.endpoints)
        for number in self.there:
            self.check_one(raw, number)


class Attack:
    """What is done to the processes and connections; the proxies harm single requests all the while."""

    def __init__(self, world, replicas, dice):
        self.world = world
        self.replicas = replicas
        self.daemon = replicas.all[0]
        self.dice = dice
        self.counts = {"storms": 0, "connections_cut": 0, "server_restarts": 0, "server_pauses": 0, "daemon_kills": 0}
        self.failed_starts = 0
        self.acts = [self.storm, self.storm, self.cut, self.restart_server, self.pause_server, self.kill_daemon, self.kill_daemon]
        self.left = []

    def once(self):
        if not self.left:  # every act once before any twice
            self.left = list(self.acts)
            self.dice.shuffle(self.left)
        self.left.pop()()
        self.require_daemon()

    def require_daemon(self):
        """A daemon that ends while it starts, because its storage does not answer, is started again, as a supervisor does."""
        if not self.daemon.process.alive():
            self.failed_starts += 1
            self.daemon.process.start()

    def storm(self):
        self.counts["storms"] += 1
        self.world.plan.storm(self.dice.uniform(0.3, 3))

    def cut(self):
        self.counts["connections_cut"] += sum(proxy.cut_all() for proxy in self.world.proxies)

    def restart_server(self):
        self.counts["server_restarts"] += 1
        self.world.restart(self.dice.choice(self.world.processes), self.dice.uniform(0, 1))

    def pause_server(self):
        process = self.dice.choice(self.world.processes)
        self.counts["server_pauses"] += 1
        process.pause()
        time.sleep(self.dice.uniform(0.1, 3))
        process.resume()

    def kill_daemon(self):
        self.require_daemon()
        self.counts["daemon_kills"] += 1
        self.daemon.process.kill()
        self.daemon.process.start()


def start_load(replicas, args, dice):
    managers = [Manager(replicas.endpoints, f"c{number}", TTL_MS).start() for number in range(2)]
    jobs = [Job(managers[number % 2], pause=0.03).start() for number in range(args.jobs // 2)]
    workers = [Keeper(managers[number % 2], pause=0.03).start() for number in range(args.jobs - len(jobs))]
    workers += [Watcher(manager, job, pause=0.05).start() for manager, job in zip(managers, jobs)]
    workers += [Payloads(manager, dice, pause=0.1).start() for manager in managers]
    return managers, jobs, workers


def problems_of(managers, jobs, workers):
    return [text for group, name in ((managers, "lost"), (jobs, "problems"), (workers, "problems"))
            for one in group for text in getattr(one, name)]


# More than one, so that something is behind the first; and no snapshot holds what was in it.
LIES = 5
LIED = {"store.snapshot-records": "1000000"}


def require_refusal(replicas):
    """The daemon does not lead without records that have others behind them. It ends, and names the first that is missing."""
    daemon = replicas.all[0]
    wait_until(lambda: not daemon.process.alive(), SETTLE_S, "the daemon to refuse to start")
    told = replicas.logged(r'event=store\.damaged .*log/[0-9a-f]{16}/[0-9a-f]{16}: missing, and log/')
    if not told:
        raise Failure(f"records were thrown away; exit code {daemon.process.child.returncode}, and no word of them in {daemon.log}")
    print(f"found: {told[-1]}")


def run(args, work, result):
    dice = random.Random(result["seed"])
    world = WORLDS[args.store](work, result["seed"], args.share, args.lie)
    replicas, managers, jobs, workers = None, [], [], []
    try:
        settings = {**world.settings, **PATIENCE, **(LIED if args.lie else {})}
        replicas = Replicas(work, 1, world.store, settings).start()
        managers, jobs, workers = start_load(replicas, args, dice)
        attack = Attack(world, replicas, dice)
        world.plan.on = True
        if args.lie:
            wait_until(lambda: world.plan.counts["lie"] >= LIES, SETTLE_S, f"{LIES} records to be thrown away")

        def missing():
            """Kinds of harm that have not happened yet; asked for in longer runs only."""
            return [kind for kind in world.plan.kinds() if not world.plan.counts[kind]] if args.seconds >= 30 and not args.lie else []

        until = time.monotonic() + args.seconds
        late = until + LATE_S  # on a slow machine it takes longer until each kind was there
        while (time.monotonic() < until or (missing() and time.monotonic() < late)) and not problems_of(managers, jobs, workers):
            time.sleep(dice.uniform(0.5, 4))
            if not args.lie:
                attack.once()
        world.plan.calm()
        calm_at = time.monotonic()

        def ready():
            attack.require_daemon()
            return attack.daemon.leads()
        wait_until(ready, SETTLE_S, "the daemon to lead after the harm")
        result["leads_after_ms"] = round((time.monotonic() - calm_at) * 1000)
        for one in [*workers, *jobs]:
            one.stop()
        attack.daemon.process.kill()
        attack.daemon.process.start()
        if args.lie:
            require_refusal(replicas)
            return
        replicas.wait_leader()
        connection = Connection(replicas.endpoints)
        for one in [*jobs, *workers]:
            if hasattr(one, "check") and not problems_of([], [], [one]):
                try:
                    one.check(connection)
                except Refused as error:
                    one.problems.append(str(error))
        problems = problems_of(managers, jobs, workers)
        result.update(attack.counts, requests=world.plan.requests, harm=dict(sorted(world.plan.counts.items())),
                      failed_starts=attack.failed_starts,
                      commits=sum(job.acked for job in jobs) + sum(w.acknowledged for w in workers if isinstance(w, Keeper)),
                      payloads=sum(w.acknowledged for w in workers if isinstance(w, Payloads)),
                      lists_watched=sum(w.acknowledged for w in workers if isinstance(w, Watcher)),
                      longest_gap_ms=round(max(job.gap for job in jobs) * 1000),
                      violations=len(problems), problems=problems[:10])
        if missing():
            result["problems"].append(f"never happened: {', '.join(missing())}")
    finally:
        world.plan.calm()
        for manager in managers:
            manager.stop()
        for one in [*jobs, *workers]:
            one.ended.set()
        if replicas:
            replicas.stop()
        for proxy in world.proxies:
            proxy.stop()
        world.stop()


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = {"store": args.store, "seconds": args.seconds,
              "seed": args.seed if args.seed is not None else random.SystemRandom().randrange(2 ** 31)}
    print(f"seed {result['seed']}", flush=True)
    os.environ["NO_PROXY"] = "127.0.0.1"
    with tempfile.TemporaryDirectory(prefix="holdfast-store-faults-") as temporary:
        work = Path(args.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        run(args, work, result)
    if args.lie:
        return
    print(json.dumps(result, indent=1))
    if args.json:
        write_json(args.json, result)
    if result["problems"]:
        raise Failure("; ".join(result["problems"][:3]))


if __name__ == "__main__":
    main_guard("store-faults", main)
