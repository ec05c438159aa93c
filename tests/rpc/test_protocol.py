"""The protocol against a real daemon: docs/protocol.md, section by section."""
import hashlib
import os
import re
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import CLI, Daemon, JobManager, Stream, request  # noqa: E402
import subprocess  # noqa: E402

JOB = "0123456789abcdef" * 2
OCTETS = {"Content-Type": "application/octet-stream"}


class Protocol(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon().start()

    @classmethod
    def tearDownClass(cls):
        code = cls.daemon.stop()
        cls.daemon.remove()
        assert code == 0, f"exit code {code}"

    def leader(self):
        return JobManager(self.daemon, cluster=self.id().split(".")[-1]).wait_granted()

    def expect(self, answer, code, status=None):
        self.assertEqual(answer[0], code, answer)
        if status:
            self.assertEqual(answer[1]["status"], status)
        return answer[1]

    # sessions and leadership

    def test_a_session_can_be_opened_again_with_the_same_content_only(self):
        jm = self.leader()
        body = {"session": jm.sid, "holder": "test:" + jm.sid[:4], "ttl_ms": 300000}
        self.expect(self.daemon.call("POST", jm.base + "/sessions", body), 200)
        body["holder"] = "somebody else"
        self.expect(self.daemon.call("POST", jm.base + "/sessions", body), 409, "EXISTS")

    def test_the_next_in_line_is_granted_when_the_connection_of_the_holder_closes(self):
        first = self.leader()
        second = JobManager(self.daemon, cluster=self.id().split(".")[-1])
        third = JobManager(self.daemon, cluster=self.id().split(".")[-1])
        first.stream.close()
        second.wait_granted()
        self.assertNotEqual(first.leader_session, second.leader_session)
        self.assertGreater(second.fence, first.fence)
        self.expect(self.daemon.call("POST", f"{first.base}/sessions/{first.sid}/renew", {}), 410, "GONE")
        self.expect(first.commit(JOB, 1), 409, "FENCED")
        second.stream.close()
        third.wait_granted()

    def test_a_reattached_stream_within_the_grace_keeps_the_leadership(self):
        with Daemon(session_close__grace="60s", session_ttl__min="61s") as daemon:
            jm = JobManager(daemon).wait_granted()
            jm.stream.close()
            again = Stream(daemon, f"{jm.base}/sessions/{jm.sid}/events?contend=true")
            event = again.next("granted")
            self.assertEqual(event["fence"], jm.fence)
            self.assertEqual(event["leader_session"], jm.leader_session)
            again.close()

    def test_sessions_that_are_closed_together_leave_no_leader(self):
        # The heir is closed while its grant is being written: its end has to undo the grant.
        cluster = self.id().split(".")[-1]
        for _ in range(10):
            managers = [JobManager(self.daemon, cluster=cluster).wait_granted()]
            managers += [JobManager(self.daemon, cluster=cluster) for _ in range(3)]
            self.daemon.process.send_signal(signal.SIGSTOP)
            try:
                links = [self.daemon.link() for _ in range(1 + len(managers))]
                links[0].sendall(request("GET", "/v1/clusters"))
                for link, manager in zip(links[1:], managers):
                    link.sendall(request("DELETE", f"{manager.base}/sessions/{manager.sid}"))
            finally:
                self.daemon.process.send_signal(signal.SIGCONT)
            for link in links:
                link.recv(65536)
                link.close()
            left = self.expect(self.daemon.call("GET", f"/v1/clusters/default/{cluster}/leader"), 200)
            self.assertEqual((left["holder"], left["leader_session"]), (None, None))

    def test_pipelined_reservations_never_share_an_id(self):
        # Answers of one record let the next requests of their connections in, all in one turn of the loop.
        jm = self.leader()
        head = {"Holdfast-Session": jm.sid, "Holdfast-Fence": str(jm.fence)}
        one = request("POST", f"{jm.base}/jobs/{JOB}/counter/reserve", {"count": 1}, head)
        count = 20
        links = [self.daemon.link() for _ in range(8)]
        for link in links:
            link.sendall(one * count)
        ids = []
        for link in links:
            text = b""
            while text.count(b'"from"') < count:
                piece = link.recv(65536)
                self.assertTrue(piece, text[-200:])
                text += piece
            ids += re.findall(rb'"from":\s*(\d+)', text)
            link.close()
        self.assertEqual(len(ids), len(set(ids)))

    def test_a_second_stream_replaces_the_first(self):
        jm = self.leader()
        second = Stream(self.daemon, f"{jm.base}/sessions/{jm.sid}/events?contend=true")
        self.assertEqual(jm.stream.next("replaced")["event"], "replaced")
        self.assertIsNone(jm.stream.next())
        second.close()

    def test_a_silent_session_ends_after_its_time_to_live(self):
        cluster = self.id().split(".")[-1]
        silent = JobManager(self.daemon, cluster=cluster, ttl_ms=4000).wait_granted()
        other = JobManager(self.daemon, cluster=cluster, ttl_ms=300000)
        other.wait_granted()
        self.assertEqual(silent.stream.next("ended")["event"], "ended")

    def test_closing_a_session_frees_the_leadership_and_can_be_repeated(self):
        first = self.leader()
        second = JobManager(self.daemon, cluster=self.id().split(".")[-1])
        self.assertTrue(self.expect(self.daemon.call("DELETE", f"{first.base}/sessions/{first.sid}"), 200)["ended"])
        second.wait_granted()
        self.assertFalse(self.expect(self.daemon.call("DELETE", f"{first.base}/sessions/{first.sid}"), 200)["ended"])

    def test_renewals_say_how_much_life_is_left(self):
        jm = self.leader()
        left = self.expect(self.daemon.call("POST", f"{jm.base}/sessions/{jm.sid}/renew", {}), 200)["remaining_ms"]
        self.assertTrue(0 < left <= 300000, left)

    # addresses

    def test_published_addresses_reach_watchers_and_go_with_the_next_grant(self):
        jm = self.leader()
        watch = Stream(self.daemon, jm.base + "/leader/watch")
        self.assertEqual(watch.next("leader")["components"], {})
        address = {"leader_session": jm.leader_session, "address": "pekko.tcp://x@y:1/z"}
        self.expect(jm.call("PUT", "/leader/dispatcher", address), 200)
        self.assertEqual(watch.next("leader")["components"], {"dispatcher": address})
        self.expect(jm.call("PUT", "/leader/dispatcher", dict(address, leader_session="x")), 409, "FENCED")
        other = JobManager(self.daemon, cluster=self.id().split(".")[-1])
        jm.stream.close()
        other.wait_granted()
        self.assertEqual(self.expect(self.daemon.call("GET", jm.base + "/leader"), 200)["components"], {})
        self.assertTrue(self.expect(other.call("DELETE", "/leader/dispatcher"), 200)["removed"] is False)

    def test_a_cluster_nobody_knows_has_an_empty_map(self):
        answer = self.expect(self.daemon.call("GET", "/v1/clusters/none/such/leader"), 200)
        self.assertEqual((answer["revision"], answer["components"], answer["leader_session"]), (0, {}, None))

    # payloads

    def test_a_graph_goes_up_and_comes_back(self):
        jm = self.leader()
        data = os.urandom(300000)
        digest = "sha256=" + hashlib.sha256(data).hexdigest()
        put = self.expect(jm.call("PUT", f"/graphs/{JOB}", data, dict(OCTETS, **{"Holdfast-Digest": digest})), 200)
        self.assertEqual((put["size"], put["digest"]), (len(data), digest))
        code, back, headers = self.daemon.call("GET", f"{jm.base}/graphs/{JOB}")
        self.assertEqual((code, back), (200, data))
        self.assertEqual(headers["Holdfast-Digest"], digest)
        again = self.expect(jm.call("PUT", f"/graphs/{JOB}", data, OCTETS), 200)
        self.assertEqual(again["digest"], digest)
        self.expect(jm.call("PUT", f"/graphs/{JOB}", b"other", OCTETS), 409, "EXISTS")
        revision = self.expect(self.daemon.call("GET", f"{jm.base}/graphs/{JOB}/info"), 200)["revision"]
        self.expect(jm.call("PUT", f"/graphs/{JOB}", b"other", dict(OCTETS, **{"Holdfast-If": "revision=1"})), 409, "CONFLICT")
        self.expect(jm.call("PUT", f"/graphs/{JOB}", b"other", dict(OCTETS, **{"Holdfast-If": f"revision={revision}"})), 200)
        self.assertEqual(self.daemon.call("GET", f"{jm.base}/graphs/{JOB}")[1], b"other")
        self.expect(jm.call("POST", f"/graphs/{JOB}/quarantine", {"reason": "cannot be read"}), 200)
        listed = self.expect(self.daemon.call("GET", jm.base + "/graphs"), 200)["graphs"]
        self.assertEqual([g["quarantined"] for g in listed], ["cannot be read"])
        self.assertTrue(self.expect(jm.call("DELETE", f"/graphs/{JOB}"), 200)["removed"])
        self.assertFalse(self.expect(jm.call("DELETE", f"/graphs/{JOB}"), 200)["removed"])
        self.expect(self.daemon.call("GET", f"{jm.base}/graphs/{JOB}"), 404, "NOT_FOUND")

    def test_a_wrong_digest_is_refused_and_leaves_nothing(self):
        jm = self.leader()
        head = dict(OCTETS, **{"Holdfast-Digest": "sha256=" + "0" * 64})
        self.expect(jm.call("PUT", f"/graphs/{JOB}", b"data", head), 400, "INVALID")
        self.expect(self.daemon.call("GET", f"{jm.base}/graphs/{JOB}"), 404)

    def test_64_mebibytes_stream_through_in_little_memory(self):
        with Daemon() as daemon:
            jm = JobManager(daemon).wait_granted()
            before = daemon.call("GET", "/v1/status")[1]["memory_peak_bytes"]
            data = os.urandom(1 << 20) * 64
            self.expect(jm.call("PUT", f"/graphs/{JOB}", data, OCTETS), 200)
            code, back, _ = daemon.call("GET", f"{jm.base}/graphs/{JOB}")
            self.assertEqual((code, hashlib.sha256(back).digest()), (200, hashlib.sha256(data).digest()))
            peak = daemon.call("GET", "/v1/status")[1]["memory_peak_bytes"]
            self.assertLess(peak - before, 16 << 20, "the stated buffers are 2 x 256 KiB a transfer")
            head = (f"PUT {jm.base}/graphs/{'1' * 32} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                    f"Holdfast-Session: {jm.sid}\r\nHoldfast-Fence: {jm.fence}\r\nContent-Length: {len(data) + 1}\r\n\r\n")
            answer, closed = daemon.raw(head.encode())
            self.assertIn(b" 413 ", answer.split(b"\r\n")[0])
            self.assertTrue(closed)

    def test_a_damaged_payload_is_told_as_damaged(self):
        with Daemon() as daemon:
            jm = JobManager(daemon).wait_granted()
            self.expect(jm.call("PUT", f"/graphs/{JOB}", b"some graph", OCTETS), 200)
            for folder, _, files in os.walk(os.path.join(daemon.store, "payload")):
                for name in files:
                    with open(os.path.join(folder, name), "r+b") as f:
                        f.write(b"X")
            self.expect(daemon.call("GET", f"{jm.base}/graphs/{JOB}"), 500, "CORRUPT")

    # checkpoints

    def test_commits_subsume_discard_and_reserve_in_one_call(self):
        jm = self.leader()
        reserved = self.expect(jm.call("POST", f"/jobs/{JOB}/counter/reserve", {"count": 4}), 200)
        self.assertEqual((reserved["from"], reserved["to"]), (1, 4))
        self.assertEqual(self.expect(jm.commit(JOB, 1), 200)["subsumed"], [])
        second = self.expect(jm.commit(JOB, 2, reserve=8), 200)
        self.assertEqual((second["subsumed"], second["from"], second["to"]), ([1], 5, 12))
        third = self.expect(jm.commit(JOB, 3, discarded=[1]), 200)
        self.assertEqual(third["subsumed"], [2])
        state = self.expect(self.daemon.call("GET", f"{jm.base}/jobs/{JOB}/checkpoints"), 200)
        self.assertEqual([c["id"] for c in state["checkpoints"]], [3])
        self.assertEqual([c["id"] for c in state["discards"]], [2])
        self.assertEqual(state["next_id"], 13)
        self.assertEqual(self.expect(jm.call("POST", f"/jobs/{JOB}/discards/done", {"ids": [2]}), 200)["struck"], 1)

    def test_a_repeated_commit_is_success_and_other_content_is_not(self):
        jm = self.leader()
        self.expect(jm.commit(JOB, 7), 200)
        self.expect(jm.commit(JOB, 7), 200)
        self.expect(jm.commit(JOB, 7, size=11), 409, "EXISTS")
        self.expect(jm.commit(JOB, 8), 200)
        self.expect(jm.commit(JOB, 7), 200)
        state = self.expect(self.daemon.call("GET", f"{jm.base}/jobs/{JOB}/checkpoints"), 200)
        self.assertEqual([c["id"] for c in state["checkpoints"]], [8])

    def test_savepoints_leave_the_list_without_becoming_discards(self):
        jm = self.leader()
        save = {"type": "SAVEPOINT", "discard_on": [], "post_action": None}
        self.expect(jm.commit(JOB, 1, properties=save), 200)
        self.assertEqual(self.expect(jm.commit(JOB, 2), 200)["subsumed"], [1])
        state = self.expect(self.daemon.call("GET", f"{jm.base}/jobs/{JOB}/checkpoints"), 200)
        self.assertEqual(state["discards"], [])

    def test_the_counter_never_goes_down(self):
        jm = self.leader()
        self.assertEqual(self.expect(jm.call("POST", f"/jobs/{JOB}/counter/raise", {"to": 100}), 200)["next_id"], 100)
        self.assertEqual(self.expect(jm.call("POST", f"/jobs/{JOB}/counter/raise", {"to": 5}), 200)["next_id"], 100)
        self.assertEqual(self.expect(jm.call("POST", f"/jobs/{JOB}/counter/reserve", {"count": 1}), 200)["from"], 100)

    # results and clean-up

    def test_a_job_whose_end_is_recorded_is_not_offered_again(self):
        jm = self.leader()
        self.expect(jm.call("PUT", f"/graphs/{JOB}", b"graph", OCTETS), 200)
        self.expect(jm.call("PUT", f"/results/{JOB}", {"result": {"a": 1}}), 200)
        self.expect(jm.call("PUT", f"/results/{JOB}", {"result": {"a": 1}}), 200)
        self.expect(jm.call("PUT", f"/results/{JOB}", {"result": {"a": 2}}), 409, "EXISTS")
        self.assertEqual(self.expect(self.daemon.call("GET", jm.base + "/graphs"), 200)["graphs"], [])
        dirty = self.expect(self.daemon.call("GET", jm.base + "/results?state=dirty"), 200)["results"]
        self.assertEqual([(r["id"], r["result"]) for r in dirty], [(JOB, {"a": 1})])
        self.expect(jm.call("POST", f"/results/{JOB}/clean", {"keep": False}), 200)
        self.expect(self.daemon.call("GET", f"{jm.base}/results/{JOB}"), 404)
        self.assertEqual(self.expect(self.daemon.call("GET", jm.base + "/graphs"), 200)["graphs"], [])
        self.expect(jm.call("DELETE", f"/graphs/{JOB}"), 200)
        self.expect(jm.call("PUT", f"/graphs/{JOB}", b"a new submission", OCTETS), 200)
        self.assertEqual(len(self.expect(self.daemon.call("GET", jm.base + "/graphs"), 200)["graphs"]), 1)

    def test_job_data_without_a_recorded_end_goes_to_the_trash_and_comes_back(self):
        jm = self.leader()
        self.expect(jm.call("PUT", f"/graphs/{JOB}", b"graph", OCTETS), 200)
        self.expect(jm.commit(JOB, 5), 200)
        removed = self.expect(jm.call("DELETE", f"/jobs/{JOB}"), 200)
        self.assertTrue(removed["removed"] and removed["trash"])
        self.assertEqual(self.expect(self.daemon.call("GET", jm.base + "/graphs"), 200)["graphs"], [])
        self.expect(self.daemon.call("POST", f"/v1/trash/{removed['trash']}/restore", {}), 200)
        state = self.expect(self.daemon.call("GET", f"{jm.base}/jobs/{JOB}/checkpoints"), 200)
        self.assertEqual([c["id"] for c in state["checkpoints"]], [5])
        self.assertEqual(self.daemon.call("GET", f"{jm.base}/graphs/{JOB}")[1], b"graph")

    def test_job_data_with_a_recorded_end_is_gone(self):
        jm = self.leader()
        self.expect(jm.commit(JOB, 5), 200)
        self.expect(jm.call("PUT", f"/results/{JOB}", {"result": {}}), 200)
        removed = self.expect(jm.call("DELETE", f"/jobs/{JOB}"), 200)
        self.assertEqual((removed["removed"], removed["trash"]), (True, None))

    # bad input

    def test_unfenced_unknown_and_wrong_calls_are_refused_clearly(self):
        jm = self.leader()
        call = self.daemon.call
        self.expect(call("POST", f"{jm.base}/jobs/{JOB}/counter/reserve", {"count": 1}), 428, "UNFENCED")
        self.expect(call("GET", "/v1/nothing"), 404, "NOT_FOUND")
        self.expect(call("PATCH", "/v1/status"), 405, "METHOD")
        self.expect(call("GET", "/v1/clusters/default/none"), 404, "NOT_FOUND")
        self.expect(jm.call("POST", f"/jobs/{JOB}/counter/reserve", "{}", {"Content-Type": "text/plain"}), 415, "WRONG_TYPE")
        self.expect(jm.call("POST", f"/jobs/{JOB}/counter/reserve", "{", {"Content-Type": "application/json"}), 400, "INVALID")
        self.expect(jm.call("POST", f"/jobs/{JOB}/counter/reserve", {"count": 1, "more": 2}), 400, "INVALID")
        self.expect(jm.call("POST", "/jobs/xyz/counter/reserve", {"count": 1}), 400, "INVALID")
        self.expect(call("POST", jm.base + "/sessions", {"session": "1" * 32, "holder": "x", "ttl_ms": 1}), 400, "INVALID")
        self.expect(jm.call("POST", f"/jobs/{JOB}/counter/reserve", {"count": 1},
                            {"Holdfast-Fence": str(jm.fence + 1)}), 409, "FENCED")

    # persistence

    def test_an_acknowledged_close_survives_kill_9(self):
        with Daemon() as daemon:
            for _ in range(5):
                jm = JobManager(daemon).wait_granted()
                base = f"{jm.base}/sessions/{jm.sid}"
                self.assertTrue(self.expect(daemon.call("DELETE", base), 200)["ended"])
                daemon.kill()
                daemon.start()
                self.assertIsNone(self.expect(daemon.call("GET", jm.base + "/leader"), 200)["leader_session"])
                self.expect(daemon.call("POST", base + "/renew", {}), 410, "GONE")

    def test_everything_acknowledged_survives_kill_9_and_sessions_go_on(self):
        daemon = Daemon(store_snapshot__records=10).start()
        try:
            jm = JobManager(daemon).wait_granted()
            for round in range(4):
                for id in range(round * 10 + 1, round * 10 + 11):
                    self.expect(jm.commit(JOB, id, discarded=[id - 2] if id > 2 else []), 200)
                daemon.kill()
                daemon.start()
                state = self.expect(daemon.call("GET", f"{jm.base}/jobs/{JOB}/checkpoints"), 200)
                self.assertEqual([c["id"] for c in state["checkpoints"]], [round * 10 + 10])
                left = self.expect(daemon.call("POST", f"{jm.base}/sessions/{jm.sid}/renew", {}), 200)
                self.assertGreater(left["remaining_ms"], 200000)
                jm.stream = Stream(daemon, f"{jm.base}/sessions/{jm.sid}/events?contend=true")
                again = jm.stream.next("granted")
                self.assertEqual((again["fence"], again["leader_session"]), (jm.fence, jm.leader_session))
        finally:
            daemon.remove()

    def test_the_cli_shows_it(self):
        jm = self.leader()
        self.expect(jm.commit(JOB, 5), 200)
        cluster = self.id().split(".")[-1]
        for verb in (["status"], ["clusters"], ["jobs", cluster], ["checkpoints", cluster, JOB], ["leaders"], ["version"]):
            for output in ("table", "json", "name"):
                run = subprocess.run([CLI, "--endpoint", f"http://127.0.0.1:{self.daemon.port}", "-o", output] + verb,
                                     capture_output=True, text=True)
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertTrue(run.stdout.strip(), verb)
        run = subprocess.run([CLI, "--endpoint", "http://127.0.0.1:1", "status"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 8)
        self.assertEqual(subprocess.run([CLI, "nonsense"], capture_output=True).returncode, 2)

    def test_the_cli_leaves_a_replica_that_sleeps_for_the_one_that_leads(self):
        with socket.create_server(("127.0.0.1", 0)) as asleep:  # which the kernel connects to, and nobody answers
            silent, leader = (f"http://127.0.0.1:{port}" for port in (asleep.getsockname()[1], self.daemon.port))
            begin = time.monotonic()
            run = subprocess.run([CLI, "--endpoint", f"{silent},{leader}", "--timeout", "120", "-o", "json", "leaders"],
                                 capture_output=True, text=True)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertLess(time.monotonic() - begin, 100)
            # Alone, it is waited for.
            run = subprocess.run([CLI, "--endpoint", silent, "--timeout", "3", "leaders"], capture_output=True, text=True)
            self.assertEqual(run.returncode, 8)
            self.assertIn("timed out", run.stderr)

    def test_clusters_are_counted_and_looked_after_whatever_their_names(self):
        """A name that begins with another's comes between that cluster and what is below it."""
        with Daemon() as daemon:
            managers = [JobManager(daemon, cluster=name).wait_granted() for name in ("c", "c-1", "c.2", "d")]
            for manager in managers:
                self.assertEqual(manager.commit(JOB, 1)[0], 200)
            self.assertEqual(daemon.call("GET", "/v1/status")[1]["clusters"], 4)
            deadline = time.monotonic() + 60
            while len(daemon.call("GET", "/v1/gc/jobs")[1]["jobs"]) < 4:
                self.assertLess(time.monotonic(), deadline, "not all jobs are looked after")
                time.sleep(0.05)
            page = daemon.call("GET", "/v1/gc/jobs?limit=2")[1]
            self.assertEqual([job["cluster"] for job in page["jobs"]], ["c", "c-1"])
            page = daemon.call("GET", "/v1/gc/jobs?limit=2&after=" + page["next"].replace(" ", "%20"))[1]
            self.assertEqual(([job["cluster"] for job in page["jobs"]], "next" in page), (["c.2", "d"], False))


if __name__ == "__main__":
    unittest.main()
