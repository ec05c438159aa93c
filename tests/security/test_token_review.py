"""Tokens of service accounts, asked of a real API server: whose they are, how long that holds, what happens while it is away."""
import os
import shutil
import socket
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "rpc"))
sys.path.insert(0, os.path.dirname(HERE))
from harness import Daemon, JobManager  # noqa: E402
from lib.kube import NAMESPACE, Kube, Proxy, Refused  # noqa: E402

JOB = "0123456789abcdef" * 2
AUDIENCE = "holdfast"
OWN, OTHER = f"/v1/clusters/{NAMESPACE}/c1", "/v1/clusters/default/c1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
OPS = {"Authorization": "Bearer the-token-of-the-operators"}


class TokenReview(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = Path(tempfile.mkdtemp(prefix="holdfast-review-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        cls.kube = Kube(cls.work).start()
        cls.addClassCleanup(cls.kube.stop)
        admin = cls.kube.api()
        admin.call("POST", f"{RBAC}/clusterroles", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "holdfast-reviews"},
            "rules": [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]})
        admin.call("POST", f"{RBAC}/clusterrolebindings", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "holdfast-reviews"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "holdfast-reviews"},
            "subjects": [{"kind": "User", "name": "replica", "apiGroup": "rbac.authorization.k8s.io"}]})
        cls.access = cls.work / "access"
        cls.access.write_text("ops admin * token the-token-of-the-operators\n"
                              "flink jobmanager {namespace}/* serviceaccount */flink*\n")
        cls.proxy = Proxy(cls.kube)
        cls.addClassCleanup(cls.proxy.close)
        cls.wait_for("the right to review", lambda: cls.reviewable())

    @classmethod
    def reviewable(cls):
        try:
            cls.kube.api("replica").call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}})
            return True
        except Refused:
            return False

    @staticmethod
    def wait_for(what, condition, seconds=120):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(what)
            time.sleep(0.05)

    def setUp(self):
        self.proxy.mend()
        del self.proxy.requests[:]

    def token(self, name="flink", audiences=(AUDIENCE,)):
        api = self.kube.api()
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        try:
            api.call("POST", path, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
        except Refused as refused:
            self.assertEqual(refused.code, 409)
        spec = {"expirationSeconds": 3600, **({"audiences": list(audiences)} if audiences else {})}
        return api.call("POST", f"{path}/{name}/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                                                         "spec": spec})["status"]["token"]

    def daemon(self, user=None, **settings):
        config = self.kube.kubeconfig(f"{self.id()}.yaml", server=self.proxy.url, user=user)
        daemon = Daemon(security_access__file=self.access, security_kubernetes_audience=AUDIENCE,
                        security_kubernetes_kubeconfig=config, **settings)
        daemon.headers = OPS
        self.addCleanup(daemon.remove)
        return daemon.start()

    def reviews(self):
        return sum(path.endswith("/tokenreviews") for _, _, path, _ in self.proxy.requests)

    @staticmethod
    def get(daemon, path, token):
        code, answer, _ = daemon.call("GET", path, headers={"Authorization": f"Bearer {token}"})
        return code, answer.get("message", "")

    def test_whose_token_it_is_decides(self):
        daemon = self.daemon()
        good, stranger = self.token(), self.token("somebody")
        self.assertEqual(self.get(daemon, OWN + "/leader", good)[0], 200)
        self.assertEqual(self.get(daemon, OTHER + "/leader", good)[0], 403)
        self.assertEqual(self.get(daemon, "/v1/status", good)[0], 403)
        for token, why in ((stranger, "not among those of the access file"), (self.token(audiences=("else",)), "audience"),
                           (self.token(audiences=()), "audience"), (good + "x", "does not know"), ("garbage", "does not know"),
                           (self.kube.tokens["nobody"], "does not know")):
            code, message = self.get(daemon, OWN + "/leader", token)
            self.assertEqual(code, 401, message)
            self.assertIn(why, message)
        for token in (good, stranger):
            self.assertNotIn(token[-40:], daemon.log_text())

    def test_a_verdict_is_remembered(self):
        daemon = self.daemon(security_kubernetes_cache="10min")
        good, bad = self.token(), "no-token-at-all"
        for _ in range(20):
            self.assertEqual(self.get(daemon, OWN + "/leader", good)[0], 200)
            self.assertEqual(self.get(daemon, OWN + "/leader", bad)[0], 401)
        self.assertLessEqual(self.reviews(), 1 + 20)  # a refusal holds for 10 s only
        self.assertEqual(sum(1 for _ in range(20) if self.get(daemon, OWN + "/leader", good)[0] == 200), 20)
        reviews = self.reviews()
        self.get(daemon, OWN + "/leader", good)
        self.assertEqual(self.reviews(), reviews)

    def test_without_memory_each_request_asks(self):
        daemon = self.daemon(security_kubernetes_cache="0")
        good = self.token("flink-short")
        self.assertEqual(self.get(daemon, OWN + "/leader", good)[0], 200)
        self.kube.api().call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/flink-short")
        self.wait_for("a deleted account is refused", lambda: self.get(daemon, OWN + "/leader", good)[0] == 401)

    def test_a_review_loses_no_byte_of_the_request(self):
        daemon = self.daemon(security_kubernetes_cache="0")  # each of these is reviewed
        daemon.headers = {"Authorization": f"Bearer {self.token()}"}
        manager = JobManager(daemon, "c1", NAMESPACE, ttl_ms=120000).wait_granted(60)
        payload = os.urandom(3 * 1024 * 1024)
        code, answer, _ = manager.call("PUT", f"/graphs/{JOB}", payload, {"Content-Type": "application/octet-stream"})
        self.assertEqual(code, 200, answer)
        self.assertEqual(manager.call("GET", f"/graphs/{JOB}")[1], payload)
        self.assertEqual(manager.commit(JOB, 1)[0], 200)
        head = f"Host: x\r\nAuthorization: {daemon.headers['Authorization']}\r\n"
        one = f"GET {OWN}/leader HTTP/1.1\r\n{head}\r\n"
        body = '{"session":"%s","holder":"test:%s","ttl_ms":120000}' % (manager.sid, manager.sid[:4])
        post = (f"POST {OWN}/sessions HTTP/1.1\r\n{head}Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}")
        last = f"GET {OWN}/leader HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as link:
            link.sendall((one + post + one + last).encode())
            received = b""
            while piece := link.recv(65536):
                received += piece
        self.assertEqual(received.count(b"HTTP/1.1 200 OK"), 4, received)

    def test_jobs_live_on_while_the_api_server_is_away(self):
        daemon = self.daemon(security_kubernetes_cache="100ms", security_kubernetes_stale="10min")
        good = self.token()
        self.assertEqual(self.get(daemon, OWN + "/leader", good)[0], 200)
        self.proxy.fault("POST", code=503)
        time.sleep(0.2)  # the cache is over
        for _ in range(3):
            self.assertEqual(self.get(daemon, OWN + "/leader", good)[0], 200)
        code, message = self.get(daemon, OWN + "/leader", self.token("flink-new"))
        self.assertEqual(code, 503, message)
        self.assertIn("API server", message)
        self.assertIn("access.reviews_away", daemon.log_text())
        self.assertEqual(daemon.call("GET", "/v1/status")[0], 200)  # whom the file names is not concerned
        self.proxy.mend()
        self.assertEqual(self.get(daemon, OWN + "/leader", self.token("flink-new"))[0], 200)
        self.assertIn("access.reviews_back", daemon.log_text())

    def test_but_not_for_ever(self):
        daemon = self.daemon(security_kubernetes_cache="50ms", security_kubernetes_stale="2s")
        good = self.token()
        self.assertEqual(self.get(daemon, OWN + "/leader", good)[0], 200)
        self.proxy.fault("POST", code=503)
        self.wait_for("what was said last holds no more", lambda: self.get(daemon, OWN + "/leader", good)[0] == 503)

    def test_the_right_to_ask_is_named_when_it_is_missing(self):
        daemon = self.daemon(user={"token": self.kube.tokens["nobody"]})
        code, message = self.get(daemon, OWN + "/leader", self.token())
        self.assertEqual(code, 503)
        self.assertIn("tokenreviews", message)

    def test_clients_that_leave_and_a_stop_meanwhile(self):
        daemon = self.daemon()
        tokens = [self.token(f"flink-{number}") for number in range(4)]
        self.kube.pause()
        self.addCleanup(self.kube.resume)
        links = []
        for token in tokens:
            link = socket.create_connection(("127.0.0.1", daemon.port), timeout=60)
            link.sendall(f"GET {OWN}/leader HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            links.append(link)
        self.wait_for("the daemon asks", lambda: self.reviews() >= 2)
        for link in links[:2]:
            link.close()
        self.assertEqual(daemon.stop(), 0)
        for link in links[2:]:
            link.close()


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
