"""A real Flink: JobManagers and TaskManagers as processes on this machine, and what their logs and REST say."""
import json
import os
import re
import shutil
import uuid
from pathlib import Path

from . import http, maven
from .failure import Failure, wait_until
from .logs import LogFile
from .paths import FIXTURE
from .places import Folder
from .process import Process

#: Starting a JVM on a loaded machine takes long; these bounds only say when to give up.
START_TIMEOUT = 180
JOB_TIMEOUT = 120

TRIGGERED = r"Triggering checkpoint (\d+) \(type=CheckpointType"
COMPLETED = r"Completed checkpoint (\d+) for job (\w+)"
RESTORED = r"Restoring job (\w+) from Checkpoint (\d+) @"
NOTHING_TO_RESTORE = r"No checkpoint found to restore|No master state to restore and no checkpoint"
TASK_RUNNING = r"switched from INITIALIZING to RUNNING"
RESTARTED = r"Job .* switched from state \w+ to (RESTARTING|FAILING|FAILED)"
JOB_STATE = r"Job .*\((\w{32})\) switched from state (\w+) to (\w+)"

_OPENS = ["java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time",
          "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"]
_JAVA_OPTIONS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
                 "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
                 "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
                 *[f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENS]]


def java():
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if not found:
        raise Failure("java is not installed: run scripts/install")
    return found


class JobManager(Process):
    """A JobManager process. Its ports are chosen by the kernel; the log tells which."""

    def __init__(self, name, argv, log, env, grant, lost):
        super().__init__(name, argv, log, env)
        self.lines = LogFile(log)
        self._grant = grant
        self._lost = lost

    def wait_rest(self):
        found = self.lines.wait_for(r"Rest endpoint listening at 127\.0\.0\.1:(\d+)", START_TIMEOUT,
                                    "the REST endpoint's port", process=self)
        return f"http://127.0.0.1:{found[1][1]}"

    @property
    def url(self):
        found = self.lines.first(r"Rest endpoint listening at 127\.0\.0\.1:(\d+)")
        return f"http://127.0.0.1:{found[1][1]}" if found else None

    def grants(self):
        return self.lines.find(self._grant)

    def losses(self):
        return self.lines.find(self._lost)

    def leads(self):
        """True while the newest word of its log about leadership is a grant."""
        grants, losses = self.grants(), self.losses()
        return self.alive() and bool(grants) and (not losses or losses[-1][0].index < grants[-1][0].index)


