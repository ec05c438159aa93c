#!/usr/bin/env python3
"""A job with state moves from ZooKeeper HA to Holdfast, to Kubernetes HA, and back to Holdfast, without losing a record.

Each time its cluster's processes are killed, `holdfast export` and `holdfast import` carry the HA state over, and another cluster is
started there. The job checks itself: each key must see its numbers without a gap and without a repeat (StatefulJob). On the
first way its checkpoints move to another folder as well, with all paths rewritten, and the old one is removed.
"""
import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink, kube, maven  # noqa: E402
from lib.failover import completed, wait_checkpoints  # noqa: E402
from lib.failure import require  # noqa: E402
from lib.flink import Flink  # noqa: E402
from lib.gc import holdfast  # noqa: E402
from lib.kubernetes_ha import KubernetesHa  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402
from lib.zookeeper import ZooKeeper  # noqa: E402

CONFLICT = 5
LEASE_S = 4
CHECKPOINTS = 3
OPTIONS = {"execution.checkpointing.interval": "300 ms", "execution.checkpointing.num-retained": "2",
           "state.backend.type": "rocksdb", "execution.checkpointing.incremental": "true",
           "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION"}


def refused(*arguments):
    """The words with which the CLI refuses."""
    done = subprocess.run([BUILD / "cli" / "holdfast", *map(str, arguments)], capture_output=True, text=True, check=False)
    require(done.returncode == CONFLICT, f"holdfast {arguments[0]} ends with {done.returncode} in place of a refusal: "
                                         f"{done.stdout}{done.stderr}")
    return done.stderr.strip()


class Station:
    """One cluster on one kind of HA services, and how the CLI names it."""

    def __init__(self, journey, name, ha, cluster, store, checkpoints):
        self.journey, self.name, self.ha = journey, name, ha
        self.cluster, self.store = cluster, store
        self.checkpoints = checkpoints
        options = {**OPTIONS, "high-availability.cluster-id": cluster, "execution.checkpointing.dir": checkpoints}
        if ha.kind == "kubernetes":
            options["kubernetes.cluster-id"] = cluster
        work = journey.rig.work / "clusters" / name
        work.mkdir(parents=True)
        self.flink = Flink(work, journey.rig.version, ha, {**ha.flink_options(), **options}, place=journey.rig.place)
        journey.rig.on_exit.append(self.flink.stop)
        self.newest = 0

    def start(self):
        self.flink.start_jobmanager()
        self.flink.start_taskmanager()
        return self.flink.wait_leader()

    def where(self, option):
        return [f"--{option}", *self.store, "--cluster-id", self.cluster, "--state-dir", self.journey.rig.work / "state",
                "--timeout", 60]

    def goes_on(self, leader, job):
        """Checkpoints are made; the newest that was logged."""
        wait_checkpoints(leader, CHECKPOINTS)
        require(self.flink.task_errors() == [], f"the job lost state: {self.flink.task_errors()}")
        self.newest = max(completed(leader))
        self.journey.rig.say(f"{self.name}: job {job} runs; checkpoint {self.newest}")

    def die(self):
        """The newest checkpoint that was logged as completed."""
        for process in [*self.flink.jobmanagers, *self.flink.taskmanagers]:
            process.kill()
        self.newest = max(completed(self.flink.jobmanagers[-1]))

    def end_in_order(self):
        """As a Deployment that is scaled to zero: the lease is given back, all else stays."""
        for process in [*self.flink.jobmanagers, *self.flink.taskmanagers]:
            process.stop()
        self.newest = max(completed(self.flink.jobmanagers[-1]))


