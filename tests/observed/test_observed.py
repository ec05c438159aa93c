"""Clusters that are looked at through their REST interface: a real daemon beside JobManagers that are good and bad."""
import json
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rpc"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_jobmanager import FakeJobManager, Job  # noqa: E402
from harness import BOUND_S, CLI, Daemon, JobManager  # noqa: E402

PATIENCE_S = 2 * BOUND_S


class Observed(unittest.TestCase):
    def setUp(self):
        self.flink = FakeJobManager()
        self.addCleanup(self.flink.close)

    def daemon(self, store=None, clusters=None, **settings):
        clusters = clusters or f"prod/orders={self.flink.url}/"
        daemon = Daemon(store=store, **{"observe.clusters": clusters, "observe.interval": "200ms", "observe.min-interval": "20ms",
                                        **settings})
        self.addCleanup(daemon.remove)
        return daemon.start()

    def wait(self, look, what):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.02)
        self.fail(f"waited in vain for {what}")

    def cluster(self, daemon, name="orders", ns="prod"):
        code, answer, _ = daemon.call("GET", f"/v1/clusters/{ns}/{name}/observed")
        return answer if code == 200 else {}

    def job(self, daemon, job, name="orders"):
        code, answer, _ = daemon.call("GET", f"/v1/clusters/prod/{name}/jobs/{job.id}/observed?limit=5000")
        return answer if code == 200 else {}

    def wait_job(self, daemon, job, holds, what, name="orders"):
        return self.wait(lambda: (lambda seen: seen if seen and holds(seen) else None)(self.job(daemon, job, name)), what)

    def ids(self, seen):
        return [(entry["run"], entry["id"]) for entry in seen["checkpoints"]]

    def cli(self, daemon, *arguments):
        return subprocess.run([CLI, "--endpoint", f"http://127.0.0.1:{daemon.port}", "-n", "prod", *arguments],
                              capture_output=True, text=True, timeout=BOUND_S, check=False)

    def metrics(self, daemon):
        code, text, _ = daemon.call("GET", "/metrics")
        self.assertEqual(code, 200)
        return text.decode()

    def test_each_checkpoint_is_recorded_once_and_what_was_missed_is_told(self):
        job = Job(1)
        job.complete(4)
        self.flink.jobs[job.id] = job
        daemon = self.daemon()
        seen = self.wait_job(daemon, job, lambda seen: seen["recorded"] == 4, "the first four")
        self.assertEqual((seen["state"], seen["name"], seen["interval_ms"]), ("RUNNING", "orders", 200))
        with self.flink.lock:
            job.complete(3)
            job.fail()
            job.complete(1)
        seen = self.wait_job(daemon, job, lambda seen: seen["recorded"] == 8, "four more")
        self.assertEqual((seen["missed"], seen["failures"]), (0, 1))
        with self.flink.lock:
            job.complete(25)  # of which the history shows ten
        seen = self.wait_job(daemon, job, lambda seen: seen["recorded"] == 18, "what can be seen of many")
        self.assertEqual(seen["missed"], 15)
        self.assertEqual(self.ids(seen), [(1, n) for n in (1, 2, 3, 4, 5, 6, 7, 9, *range(25, 35))])
        self.assertEqual(seen["checkpoints"][-1]["path"], f"file:/ckpt/{job.id}/chk-34")
        self.assertEqual(seen["restore"]["from"]["id"], 34)
        self.assertTrue(seen["restore"]["runs"])
        text = self.metrics(daemon)
        labels = f'flink_namespace="prod",flink_cluster="orders",flink_job="{job.id}"'
        self.assertIn(f'holdfast_observed_job_state{{{labels},state="RUNNING"}} 1\n', text)
        self.assertIn(f"holdfast_observed_job_checkpoint_id{{{labels}}} 34\n", text)
        self.assertIn(f"holdfast_observed_job_checkpoint_duration_seconds{{{labels}}} 0.025\n", text)
        self.assertIn("holdfast_observed_checkpoints_missed_total 15\n", text)
        # Nothing new: nothing is written.
        revision = daemon.call("GET", "/v1/status")[1]["revision"]
        looks = self.flink.asked[f"/jobs/{job.id}/checkpoints"]
        self.wait(lambda: self.flink.asked[f"/jobs/{job.id}/checkpoints"] > looks + 3, "more looks")
        self.assertEqual(daemon.call("GET", "/v1/status")[1]["revision"], revision)
        self.assertEqual(self.flink.wrong, [])

    def test_a_savepoint_at_the_stop_is_recorded_and_advised(self):
        job = Job(2)
        job.complete(3)
        self.flink.jobs[job.id] = job
        daemon = self.daemon()
        self.wait_job(daemon, job, lambda seen: seen["recorded"] == 3, "three checkpoints")
        place = os.path.join(daemon.folder, "sp's", "savepoint-000002-abc")
        with self.flink.lock:
            job.complete(1, "SYNC_SAVEPOINT", "file://" + place)
            job.end("FINISHED")
        seen = self.wait_job(daemon, job, lambda seen: seen["final"], "the job's last word")
        self.assertEqual(seen["recorded"], 4)
        self.assertEqual(seen["restore"]["from"]["path"], "file://" + place)
        self.assertIn("stopped with this savepoint", seen["restore"]["why"])
        # It is not asked again.
        looks = self.flink.asked[f"/jobs/{job.id}/checkpoints"]
        lists = self.flink.asked["/jobs/overview"]
        self.wait(lambda: self.flink.asked["/jobs/overview"] > lists + 3, "more lists")
        self.assertEqual(self.flink.asked[f"/jobs/{job.id}/checkpoints"], looks)
        # It is not there: the advice says so, and its code.
        said = self.cli(daemon, "checkpoints", "restore-advice", "orders", job.id)
        self.assertEqual(said.returncode, 4, said.stderr)
        self.assertIn("_metadata is not there", said.stdout)
        os.makedirs(place)
        with open(os.path.join(place, "_metadata"), "wb") as file:
            file.write(b"x")
        said = self.cli(daemon, "checkpoints", "restore-advice", "orders", job.id, "-o", "json")
        self.assertEqual(said.returncode, 0, said.stderr)
        command = json.loads(said.stdout)["jobs"][0]["command"]
        words = subprocess.run(["sh", "-c", "flink() { printf '%s\\n' \"$@\"; }; " + command.replace("JAR [ARGUMENTS]", "x.jar")],
                               capture_output=True, text=True, timeout=BOUND_S, check=True).stdout.splitlines()
        self.assertEqual(words, ["run", "-d", "-s", "file://" + place, "--claimMode", "NO_CLAIM", "x.jar"])

    def test_bad_answers_are_told_and_disturb_nobody_else(self):
        good = FakeJobManager()
        self.addCleanup(good.close)
        other = Job(9)
        good.jobs[other.id] = other
        job = Job(3)
        job.complete(2)
        self.flink.jobs[job.id] = job
        daemon = self.daemon(clusters=f"prod/orders={self.flink.url},prod/other={good.url}", **{"observe.timeout": "1s"})
        self.wait_job(daemon, job, lambda seen: seen["recorded"] == 2, "two checkpoints")
        for fault in ("slow", "huge", "cut", "deep", "text", 500, 404):
            with self.subTest(fault=fault):
                with self.flink.lock:
                    self.flink.fault = fault
                live = self.wait(lambda: (lambda c: c.get("live") if c.get("live") and not c["live"]["answers"] else None)(
                    self.cluster(daemon)), f"the fault '{fault}' to be told")
                self.assertTrue(live["error"])
                with good.lock:
                    number = other.complete()
                self.wait_job(daemon, other, lambda seen, n=number: seen["recorded"] == n, "the other cluster", "other")
                with self.flink.lock:
                    self.flink.fault = None
                    self.flink.release.set()
                    number = job.complete()
                self.wait_job(daemon, job, lambda seen, n=number: seen["recorded"] == n, "it to be seen again")
                self.flink.release.clear()
        seen = self.job(daemon, job)
        self.assertEqual(seen["missed"], 0)
        self.assertEqual(len(self.ids(seen)), len(set(self.ids(seen))))
        said = self.cli(daemon, "observed")
        self.assertIn("orders", said.stdout)
        self.assertIn("other", said.stdout)

    def test_after_a_kill_of_the_daemon_nothing_is_double_and_the_gap_is_told(self):
        job = Job(4)
        job.complete(5)
        self.flink.jobs[job.id] = job
        daemon = self.daemon()
        self.wait_job(daemon, job, lambda seen: seen["recorded"] == 5, "five checkpoints")
        daemon.kill()
        with self.flink.lock:
            job.complete(12)  # two more than the history shows
        daemon.start()
        seen = self.wait_job(daemon, job, lambda seen: seen["recorded"] == 15, "what the history shows")
        self.assertEqual(seen["missed"], 2)
        self.assertEqual(self.ids(seen), [(1, n) for n in (1, 2, 3, 4, 5, *range(8, 18))])

    def test_a_failover_of_the_jobmanager_and_a_second_run_are_told_apart(self):
        job = Job(5)
        job.complete(5)
        self.flink.jobs[job.id] = job
        daemon = self.daemon()
        self.wait_job(daemon, job, lambda seen: seen["recorded"] == 5, "five checkpoints")
        with self.flink.lock:
            job.fail_over(7)
            job.next_id = 8
            job.complete(2)
        seen = self.wait_job(daemon, job, lambda seen: seen["recorded"] == 8, "what follows the failover")
        self.assertEqual(self.ids(seen), [(1, n) for n in (1, 2, 3, 4, 5, 7, 8, 9)])
        self.assertEqual((seen["missed"], seen["maybe_missed"], seen["lives"]), (0, 1, 2))
        with self.flink.lock:
            job.started_ms += 10_000_000
            job.completed, job.entries, job.restored, job.next_id = 0, [], None, 1
            job.complete(2)
        seen = self.wait_job(daemon, job, lambda seen: seen["recorded"] == 10, "the second run")
        self.assertEqual(self.ids(seen)[-2:], [(2, 1), (2, 2)])

    def test_the_history_has_a_limit_and_can_be_forgotten(self):
        job = Job(6)
        job.complete(10)
        self.flink.jobs[job.id] = job
        daemon = self.daemon(**{"observe.history.cluster-limit": "5"})
        for _ in range(3):
            number = job.next_id - 1
            seen = self.wait_job(daemon, job, lambda seen, n=number: seen["recorded"] == n, "all so far")
            with self.flink.lock:
                job.complete(4)
        number = job.next_id - 1
        seen = self.wait_job(daemon, job, lambda seen: seen["recorded"] == number, "all so far")
        self.assertEqual(self.ids(seen), [(1, n) for n in range(number - 4, number + 1)])
        daemon.kill()
        daemon.settings["observe.clusters"] = ""
        daemon.start()
        self.assertIsNone(self.cluster(daemon)["live"])
        said = self.cli(daemon, "observed", "forget", "orders", "--yes")
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertEqual(daemon.call("GET", "/v1/clusters/prod/orders/observed")[0], 404)
        self.assertEqual(daemon.call("GET", "/v1/observed")[1]["observed"], [])

    def test_clusters_on_holdfast_are_looked_at_where_they_say_they_are(self):
        job = Job(7)
        job.complete(2)
        self.flink.jobs[job.id] = job
        daemon = self.daemon(clusters="default/unrelated=http://127.0.0.1:9", **{"observe.known": "true"})
        jm = JobManager(daemon, cluster="own", ns="prod").wait_granted()
        code, answer, _ = daemon.call("PUT", "/v1/clusters/prod/own/leader/rest_server",
                                      {"leader_session": jm.leader_session, "address": self.flink.url},
                                      {"Holdfast-Session": jm.sid, "Holdfast-Fence": str(jm.fence)})
        self.assertEqual(code, 200, answer)
        self.wait_job(daemon, job, lambda seen: seen["recorded"] == 2, "its checkpoints", "own")
        self.assertEqual(self.cluster(daemon, "own")["live"]["source"], "holdfast")

    def test_metrics_of_many_jobs_are_sums(self):
        for number in range(10, 14):
            self.flink.jobs[f"{number:032x}"] = Job(number, name='say "hi"\n')
        daemon = self.daemon(**{"metrics.jobs.limit": "3"})
        self.wait(lambda: "holdfast_observed_jobs_without_series 1\n" in self.metrics(daemon), "a job over the limit")
        text = self.metrics(daemon)
        self.assertEqual(text.count("holdfast_observed_job_state{"), 3)
        self.assertIn("holdfast_observed_jobs 4\n", text)

    def test_settings_that_are_wrong_are_refused_by_name(self):
        for clusters in ("orders", "orders=ftp://x", "a/b/c=http://x:1", "orders=http://", "=http://x:1"):
            daemon = Daemon(**{"observe.clusters": clusters})
            self.addCleanup(daemon.remove)
            code, text = daemon.start(expect_failure=True)
            self.assertNotEqual(code, 0)
            self.assertIn("observe.clusters", text)


if __name__ == "__main__":
    unittest.main()
