"""Who may do what: every route of the table with every role, the access file and its replacement, tokens of Kubernetes."""
import hashlib
import http.client
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "rpc"))
sys.path.insert(0, os.path.dirname(HERE))
from harness import CLI, DAEMON, ROOT, Daemon, JobManager, request  # noqa: E402

JOB = "0123456789abcdef" * 2
TOKENS = {who: f"{who.replace(' ', '-')}-token-{os.urandom(12).hex()}" for who in
          ("jobmanager", "read-only", "admin", "jobmanager of others", "reader of others", "admin of others")}
RULES = [("jobmanager", "jobmanager", "default/c1"), ("read-only", "read-only", "*"), ("admin", "admin", "*"),
         ("jobmanager of others", "jobmanager", "default/c2,other/*"), ("reader of others", "read-only", "other/*"),
         ("admin of others", "admin", "other/*,default/c1x*")]

#: What each need means, written down a second time: who may, of those above, where the cluster is default/c1.
MAY = {"nothing": {"nobody", "a stranger", *TOKENS},
       "any": set(TOKENS),
       "read": {"jobmanager", "read-only", "admin"},
       "write": {"jobmanager", "admin"},
       "overview": {"read-only", "reader of others", "admin", "admin of others"},
       "admin": {"admin", "admin of others"},
       "admin-all": {"admin"}}


