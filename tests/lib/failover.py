"""Killing the leading JobManager, and what the takeover did: the measurement every JobManager test is about."""
from . import flink
from .failure import wait_until


class Takeover:
    """One kill -9 of the leading JobManager, followed step by step. Times are milliseconds from the signal, read
    from the timestamps of the successor's log, so the test's own polling is not in them."""

    def __init__(self, rig, job, leader):
        self.rig = rig
        self.job = job
        self.leader = leader
        self.tasks = 0
        self.successor = None
        self.granted = None
        self.failover_ms = self.running_ms = self.first_checkpoint_ms = None
        self.logged = self.acknowledged = self.restored = self.first_checkpoint = None

    @classmethod
    def of_leader(cls, rig, job, moment):
        """Kills the leader when a standby is there and moment(leader, number of its log line so far) has returned."""
        leader = rig.flink.wait_leader()
        start = leader.lines.mark()
        for jobmanager in rig.flink.living():
            jobmanager.wait_rest()
        rig.ha.wait_standby(rig.flink.cluster_id)
        moment(leader, start)
        takeover = cls(rig, job, leader)
        takeover.kill()
        return takeover

    def follow(self, tasks):
        """To the first checkpoint, with a new standby started meanwhile."""
        self.follow_grant()
        self.rig.flink.start_jobmanager()
        self.follow_restore()
        self.follow_tasks(tasks)
        self.follow_checkpoint()

    def kill(self):
        self.leader.kill()
        self.logged = max(completed(self.leader), default=0)

    def follow_grant(self):
        """The standby leads; and what had been promised before is known for certain: nothing the dead one sent can
        be accepted any more, and the successor has not come to its first checkpoint yet."""
        self.successor = self.rig.flink.wait_leader()
        self.granted = self.successor.grants()[-1][0]
        self.failover_ms = self._since_kill(self.granted)
        found = newest_before(self.rig, self.job, self.successor, self.granted)
        # ZooKeeper: only what the dead JobManager had logged is known.
        self.acknowledged = self.logged if found is None else found

    def follow_restore(self):
        found = self._wait(flink.RESTORED, f"job {self.job} to be restored")
        self.restored = int(found[1][2])

    def follow_tasks(self, tasks):
        def running():
            self.successor.require_alive()
            found = self.successor.lines.find(flink.TASK_RUNNING, self.granted.index)
            return found[tasks - 1] if len(found) >= tasks else None
        self.running_ms = self._since_kill(wait_until(running, flink.JOB_TIMEOUT, "all tasks to run again")[0])

    def follow_checkpoint(self):
        found = self._wait(flink.COMPLETED, "the first checkpoint after the takeover")
        self.first_checkpoint = int(found[1][1])
        self.first_checkpoint_ms = self._since_kill(found[0])

    def right_checkpoint(self):
        """Holdfast must have restored exactly the newest it had acknowledged. What ZooKeeper took in the instant of
        the kill is unknown here, so it may be newer there."""
        if self.rig.ha.kind == "holdfast":
            return self.restored == self.acknowledged
        return self.restored >= self.acknowledged

    def lost_write(self):
        """The dead JobManager had a checkpoint confirmed that is not there any more."""
        return self.rig.ha.kind == "holdfast" and self.logged > self.acknowledged

    def _wait(self, pattern, what):
        return self.successor.lines.wait_for(pattern, flink.JOB_TIMEOUT, what, self.granted.index, self.successor)

    def _since_kill(self, line):
        return round((line.time - self.leader.killed_at) * 1000)


def newest_before(rig, job, successor, granted):
    """The newest checkpoint that was acknowledged when a JobManager was granted the leadership, 0 for none; None when
    nobody can be asked. Asked late, when the successor's own have replaced it, it is what that says it found."""
    listed = rig.ha.listed(rig.flink.cluster_id, job)
    if listed is None:
        return None
    before = [entry["id"] for entry in listed if entry["started_ms"] <= granted.time * 1000]
    if before or not listed:
        return max(before, default=0)
    found = [match for _, match in successor.lines.find(rig.ha.recovered, granted.index) if match[2] == job]
    return int(found[0][3]) if found else 0


def task_count(rig, job):
    return sum(vertex["parallelism"] for vertex in rig.flink.get(f"/jobs/{job}")["vertices"])


def completed(jobmanager, start=0):
    """Ids of the checkpoints a JobManager logged as completed, from log line `start` on."""
    return [int(match[1]) for _, match in jobmanager.lines.find(flink.COMPLETED, start)]


def wait_checkpoints(jobmanager, count, start=0):
    """Waits until a JobManager has logged `count` completed checkpoints from log line `start` on."""
    def look():
        jobmanager.require_alive()
        found = completed(jobmanager, start)
        return found if len(found) >= count else None
    return wait_until(look, flink.JOB_TIMEOUT, f"{count} completed checkpoint(s) in {jobmanager.log}")
