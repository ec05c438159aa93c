"""Owners of a cluster against a real daemon: docs/protocol.md, section 2, Owners; and `holdfast clusters`."""
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BOUND_S, CLI, Daemon, JobManager  # noqa: E402
import subprocess  # noqa: E402

JOB = "0123456789abcdef" * 2
OTHER = "f" * 32
OCTETS = {"Content-Type": "application/octet-stream"}


class Owners(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon().start()

    @classmethod
    def tearDownClass(cls):
        code = cls.daemon.stop()
        cls.daemon.remove()
        assert code == 0, f"exit code {code}"

    def setUp(self):
        self.cluster = self.id().split(".")[-1]
        self.base = f"/v1/clusters/default/{self.cluster}"

    def manager(self, owner=None, daemon=None):
        more = {"owner": owner, "owner_name": f"Deployment flink/{owner}"} if owner else {}
        return JobManager(daemon or self.daemon, cluster=self.cluster, **more).wait_granted()

    def leave(self, manager):
        """Its session ends before this returns."""
        self.assertEqual(self.call("DELETE", f"/sessions/{manager.sid}", daemon=manager.daemon), {"ended": True})

    def call(self, method, path, body=None, code=200, daemon=None):
        answer = (daemon or self.daemon).call(method, self.base + path, body)
        self.assertEqual(answer[0], code, answer[1])
        return answer[1]

    def do(self, manager, *arguments, code=200):
        answer = manager.call(*arguments)
        self.assertEqual(answer[0], code, answer[1])
        return answer[1]

    def run_job(self, manager, job=JOB, checkpoints=(1, 2)):
        self.do(manager, "PUT", f"/graphs/{job}", b"graph of " + manager.sid.encode(), OCTETS)
        for number in checkpoints:
            self.assertEqual(manager.commit(job, number, reserve=4)[0], 200)

    def left(self, owner="first"):
        """A cluster whose owner is gone, with a running job."""
        manager = self.manager(owner)
        self.run_job(manager)
        self.leave(manager)

    def quarantine(self):
        listed = self.call("GET", "/quarantines")["quarantines"]
        self.assertEqual(len(listed), 1, listed)
        return listed[0]

    def graphs(self):
        return [graph["id"] for graph in self.call("GET", "/graphs")["graphs"]]

    def cli(self, *arguments, code=0, answer=None):
        done = subprocess.run([CLI, *arguments, "--endpoint", f"http://127.0.0.1:{self.daemon.port}"], capture_output=True,
                              text=True, timeout=BOUND_S, check=False, input=answer)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    # the rules

    def test_the_same_owner_sees_everything_after_a_restart(self):
        self.left()
        again = self.manager("first")
        self.assertNotIn("quarantine", again.opened)
        self.assertEqual(self.graphs(), [JOB])
        unknown = self.manager_in_line()
        self.assertNotIn("quarantine", unknown.opened)
        cluster = self.call("GET", "")
        self.assertEqual((cluster["owner"], cluster["owner_name"], cluster["quarantines"]), ("first", "Deployment flink/first", 0))

    def manager_in_line(self):
        return JobManager(self.daemon, cluster=self.cluster)

    def test_a_cluster_from_before_there_were_owners_keeps_what_it_has(self):
        old = self.manager()
        self.run_job(old)
        self.assertEqual(self.call("GET", "")["owner"], None)
        new = JobManager(self.daemon, cluster=self.cluster, owner="first")  # while the old one lives: a rolling upgrade
        self.leave(old)
        new.wait_granted()
        self.assertEqual(self.graphs(), [JOB])
        self.assertEqual(self.call("GET", "")["owner"], "first")

    def test_another_owner_waits_until_the_former_one_s_job_managers_are_gone(self):
        manager = self.manager("first")
        self.run_job(manager)
        body = {"session": "a" * 32, "holder": "second", "ttl_ms": 300000, "owner": "second"}
        refused = self.call("POST", "/sessions", body, code=409)
        self.assertEqual(refused["status"], "CONFLICT")
        self.assertIn("Deployment flink/first", refused["message"])
        self.assertEqual(self.graphs(), [JOB])
        self.leave(manager)
        answer = self.call("POST", "/sessions", body)
        self.assertEqual((answer["quarantine"]["owner"], answer["quarantine"]["graphs"]), ("first", 1))
        self.assertEqual(self.graphs(), [])
        # Asked again, as a client does that has not heard the answer.
        self.assertNotIn("quarantine", self.call("POST", "/sessions", body))
        self.assertEqual(self.quarantine()["id"], answer["quarantine"]["id"])

    def test_it_is_said_loudly(self):
        before = self.metric("holdfast_owner_quarantines_total")
        self.left()
        quarantine = self.manager("second").opened["quarantine"]
        log = [line for line in self.daemon.log_text().splitlines() if "event=owner.quarantined" in line and self.cluster in line]
        self.assertEqual(len(log), 1)
        for word in ("level=warn", f"quarantine={quarantine['id']}", "former=first", "owner=second", "graphs=1", "jobs=1"):
            self.assertIn(word, log[0].replace('"', ""))
        self.assertEqual(self.metric("holdfast_owner_quarantines_total"), before + 1)
        audit = [entry for entry in self.daemon.call("GET", "/v1/audit")[1]["audit"] if self.cluster in entry["path"]]
        self.assertEqual([entry["path"] for entry in audit], [f"{self.base}/sessions quarantine {quarantine['id']}"])

    def metric(self, name):
        text = self.daemon.call("GET", "/metrics")[1].decode()
        return int(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[1])

    def test_what_is_set_aside_and_what_the_new_owner_sees(self):
        self.left()
        second = self.manager("second")
        for path, field in (("/graphs", "graphs"), ("/jobs", "jobs"), ("/results", "results")):
            self.assertEqual(self.call("GET", path)[field], [], path)
        listed = self.call("GET", f"/jobs/{JOB}/checkpoints")
        self.assertEqual((listed["checkpoints"], listed["discards"]), ([], []))
        self.assertEqual([entry["id"] for entry in listed["of_former_owners"]], [2])
        there = self.quarantine()
        self.assertEqual((there["owner"], there["next_owner"], there["graphs"]), ("first", "second", [JOB]))
        job = there["jobs"][0]
        self.assertEqual((job["id"], job["state"], job["checkpoints"], job["latest"], job["discards"]), (JOB, "running", 1, 2, 1))
        # A job of the same id counts on from there.
        self.assertEqual(listed["next_id"], job["next_id"])
        reserved = self.do(second, "POST", f"/jobs/{JOB}/counter/reserve", {"count": 1})
        self.assertEqual(reserved["from"], job["next_id"])

    def test_given_back_it_is_there_again(self):
        self.left()
        second = self.manager("second")
        place = f"/quarantines/{self.quarantine()['id']}"
        self.run_job(second, checkpoints=())
        self.assertIn("cancel it first", self.call("POST", place + "/adopt", code=409)["message"])
        self.do(second, "PUT", f"/results/{JOB}", {"result": {"state": "CANCELED"}})
        self.assertIn("cancel it first", self.call("POST", place + "/adopt", code=409)["message"])
        self.do(second, "POST", f"/results/{JOB}/clean", {"keep": False})
        self.do(second, "DELETE", f"/jobs/{JOB}")
        self.run_job(second, job=OTHER)
        self.assertEqual(self.call("POST", place + "/adopt"), {"adopted": True})
        self.assertEqual(self.graphs(), [JOB, OTHER])
        self.assertEqual([entry["id"] for entry in self.call("GET", f"/jobs/{JOB}/checkpoints")["checkpoints"]], [2])
        self.assertEqual(self.call("POST", place + "/adopt", code=404)["status"], "NOT_FOUND")
        code, graph, _ = self.daemon.call("GET", f"{self.base}/graphs/{JOB}")
        self.assertEqual((code, graph[:9]), (200, b"graph of "))
        # The next leader, of the present owner, recovers both.
        self.leave(second)
        self.assertNotIn("quarantine", self.manager("second").opened)
        self.assertEqual(self.graphs(), [JOB, OTHER])

    def test_discarded_and_taken_back(self):
        self.left()
        self.manager("second")
        place = f"/quarantines/{self.quarantine()['id']}"
        trash = self.call("POST", place + "/discard")["trash"]
        self.assertEqual(self.call("GET", "/quarantines")["quarantines"], [])
        self.assertEqual([entry["id"] for entry in self.call("GET", f"/jobs/{JOB}/checkpoints")["of_former_owners"]], [2])
        self.assertEqual([(entry["job"], entry["cluster"]) for entry in self.daemon.call("GET", "/v1/trash")[1]["trash"]
                          if entry["id"] == trash], [(None, self.cluster)])
        self.assertEqual(self.daemon.call("POST", f"/v1/trash/{trash}/restore")[0], 200)
        self.call("POST", place + "/adopt")
        self.assertEqual(self.graphs(), [JOB])

    def test_names_that_are_too_long_are_refused(self):
        body = {"session": "b" * 32, "holder": "x", "ttl_ms": 300000, "owner": "o" * 201}
        self.assertIn("owner", self.call("POST", "/sessions", body, code=400)["message"])
        self.call("POST", "/sessions", {**body, "owner": "o" * 200, "owner_name": "n" * 400})
        self.assertEqual(self.call("GET", "/quarantines/x", code=404)["status"], "NOT_FOUND")

    # the CLI

    def test_the_cli_shows_asks_and_does(self):
        self.left()
        second = self.manager("second")
        quarantine = self.quarantine()["id"]
        self.assertRegex(self.cli("clusters"), rf"(?m)^default +{self.cluster} .* 1$")
        shown = self.cli("clusters", "show", self.cluster)
        for text in ("owner        Deployment flink/second (second)", f"quarantine {quarantine}", "left by Deployment flink/first (first)",
                     JOB):
            self.assertIn(text, shown)
        told = json.loads(self.cli("clusters", "show", self.cluster, "-o", "json"))
        self.assertEqual([entry["id"] for entry in told["quarantined"]], [quarantine])
        self.assertIn("say --yes", self.cli("clusters", "adopt", self.cluster, code=2))
        self.assertIn("has no quarantine", self.cli("clusters", "adopt", self.cluster, OTHER, "--yes", code=4))
        self.assertIn("is none of", self.cli("clusters", "give", self.cluster, code=2))
        self.assertEqual(self.quarantine()["id"], quarantine)
        self.assertIn(f"clusters undo {quarantine}", self.cli("clusters", "discard", self.cluster, "--yes"))
        self.assertIn("has no quarantine", self.cli("clusters", "adopt", self.cluster, "--yes", code=4))
        self.assertIn("quarantined again", self.cli("clusters", "undo", quarantine))
        self.assertIn("given back", self.cli("clusters", "adopt", self.cluster, quarantine, "--yes", "--recover-now"))
        self.assertEqual(self.graphs(), [JOB])
        self.assertEqual(second.stream.next("ended")["event"], "ended")

    def test_of_several_quarantines_one_is_named(self):
        self.left()
        second = self.manager("second")
        self.run_job(second, job=OTHER)
        self.leave(second)
        self.manager("third")
        self.assertIn("say which", self.cli("clusters", "adopt", self.cluster, "--yes", code=2))
        ids = {q["owner"]: q["id"] for q in self.call("GET", "/quarantines")["quarantines"]}
        self.cli("clusters", "adopt", self.cluster, ids["second"], "--yes")
        self.assertEqual(self.graphs(), [OTHER])

    # kill -9

    def test_kill_9_leaves_it_whole(self):
        """Killed at any moment while owners change: each time the job is the owner's, or in quarantine, and never both."""
        with Daemon(session_close__grace="0", session_ttl__min="100ms") as daemon:
            for number in range(6):
                manager = JobManager(daemon, cluster=self.cluster, owner=f"owner {number}").wait_granted()
                place = [q["id"] for q in self.call("GET", "/quarantines", daemon=daemon)["quarantines"]]
                if number == 0:
                    self.run_job(manager)
                else:
                    self.assertEqual(len(place), 1)
                    self.assertEqual(self.call("GET", "/graphs", daemon=daemon)["graphs"], [])
                    self.call("POST", f"/quarantines/{place[0]}/adopt", daemon=daemon)
                self.leave(manager)
                sid = os.urandom(16).hex()
                child = subprocess.Popen([sys.executable, "-c", f"""
import http.client, json
c = http.client.HTTPConnection("127.0.0.1", {daemon.port})
c.request("POST", "{self.base}/sessions", json.dumps({{"session": "{sid}", "holder": "x", "ttl_ms": 300000, "owner": "owner {number + 1}"}}),
          {{"Content-Type": "application/json"}})
print("sent", flush=True)
c.getresponse().read()
"""], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                child.stdout.readline()
                time.sleep(0.002 * number)  # not to wait for something: to kill at another moment each time
                daemon.kill()
                child.wait(BOUND_S)
                child.stdout.close()
                daemon.start()
                graphs = [graph["id"] for graph in self.call("GET", "/graphs", daemon=daemon)["graphs"]]
                aside = [job["id"] for q in self.call("GET", "/quarantines", daemon=daemon)["quarantines"] for job in q["jobs"]]
                self.assertEqual(sorted(graphs + aside), [JOB])
                checkpoints = self.call("GET", f"/jobs/{JOB}/checkpoints", daemon=daemon)
                self.assertEqual([entry["id"] for entry in checkpoints["checkpoints" if graphs else "of_former_owners"]], [2])
                self.call("DELETE", f"/sessions/{sid}", daemon=daemon)


class Policy(unittest.TestCase):
    def test_adopt_hands_over(self):
        with Daemon(orphans_on__new__owner="adopt") as daemon:
            first = JobManager(daemon, owner="first").wait_granted()
            self.assertEqual(first.call("PUT", f"/graphs/{JOB}", b"graph", OCTETS)[0], 200)
            second = JobManager(daemon, owner="second")
            self.assertNotIn("quarantine", second.opened)
            first.stream.close()
            second.wait_granted()
            self.assertEqual([graph["id"] for graph in second.call("GET", "/graphs")[1]["graphs"]], [JOB])
            self.assertEqual(second.call("GET", "")[1]["owner"], "second")
            self.assertIn("owner.adopted", daemon.log_text())

    def test_anything_else_is_refused(self):
        daemon = Daemon(orphans_on__new__owner="ask")
        self.addCleanup(daemon.remove)
        code, log = daemon.start(expect_failure=True)
        self.assertEqual(code, 2)
        self.assertIn("orphans.on-new-owner: 'ask' is none of quarantine, adopt", log)


if __name__ == "__main__":
    unittest.main()