class Flink:
    """One Flink cluster. `ha` says how JobManagers agree (holdfastd.Holdfastd or zookeeper.ZooKeeper)."""

    def __init__(self, work, version, ha, options=None, managed="16m", slots=1, place=None):
        self.work = Path(work)
        self.version = version
        self.ha = ha
        self.cluster_id = f"test-{uuid.uuid4().hex[:12]}"
        self.place = place or Folder(work)
        self.logs = self.work / "logs"
        self.jobmanagers = []
        self.taskmanagers = []
        self._conf = self.work / "conf"
        self._class_path = ":".join([str(maven.flink_lib(version)) + "/*", *map(str, ha.class_path()),
                                     *map(str, self.place.class_path())])
        for folder in (self.logs, self._conf, self.work / "tmp", self.work / "plugins"):
            folder.mkdir(parents=True, exist_ok=True)
        self.place.install_plugins(self.work / "plugins", version)
        shutil.copy(FIXTURE / "log4j.properties", self._conf)
        self._write_config(managed, slots, options or {})

    def _write_config(self, managed, slots, options):
        config = {
            "jobmanager.rpc.address": "127.0.0.1", "jobmanager.rpc.port": "0", "jobmanager.bind-host": "127.0.0.1",
            "rest.address": "127.0.0.1", "rest.bind-address": "127.0.0.1", "rest.bind-port": "0",
            "taskmanager.bind-host": "127.0.0.1", "taskmanager.host": "127.0.0.1",
            # Started without Flink's shell scripts, a TaskManager wants each of these.
            "taskmanager.numberOfTaskSlots": str(slots), "taskmanager.cpu.cores": "1",
            "taskmanager.memory.framework.heap.size": "64m", "taskmanager.memory.framework.off-heap.size": "32m",
            "taskmanager.memory.task.heap.size": "192m", "taskmanager.memory.task.off-heap.size": "16m",
            "taskmanager.memory.network.min": "16m", "taskmanager.memory.network.max": "16m",
            "taskmanager.memory.managed.size": managed, "taskmanager.memory.jvm-metaspace.size": "160m",
            "taskmanager.memory.jvm-overhead.min": "64m", "taskmanager.memory.jvm-overhead.max": "64m",
            "io.tmp.dirs": str(self.work / "tmp"), "process.working-dir": str(self.work / "tmp"),
            "web.tmpdir": str(self.work / "tmp"),
            "execution.checkpointing.storage": "filesystem",
            "execution.checkpointing.dir": self.place.uri("checkpoints"),
            "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": "1000000",
            "restart-strategy.fixed-delay.delay": "200 ms",
            "high-availability.storageDir": self.place.uri("ha"),
            "high-availability.cluster-id": self.cluster_id,
            **self.place.flink_options(), **self.ha.flink_options(), **options,
        }
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in config.items())
        (self._conf / "config.yaml").write_text(text, "utf-8")
        self.options = config

    def _java(self, heap, metaspace, main, *arguments):
        metaspace_mib = metaspace + (0 if self.place.name == "file" else 96)  # the file system's classes
        return [java(), f"-Xmx{heap}", "-Xms64m", f"-XX:MaxMetaspaceSize={metaspace_mib}m", *_JAVA_OPTIONS,
                f"-Djava.io.tmpdir={self.work / 'tmp'}", f"-Dlog4j.configurationFile={self._conf}/log4j.properties",
                "-cp", self._class_path, main, "--configDir", self._conf, *arguments]

    def _environment(self):
        return {"FLINK_CONF_DIR": str(self._conf), "FLINK_LIB_DIR": str(self.work / "lib"),
                "FLINK_PLUGINS_DIR": str(self.work / "plugins"), **self.place.environment()}

    def start_jobmanager(self):
        name = f"jobmanager-{len(self.jobmanagers) + 1}"
        argv = self._java("256m", 192, "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint")
        process = JobManager(name, argv, self.logs / f"{name}.log", self._environment(), self.ha.granted, self.ha.lost)
        self.jobmanagers.append(process)
        return process.start()

    def start_taskmanager(self):
        name = f"taskmanager-{len(self.taskmanagers) + 1}"
        argv = self._java("320m", 160, "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                          f"-Dtaskmanager.resource-id={name}")
        process = Process(name, argv, self.logs / f"{name}.log", self._environment())
        self.taskmanagers.append(process)
        return process.start()

    def start(self, slots=1):
        """Two JobManagers, the other one in line behind the one that leads, and a TaskManager; the one that leads."""
        both = [self.start_jobmanager(), self.start_jobmanager()]
        self.start_taskmanager()
        leader = self.wait_leader()
        for jobmanager in both:
            jobmanager.wait_rest()
        self.ha.wait_standby(self.cluster_id)
        self.wait_slots(slots)
        return leader

    def stop(self):
        """All processes at once, then wait: an orderly end one after the other takes ten seconds for each."""
        everyone = [*self.taskmanagers, *self.jobmanagers]
        for process in everyone:
            if process.alive():
                process.resume()
                process.child.terminate()
        for process in everyone:
            process.stop()

    def living(self):
        return [jm for jm in self.jobmanagers if jm.alive()]

    def leader(self):
        leaders = [jm for jm in self.living() if jm.leads()]
        return leaders[0] if len(leaders) == 1 else None

    def wait_leader(self, timeout=START_TIMEOUT):
        def look():
            if not self.living():
                self.jobmanagers[-1].require_alive()
            return self.leader()
        return wait_until(look, timeout, "a leading JobManager", poll=0.02)

    def rest(self, method, path, body=None, timeout=10):
        """Asks any living JobManager: a standby answers with the leader's data."""
        answer = (0, "no JobManager has a REST endpoint yet")
        leader = self.leader()
        for jm in ([leader] if leader else []) + [jm for jm in self.living() if jm is not leader]:
            if jm.url:
                answer = http.call(method, jm.url + path, body, timeout=timeout)
                if answer[0]:
                    return answer
        return answer

    def get(self, path):
        """The answer's JSON, or None when it is not a 200 (a cluster in the middle of a failover)."""
        status, answer = self.rest("GET", path)
        return answer if status == 200 and isinstance(answer, dict) else None

    def wait_slots(self, slots):
        wait_until(lambda: (self.get("/overview") or {}).get("slots-available", 0) >= slots, START_TIMEOUT,
                   f"{slots} free task slot(s)", poll=0.2)

    def _upload(self, jar):
        """The URL of the uploaded jar."""
        url = self.wait_leader().wait_rest()
        wait_until(lambda: self.get("/overview"), START_TIMEOUT, "the REST API", poll=0.2)
        status, answer = http.upload(f"{url}/jars/upload", "jarfile", Path(jar).name, Path(jar).read_bytes())
        if status != 200:
            raise Failure(f"the jar was not taken ({status}): {_short(answer)}")
        return f"{url}/jars/{Path(answer['filename']).name}"

    def _run(self, jar, how, field, arguments, **more):
        body = {"entryClass": "io.holdfast.testjob.StatefulJob", "programArgsList": list(map(str, arguments)),
                "parallelism": 1, **more}
        status, answer = http.call("POST", f"{self._upload(jar)}/{how}", body, timeout=60)
        if status not in (200, 202):
            raise Failure(f"the job was not accepted ({status}): {_short(answer)}")
        return answer[field]

    def submit(self, jar, *arguments, restore=None, claim="NO_CLAIM"):
        """Uploads the jar and runs it once, from the checkpoint in the folder `restore` if one is given; the job's id."""
        more = {"savepointPath": Path(restore).as_uri(), "claimMode": claim} if restore else {}
        return self._run(jar, "run", "jobid", arguments, **more)

    def submit_application(self, jar, *arguments):
        """Flink 2.3 and later: the jar's program runs in the JobManager, also after each failover; the application's id."""
        return self._run(jar, "run-application", "applicationid", arguments)

    def application_job(self, application):
        """The one job of an application, once it is there."""
        def look():
            jobs = (self.get(f"/applications/{application}") or {}).get("jobs", [])
            return jobs and jobs[0]["jid"]
        return wait_until(look, JOB_TIMEOUT, f"a job of application {application}", poll=0.2)

    def job_state(self, job):
        return (self.get(f"/jobs/{job}") or {}).get("state")

    def wait_running(self, job, timeout=JOB_TIMEOUT):
        """All tasks of the job RUNNING."""
        def look():
            answer = self.get(f"/jobs/{job}") or {}
            if answer.get("state") in ("FAILED", "CANCELED", "FINISHED"):
                raise Failure(f"the job is {answer['state']}")
            tasks = sum(vertex["parallelism"] for vertex in answer.get("vertices", []))
            return tasks > 0 and answer.get("status-counts", {}).get("RUNNING", 0) and all(
                vertex["tasks"]["RUNNING"] == vertex["parallelism"] for vertex in answer["vertices"])
        wait_until(look, timeout, f"job {job} to run", poll=0.1)

    def cancel(self, job):
        def ask():
            return self.rest("PATCH", f"/jobs/{job}?mode=cancel", timeout=30)[0] in (200, 202)
        wait_until(ask, JOB_TIMEOUT, "the cancellation to be accepted", poll=0.5)
        wait_until(lambda: self.job_state(job) == "CANCELED", JOB_TIMEOUT, "the job to be CANCELED", poll=0.1)

    def checkpoint_folder(self, job):
        """Of a job: where it is on this machine, or a tree (trees.py)."""
        tree = self.place.tree(f"checkpoints/{job}")
        return tree.folder if self.place.name == "file" else tree

    def history(self, pattern, job=None):
        """All matches of a pattern in the logs of all JobManagers, by time. `job` must occur in the line."""
        found = [(line, match, jm) for jm in self.jobmanagers for line, match in jm.lines.find(pattern)
                 if job is None or job in line.text]
        return sorted(found, key=lambda item: item[0].time)

    def task_errors(self):
        """Words of the test job itself that state was lost or mixed up."""
        return [match[0] for tm in self.taskmanagers
                for _, match in LogFile(tm.log).find(r"^java.lang.IllegalStateException: state mismatch: .*")]


def _short(answer):
    text = answer if isinstance(answer, str) else "; ".join(answer.get("errors", [])) or str(answer)
    causes = re.findall(r"Caused by: (.*)", text)
    return (causes[-1] if causes else text).strip().splitlines()[-1][:300]