class Journey:
    def __init__(self, rig, result):
        self.rig, self.result = rig, result
        self.job = None
        self.count = 0
        self.result["ways"] = []

    def archive(self):
        self.count += 1
        return self.rig.work / f"archive-{self.count}"

    def begin(self, station):
        leader = station.start()
        station.flink.wait_slots(1)
        self.job = station.flink.submit(maven.job_jar(), "--rate", 200, "--state-bytes", 20000)
        station.flink.wait_running(self.job)
        wait_checkpoints(leader, CHECKPOINTS)
        said = refused("export", self.archive(), *station.where("from"))
        self.rig.say(f"{station.name}: while it runs, it is not exported: {said}")
        station.goes_on(leader, self.job)

    def export(self, station, *more):
        archive = self.archive()
        holdfast("export", archive, *station.where("from"), "--wait", "--skew", "1s", *more)
        manifest = json.loads((archive / "manifest.json").read_text("utf-8"))
        jobs = {job["id"]: job for job in manifest["jobs"]}
        require(list(jobs) == [self.job], f"the archive has {list(jobs)}")
        newest = max(entry["id"] for entry in jobs[self.job]["checkpoints"])
        require(newest >= station.newest, f"the archive ends with checkpoint {newest}, {station.newest} was completed")
        require(jobs[self.job]["counter"] > newest, f"the next checkpoint would be {jobs[self.job]['counter']}")
        self.rig.say(f"{station.name}: exported, newest checkpoint {newest}, {len(manifest['files'])} files")
        return archive, newest

    def travel(self, source, target, *more, export=()):
        """From one to the other; then it runs there."""
        archive, newest = self.export(source, *export)
        way = ["import", archive, *target.where("to"), "--yes", "-o", "json", *more]
        done = json.loads(holdfast(*way))
        require(done["changed"] > 0, f"the import changed nothing: {done}")
        again = json.loads(holdfast(*way))
        require(again["result"] == "imported", f"a second import: {again}")
        json.loads(holdfast(*way, "--undo"))
        done = json.loads(holdfast(*way))
        require(done["changed"] > 0, f"after an undo, the import changed nothing: {done}")
        return archive, newest

    def arrive(self, target, newest):
        leader = target.start()
        found = leader.lines.wait_for(flink.RESTORED, flink.JOB_TIMEOUT, f"job {self.job} to be restored", process=leader)
        restored = int(found[1][2])
        require(found[1][1] == self.job and restored == newest, f"restored {found[0].text}, the newest was {newest}")
        target.goes_on(leader, self.job)
        require(min(completed(leader)) > newest, f"a checkpoint id came twice: {completed(leader)} after {newest}")
        self.result["ways"].append({"to": target.name, "restored": restored, "then": target.newest})
        self.rig.say(f"{target.name}: went on from checkpoint {restored}, is at {target.newest}")


def tell(rig, result):
    journey = Journey(rig, result)
    place = rig.place
    zookeeper = ZooKeeper(rig.work).start()
    rig.on_exit.append(zookeeper.stop)
    kubernetes = KubernetesHa(rig.work, rig.version, place, LEASE_S).start()
    rig.on_exit.append(kubernetes.stop)
    access = kubernetes.server.kubeconfig("person", {"token": kubernetes.server.tokens["admin"]})
    daemon = ["holdfast", "--endpoint", rig.ha.url]
    old, new = place.uri("checkpoints"), place.uri("moved/checkpoints")

    first = Station(journey, "zookeeper", zookeeper, "orders", ["zookeeper", "--zookeeper", f"127.0.0.1:{zookeeper.port}"], old)
    second = Station(journey, "holdfast", rig.ha, "orders", daemon, new)
    third = Station(journey, "kubernetes", kubernetes, "orders",
                    ["kubernetes", "--kubeconfig", access, "-n", kube.NAMESPACE], new)
    fourth = Station(journey, "holdfast-again", rig.ha, "orders-again", daemon, new)

    journey.begin(first)
    first.die()
    _, newest = journey.travel(first, second, "--rewrite", f"{old}={new}", export=["--with-files"])
    shutil.rmtree(rig.work / "checkpoints")
    journey.arrive(second, newest)

    second.die()
    archive, newest = journey.travel(second, third, "--storage-dir", place.uri("ha"))
    journey.arrive(third, newest)
    said = refused("import", archive, *third.where("to"), "--yes")
    rig.say(f"an import into a cluster that runs is refused: {said}")

    third.end_in_order()
    archive, newest = journey.travel(third, fourth)
    journey.arrive(fourth, newest)
    fourth.die()
    said = refused("import", archive, *fourth.where("to"), "--yes")
    rig.say(f"an import over newer state is refused: {said}")


def main():
    args = Parser("migration", __doc__).parse_args()
    result = {"flink_version": maven.flink_version(args.flink)}
    with reported(args.json, result), Rig("migration", args.flink, "holdfast", args.work, OPTIONS) as rig:
        tell(rig, result)
    print(f"migration: Flink {result['flink_version']}: ZooKeeper HA, Holdfast, Kubernetes HA, Holdfast: one job, no record lost")
    return 0


if __name__ == "__main__":
    main_guard("migration", main)
