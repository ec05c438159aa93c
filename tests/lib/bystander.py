"""A real Flink beside a load on the same replicas."""
from . import flink, maven
from .failover import wait_checkpoints


class Bystander:
    """A Flink cluster on the same replicas, whose job must not notice."""

    def __init__(self, rig):
        self.rig = rig
        cluster = rig.flink
        self.leader = cluster.start()
        self.job = cluster.submit(maven.job_jar(), "--name", "bystander")
        cluster.wait_running(self.job)
        wait_checkpoints(self.leader, 2)
        self.start = self.leader.lines.mark()

    def end(self, result):
        """Checkpoints still complete; then counts what must not have happened."""
        wait_checkpoints(self.leader, 2, self.leader.lines.mark())
        restarts = self.leader.lines.find(flink.RESTARTED, self.start)
        lost = self.leader.lines.find(self.rig.ha.lost, self.start)
        result["flink_version"] = self.rig.version
        result["flink_checkpoints"] = len(self.leader.lines.find(flink.COMPLETED, self.start))
        result["flink_restarts"] = len(restarts) + len(lost)
        result["problems"] += [line.text for line, _ in (restarts + lost)[:5]]
        self.rig.flink.cancel(self.job)