def routes():
    """(method, pattern, need, mutates) as the daemon itself has them."""
    lines = subprocess.run([DAEMON, "--routes"], capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    return [tuple(line.split()) for line in lines]


def filled(pattern):
    """The path with something in each of its places."""
    for name, value in (("{ns}", "default"), ("{cluster}", "c1"), ("{sid}", "f" * 32), ("{job}", JOB), ("{id}", "a" * 32),
                        ("{component}", "dispatcher")):
        pattern = pattern.replace(name, value)
    return pattern


def matrix():
    """The table of docs/security.md: a route's need, and the roles that meet it."""
    rows = []
    for method, pattern, need, _ in routes():
        marks = [" yes " if role in MAY[need] else " - " for role in ("nobody", "jobmanager", "read-only", "admin")]
        rows.append(f"| `{method} {pattern}` | {need} |" + "|".join(marks) + "|")
    return rows


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-authz-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.file = self.folder / "access"
        self.rules(*RULES)

    def rules(self, *rules, more=""):
        """The access file with these tokens' rules, replaced in one step."""
        text = "# who role clusters proof\n" + "".join(
            f"{name.replace(' ', '-')} {role}\t{clusters}  token {TOKENS[name]}\n" for name, role, clusters in rules) + more
        new = self.folder / "access.new"
        new.write_text(text)
        os.replace(new, self.file)

    def daemon(self, who="admin", **settings):
        daemon = Daemon(security_access__file=self.file, **settings)
        daemon.headers = self.headers(who)
        self.addCleanup(daemon.remove)
        return daemon.start()

    @staticmethod
    def headers(who):
        if who == "nobody":
            return {}
        return {"Authorization": "Bearer " + TOKENS.get(who, "a-stranger-has-this-token")}

    def wait(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.05)


class Matrix(Case):
    def status(self, daemon, who, method, path):
        """The status of the answer's head; some answers never end."""
        connection = daemon.connect(60)
        try:
            body = "{}" if method in ("POST", "PUT") else None
            connection.request(method, path, body, {"Content-Type": "application/json", **self.headers(who)} if body else
                               self.headers(who))
            return connection.getresponse().status
        finally:
            connection.close()

    def test_every_route_for_every_role(self):
        daemon = self.daemon()
        table = routes()
        self.assertGreater(len(table), 40)
        revision = daemon.call("GET", "/v1/status")[1]["revision"]
        asked = 0
        for method, pattern, need, _ in table:
            for who in ("nobody", "a stranger", *TOKENS):
                with self.subTest(f"{who}: {method} {pattern}"):
                    code = self.status(daemon, who, method, filled(pattern))
                    refused = 401 if who in ("nobody", "a stranger") else 403
                    others = who == "admin of others" and pattern.startswith("/v1/clusters/{ns}/{cluster}")
                    if who in MAY[need] and not others:
                        self.assertNotIn(code, (401, 403))
                    else:
                        self.assertEqual(code, refused)
                    asked += 1
        self.assertEqual(asked, len(table) * (len(TOKENS) + 2))
        self.assertEqual(daemon.call("GET", "/v1/status")[1]["revision"], revision + 1,
                         "calls without fence and body wrote more than the audit entry of the step-down")

    def test_only_healthz_answers_nobody(self):
        self.assertEqual([pattern for _, pattern, need, _ in routes() if need == "nothing"], ["/healthz"])
        daemon = self.daemon()
        for method, path in (("GET", "/"), ("GET", "/nothing/here"), ("DELETE", "/v1/clusters"), ("OPTIONS", "/v1/clusters"),
                             ("GET", "/v1/clusters/default/c1/../../../healthz"), ("GET", "/%68ealthz/x"), ("POST", "/healthz/")):
            self.assertEqual(self.status(daemon, "nobody", method, path), 401, path)
        answer = daemon.raw(b"GET /v1/clusters HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", timeout=30)[0]
        self.assertIn(b"WWW-Authenticate: Bearer\r\n", answer)

    def test_healthz_says_whether_it_is_ready_and_nothing_more(self):
        ready = self.daemon()
        self.assertEqual(ready.call("GET", "/healthz?ready=1", headers=self.headers("nobody"))[:2], (200, {"status": "OK"}))

        class Waiting(Daemon):
            """Waits for an election that nobody holds."""

            def is_ready(self):
                return self.call("GET", "/healthz")[0] == 200
        daemon = Waiting(security_access__file=self.file, election="zookeeper", election_zookeeper_quorum="127.0.0.1:1")
        self.addCleanup(daemon.remove)
        daemon.start()
        self.assertEqual(daemon.call("GET", "/healthz")[:2], (200, {"status": "OK"}))
        for query in ("?ready=1", "?ready"):
            code, answer, _ = daemon.call("GET", f"/healthz{query}")
            self.assertEqual((code, answer), (503, {"status": "UNAVAILABLE", "message": "not ready", "retry": True}))
        self.assertEqual(daemon.call("GET", "/readyz?ready=1")[0], 401)

    def test_writes_and_reads_are_of_a_need_that_fits(self):
        """A new route cannot be open to readers, or to everybody, by mistake."""
        for method, pattern, need, mutates in routes():
            if pattern == "/admission":  # an API server asks; nothing is changed
                self.assertEqual((need, mutates == "mutates"), ("any", False))
            elif mutates == "mutates" or method != "GET":
                self.assertIn(need, ("write", "admin", "admin-all"), pattern)
            if pattern.startswith("/v1/clusters/{ns}/{cluster}"):
                self.assertIn(need, ("read", "write", "admin"), pattern)

    def test_the_documents_table_is_this_one(self):
        with open(os.path.join(ROOT, "docs/security.md")) as document:
            lines = document.read().splitlines()
        self.assertEqual([line for line in lines if line.startswith("| `") and "/" in line.split("`")[1]
                          and line.split("`")[1].split()[0] in ("GET", "PUT", "POST", "DELETE")], matrix())

    def test_names_that_are_encoded_are_judged_as_they_are_meant(self):
        daemon = self.daemon()
        for path, code in (("/v1/clusters/default/%631/leader", 200), ("/v1/clusters/d%65fault/c2/leader", 403),
                           ("/v1/clusters/default/c1%2f..%2fc2/leader", 404), ("/v1/clusters/default/c2%00/leader", 404),
                           ("/v1/clusters/default/%2a/leader", 403), ("/v1/clusters/DEFAULT/c1/leader", 403)):
            self.assertEqual(self.status(daemon, "jobmanager", "GET", path), code, path)


class Scope(Case):
    def test_lists_show_what_each_may_see(self):
        daemon, managers = self.daemon(), []
        for ns, cluster in (("default", "c1"), ("default", "c2"), ("other", "c1")):
            manager = JobManager(daemon, cluster, ns).wait_granted()
            managers.append(manager)  # whose stream is closed when nobody holds it any more
            code, answer, _ = manager.call("PUT", f"/graphs/{JOB}", b"x", {"Content-Type": "application/octet-stream"})
            self.assertEqual(code, 200, answer)
            manager.commit(JOB, 1)
            self.assertIsNotNone(manager.call("DELETE", f"/jobs/{JOB}")[1]["trash"])
        seen = {}
        for who in ("admin", "read-only", "reader of others", "admin of others"):
            for path, field in (("/v1/clusters", "clusters"), ("/v1/leaders", "leaders"), ("/v1/trash", "trash")):
                listed = daemon.call("GET", path + "?limit=2", headers=self.headers(who))[1]
                names = [f"{each['namespace']}/{each['cluster']}" for each in listed[field]]
                seen[who, field] = sorted(names)
        for field in ("clusters", "leaders"):
            self.assertEqual(seen["admin", field], seen["read-only", field])
            self.assertEqual(len(seen["admin", field]), 2)
        for field in ("clusters", "leaders", "trash"):
            self.assertEqual(seen["reader of others", field], ["other/c1"])
            self.assertEqual(seen["admin of others", field], ["other/c1"])
        trash = {f"{each['namespace']}/{each['cluster']}": each["id"] for each in daemon.call("GET", "/v1/trash")[1]["trash"]}
        code, answer, _ = daemon.call("POST", f"/v1/trash/{trash['default/c2']}/restore", headers=self.headers("admin of others"))
        self.assertEqual((code, answer["status"]), (403, "FORBIDDEN"))
        self.assertEqual(daemon.call("POST", f"/v1/trash/{trash['other/c1']}/restore",
                                     headers=self.headers("admin of others"))[0], 200)

    def test_a_jobmanager_cannot_end_anothers_session(self):
        daemon = self.daemon()
        victim = JobManager(daemon).wait_granted()
        for path in ("/v1/clusters/default/c1", "/v1/clusters/default/c2", "/v1/clusters/other/x"):
            code = daemon.call("DELETE", f"{path}/sessions/{victim.sid}", headers=self.headers("jobmanager of others"))[0]
            self.assertIn(code, (403, 404, 200))
            renewed = daemon.call("POST", f"{path}/sessions/{victim.sid}/renew", {}, self.headers("jobmanager of others"))[0]
            self.assertNotEqual(renewed, 200)
        self.assertEqual(victim.commit(JOB, 1)[0], 200)


class File(Case):
    def test_it_is_followed_and_a_bad_one_is_not(self):
        daemon = self.daemon()
        self.rules(("read-only", "read-only", "*"))
        self.wait("the admin's token is gone", lambda: daemon.call("GET", "/v1/status")[0] == 401)
        daemon.headers = self.headers("read-only")
        self.assertEqual(daemon.call("GET", "/v1/status")[0], 200)
        self.file.write_text("ops admin *\n")
        self.wait("it says what is wrong", lambda: "access.reload_failed" in daemon.log_text())
        self.assertIn(f"{self.file}:1: the columns are", daemon.log_text())
        self.assertEqual(daemon.call("GET", "/v1/status")[0], 200)
        self.file.unlink()
        self.wait("it says that it is gone", lambda: "No such file" in daemon.log_text())
        self.assertEqual(daemon.call("GET", "/v1/status")[0], 200)
        self.rules(*RULES)
        self.wait("the admin is back", lambda: daemon.call("GET", "/v1/status", headers=self.headers("admin"))[0] == 200)

    def test_wrong_lines_are_named_and_their_secrets_are_not(self):
        cases = {"ops admin * token 0123456789abcde\n": ":1: a token has at least 16",
                 "\n# x\nops root * token 0123456789abcdef\n": ":3: the role is",
                 "ops admin default token 0123456789abcdef\n": ":1: the clusters are",
                 "ops admin a/b/c token 0123456789abcdef\n": ":1: the clusters are",
                 "ops admin a/b,, token 0123456789abcdef\n": ":1: the clusters are",
                 "ops admin * password 0123456789abcdef\n": ":1: the fourth column",
                 "ops admin * token-sha256 0123\n": ":1: token-sha256",
                 "ops admin * certificate ops\n": ":1: certificate is followed by",
                 "ops admin * serviceaccount x\n": ":1: serviceaccount is followed by",
                 "ops admin {namespace}/* token 0123456789abcdef\n": ":1: {namespace} is for",
                 "ops admin * token 0123456789abcdef more\n": ":1: there are more",
                 "ops jobmanager * serviceaccount a/b\n": "need security.kubernetes.audience",
                 "": "names nobody", "# nobody\n": "names nobody"}
        for text, expected in cases.items():
            with self.subTest(text):
                self.file.write_text(text)
                daemon = Daemon(security_access__file=self.file)
                self.addCleanup(daemon.remove)
                code, said = daemon.start(expect_failure=True)
                self.assertEqual(code, 2, said)
                self.assertIn(expected, said)
                self.assertNotIn("0123456789abcde", said)

    def test_tokens_can_be_kept_as_digests(self):
        token = "some-token-of-the-operators"
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.rules(more=f"ops admin * token-sha256 {digest}\n")
        TOKENS_OF_THIS = {"Authorization": "bearer " + token}
        daemon = Daemon(security_access__file=self.file)
        daemon.headers = TOKENS_OF_THIS
        self.addCleanup(daemon.remove)
        daemon.start()
        self.assertEqual(daemon.call("GET", "/v1/status")[0], 200)
        for wrong in (f"Bearer {digest}", f"Basic {token}", token, "Bearer", "Bearer ", f"Bearer {token}x", f"Bearer {token[:-1]}"):
            self.assertEqual(daemon.call("GET", "/v1/status", headers={"Authorization": wrong})[0], 401, wrong)

    def test_no_secret_is_shown(self):
        daemon = self.daemon(log_level="debug")
        for who in ("nobody", "a stranger", *TOKENS):
            daemon.call("GET", "/v1/status", headers=self.headers(who))
        shown = subprocess.run([*daemon.command(), "--print-config"], capture_output=True, text=True, timeout=30).stdout
        for secret in (*TOKENS.values(), "a-stranger-has-this-token"):
            self.assertNotIn(secret, daemon.log_text())
            self.assertNotIn(secret, shown)
        self.assertIn("access.denied status=UNAUTHENTICATED", daemon.log_text())

    def test_a_port_that_others_reach_needs_protection(self):
        for listen in ("0.0.0.0:0", "[::]:0"):
            for settings, expected in (({}, "are not set"), ({"security_access__file": self.file}, "certificate-file is not set")):
                daemon = Daemon(**{"listen": listen, **settings})
                self.addCleanup(daemon.remove)
                code, text = daemon.start(expect_failure=True)
                self.assertEqual(code, 2, text)
                self.assertIn(expected, text)
                self.assertIn("security.allow-unprotected: true", text)
        daemon = Daemon(listen="0.0.0.0:0", security_allow__unprotected="true")
        self.addCleanup(daemon.remove)
        daemon.start()
        self.assertIn("access.unprotected", daemon.log_text())


class Audit(Case):
    def test_what_admins_change_is_written_down(self):
        daemon = self.daemon()
        before = int(time.time() * 1000)
        manager = JobManager(daemon, "c1").wait_granted()  # with the admin's token: it opens a session ...
        self.assertEqual(manager.commit(JOB, 1)[0], 200)  # ... and what is fenced is a JobManager's work
        trash = manager.call("DELETE", f"/jobs/{JOB}")[1]["trash"]
        restore = f"/v1/trash/{trash}/restore"
        self.assertEqual(daemon.call("POST", restore, headers=self.headers("jobmanager"))[0], 403)
        self.assertEqual(daemon.call("POST", restore)[0], 200)
        self.assertEqual(daemon.call("POST", "/v1/step-down")[0], 409)  # alone; that it was asked is of interest all the same
        self.assertEqual(daemon.call("DELETE", f"{manager.base}/sessions/{manager.sid}")[0], 200)
        other = JobManager(daemon, "c1", contend=False)
        daemon.headers = self.headers("jobmanager")
        JobManager(daemon, "c1", contend=False)  # not an admin's doing
        daemon.headers = self.headers("admin")
        listed = daemon.call("GET", "/v1/audit")[1]["audit"]
        base = manager.base
        self.assertEqual([(each["id"], each["method"], each["path"]) for each in listed],
                         [(1, "POST", f"{base}/sessions"), (2, "POST", restore), (3, "POST", "/v1/step-down"),
                          (4, "DELETE", f"{base}/sessions/{manager.sid}"), (5, "POST", f"{base}/sessions")])
        for each in listed:
            self.assertEqual((each["who"], each["address"]), ("admin", "127.0.0.1"))
            self.assertTrue(before - 60000 <= each["at_ms"] <= int(time.time() * 1000) + 60000)
        revisions = [each["revision"] for each in listed]
        self.assertEqual(revisions, sorted(set(revisions)))
        page = daemon.call("GET", "/v1/audit?limit=2")[1]
        self.assertEqual(([each["id"] for each in page["audit"]], page["next"]), ([1, 2], "2"))
        page = daemon.call("GET", f"/v1/audit?limit=2&after={page['next']}")[1]
        self.assertEqual([each["id"] for each in page["audit"]], [3, 4])
        file = self.folder / "token"
        file.write_text(TOKENS["admin"])
        done = subprocess.run([CLI, "--endpoint", f"http://127.0.0.1:{daemon.port}", "--token-file", file, "audit"], text=True,
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 6, done.stdout)
        self.assertIn(f"POST {restore}", done.stdout)
        other.stream.close()
        daemon.kill()
        daemon.start()
        self.assertEqual(daemon.call("GET", "/v1/audit")[1]["audit"], listed)

    def test_without_security_the_admins_routes_are_written_down_still(self):
        daemon = Daemon()
        self.addCleanup(daemon.remove)
        daemon.start()
        manager = JobManager(daemon).wait_granted()
        manager.commit(JOB, 1)
        trash = manager.call("DELETE", f"/jobs/{JOB}")[1]["trash"]
        self.assertEqual(daemon.call("POST", f"/v1/trash/{trash}/restore")[0], 200)
        listed = daemon.call("GET", "/v1/audit")[1]["audit"]
        self.assertEqual([(each["who"], each["path"]) for each in listed], [("anonymous", f"/v1/trash/{trash}/restore")])


class Cli(Case):
    def cli(self, daemon, *arguments):
        done = subprocess.run([CLI, "--endpoint", f"http://127.0.0.1:{daemon.port}", *map(str, arguments)], text=True,
                              capture_output=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def test_the_cli_shows_its_token(self):
        daemon = self.daemon()
        file = self.folder / "token"
        file.write_text(TOKENS["admin"] + "\n")
        self.assertEqual(self.cli(daemon, "--token-file", file, "status")[0], 0)
        code, text = self.cli(daemon, "status")
        self.assertEqual(code, 3, text)
        self.assertIn("UNAUTHENTICATED", text)
        file.write_text(TOKENS["jobmanager"])
        code, text = self.cli(daemon, "--token-file", file, "clusters")
        self.assertEqual(code, 3, text)
        self.assertIn("FORBIDDEN", text)
        for content, expected in (("", "holds no token"), ("a b", "or more than one"), (None, "No such file")):
            file.unlink() if content is None else file.write_text(content)
            code, text = self.cli(daemon, "--token-file", file, "status")
            self.assertEqual(code, 2, text)
            self.assertIn(expected, text)


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
