"""Whose JobManager it is, as the plugin finds out: objects on a real API server, and service accounts that may read more or less."""
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[0]))
from lib import kube, maven  # noqa: E402
from lib.failure import wait_until  # noqa: E402
from lib.ports import free_port  # noqa: E402

NS = kube.NAMESPACE
RBAC = "rbac.authorization.k8s.io"
HASH = "5d4f8c7b9"
#: What a JobManager's service account may read: by the documentation, as the operator's chart has it, less, and nothing.
ACCOUNTS = {"documented": ("pods", "deployments", "replicasets", "statefulsets", "jobs"), "operator": ("pods", "deployments"),
            "pods-only": ("pods",), "nothing": ()}
GROUPS = {"pods": "", "jobs": "batch"}
POD = {"containers": [{"name": "flink-main-container", "image": "flink"}]}


class Owner(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="holdfast-owner-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.server = kube.Kube(cls.folder)
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()
        cls.api = cls.server.api()
        for name, resources in ACCOUNTS.items():
            cls.account(name, resources)
        jars = [maven.plugin_jar(), *maven.flink_lib(maven.flink_version("1.20")).glob("*.jar")]
        path = ":".join(map(str, [cls.folder, *jars]))
        subprocess.run(["javac", "--release", "11", "-cp", path, "-d", cls.folder, HERE / "OwnerProbe.java"], check=True, timeout=300)
        cls.log = open(cls.folder / "log", "w+", encoding="utf-8")
        cls.addClassCleanup(cls.log.close)
        (cls.folder / "log4j.properties").write_text(
            "rootLogger.level = INFO\nrootLogger.appenderRef.c.ref = c\nappender.c.type = Console\nappender.c.name = c\n"
            "appender.c.target = SYSTEM_ERR\nappender.c.layout.type = PatternLayout\nappender.c.layout.pattern = %p %m%n\n", "utf-8")
        cls.probe = subprocess.Popen(
            ["java", "-Xmx128m", f"-Dlog4j.configurationFile={cls.folder}/log4j.properties", "-cp", path, "io.holdfast.flink.OwnerProbe"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=cls.log, text=True, bufsize=1)
        cls.addClassCleanup(cls.end)

    @classmethod
    def end(cls):
        cls.probe.stdin.close()
        cls.probe.wait(60)
        cls.probe.stdout.close()

    @classmethod
    def account(cls, name, resources):
        """A service account, and the folder that a pod of it gets."""
        rules = [{"apiGroups": [GROUPS.get(resource, "apps")], "resources": [resource], "verbs": ["get"]} for resource in resources]
        cls.api.apply([
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
            {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules},
            {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": name},
             "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
             "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NS}]}])
        token = cls.server.account_token(name)
        cls.server.account_folder(cls.folder / name, token)
        if not resources:
            return

        def may():
            try:
                cls.server.api(token=token).call("GET", f"/api/v1/namespaces/{NS}/pods/none")
            except kube.Refused as refused:
                return refused.code == 404
            return False
        wait_until(may, 120, f"the rights of {name} to hold", poll=0.05)

    def ask(self, line):
        self.probe.stdin.write(line + "\n")
        answer = self.probe.stdout.readline().strip()
        self.assertTrue(answer, "the probe has ended: " + (self.folder / "log").read_text("utf-8")[-2000:])
        return answer

    def of_pod(self, pod, account="documented", server=None, patience_ms=60000):
        return self.ask(f"ask {server or self.server.url} {self.folder / account} {pod} {patience_ms}")

    def said(self):
        return (self.folder / "log").read_text("utf-8")

    def make(self, place, kind, name, owner=None, version="apps/v1", labels=None, spec=None, controller=True):
        metadata = {"name": name, "labels": labels or {}}
        if owner:
            metadata["ownerReferences"] = [{**owner, "controller": controller, "blockOwnerDeletion": False}]
        made = self.api.call("POST", place, {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
        return {"apiVersion": version, "kind": kind, "name": name, "uid": made["metadata"]["uid"]}

    def apps(self, kind, name, owner=None, labels=None, **more):
        labels = {"app": name, **(labels or {})}
        spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": POD}}
        if kind == "StatefulSet":
            spec["serviceName"] = name
        return self.make(f"/apis/apps/v1/namespaces/{NS}/{kind.lower()}s", kind, name, owner, labels=labels, spec=spec, **more)

    def pod(self, name, owner=None, labels=None):
        return self.make(f"/api/v1/namespaces/{NS}/pods", "Pod", name, owner, "v1", labels, POD)

    def deployed(self, name, owner=None, **more):
        """A Deployment with its ReplicaSet and pod."""
        deployment = self.apps("Deployment", name, owner, **more)
        labels = {"pod-template-hash": HASH}
        self.pod(f"{name}-{HASH}-x2x4z", self.apps("ReplicaSet", f"{name}-{HASH}", deployment, labels), labels)
        return deployment, f"{name}-{HASH}-x2x4z"

    def test_the_deployment_of_a_pod(self):
        deployment, pod = self.deployed("orders")
        for account in ("documented", "operator"):  # the second may not read ReplicaSets
            with self.subTest(account):
                self.assertEqual(self.of_pod(pod, account), f"{deployment['uid']} Deployment {NS}/orders")

    def test_the_flink_deployment_above_it_which_outlives_the_deployment(self):
        resource = {"apiVersion": "flink.apache.org/v1beta1", "kind": "FlinkDeployment", "name": "billing",
                    "uid": "7d444840-9dc0-11d1-b245-5ffdce74fad2"}
        _, pod = self.deployed("billing", resource, controller=False)  # as the operator writes it
        for account in ("documented", "operator"):
            with self.subTest(account):
                self.assertEqual(self.of_pod(pod, account), f"{resource['uid']} FlinkDeployment {NS}/billing")

    def test_stateful_sets_and_jobs(self):
        stateful = self.apps("StatefulSet", "clicks")
        self.pod("clicks-0", stateful)
        self.assertEqual(self.of_pod("clicks-0"), f"{stateful['uid']} StatefulSet {NS}/clicks")
        job = self.make(f"/apis/batch/v1/namespaces/{NS}/jobs", "Job", "batch", version="batch/v1",
                        spec={"template": {"spec": {**POD, "restartPolicy": "Never"}}})
        self.pod("batch-abcde", job)
        self.assertEqual(self.of_pod("batch-abcde"), f"{job['uid']} Job {NS}/batch")

    def test_who_may_not_read_it_goes_without_and_says_so(self):
        _, pod = self.deployed("secret")
        for account, text in (("pods-only", "deployments/secret"), ("nothing", f"pods/{pod}")):
            with self.subTest(account):
                begin = time.monotonic()
                self.assertEqual(self.of_pod(pod, account), "none")
                self.assertLess(time.monotonic() - begin, 50, "it asked again, though it was refused")
                last = self.said().splitlines()[-1]
                for part in ("WARN", text, "403", "holdfast.owner"):
                    self.assertIn(part, last)

    def test_pods_that_are_nobody_s_or_not_there(self):
        self.pod("bare")
        self.assertEqual(self.of_pod("bare"), "none")
        self.assertIn("has no owner", self.said().splitlines()[-1])
        self.assertEqual(self.of_pod("not-there"), "none")
        self.assertIn("404", self.said().splitlines()[-1])

    def test_a_server_that_does_not_answer_holds_nobody_up(self):
        begin = time.monotonic()
        self.assertEqual(self.of_pod("x", server=f"https://127.0.0.1:{free_port()}", patience_ms=1500), "none")
        took = time.monotonic() - begin
        self.assertGreater(took, 1.4, "it was not asked again")
        self.assertLess(took, 60)
        self.server.pause()
        try:
            self.assertEqual(self.of_pod("x", patience_ms=1000), "none")
        finally:
            self.server.resume()
            self.server.wait_ready()

    def test_a_stranger_is_not_believed(self):
        """Another API server's certificate."""
        other = kube.Authority(self.folder / "other", "other-ca")
        folder = self.folder / "misled"
        shutil.copytree(self.folder / "documented", folder)
        shutil.copy(other.certificate, folder / "ca.crt")
        _, pod = self.deployed("misled")
        self.assertEqual(self.of_pod(pod, "misled", patience_ms=1000), "none")

    def test_settings_come_first(self):
        for line, answer in (("find", "none"), ("find holdfast.owner=team-a", "team-a team-a"), ("find holdfast.owner=none", "none"),
                             ("find HOLDFAST_OWNER=release-7", "release-7 release-7"), ("find HOLDFAST_OWNER=none", "none"),
                             ("find holdfast.owner=team-a HOLDFAST_OWNER=release-7", "team-a team-a"),
                             ("find holdfast.owner=none KUBERNETES_SERVICE_HOST=127.0.0.1", "none")):
            with self.subTest(line):
                self.assertEqual(self.ask(line), answer)


if __name__ == "__main__":
    unittest.main()
