"""`holdfast orphans` against a real API server: HA ConfigMaps of every layout, looked at, judged, cleaned and brought back."""
import contextlib
import json
import sys
import tempfile
import unittest
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rpc"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from base import BOUND_S, CONFLICT, CORRUPT, INVALID, NOT_FOUND, Base  # noqa: E402
from harness import Daemon  # noqa: E402
from lib import kube  # noqa: E402
from lib.failure import wait_until  # noqa: E402
from lib.leftovers import Leftovers  # noqa: E402

LAYOUTS = ("1.14", "1.20", "2.2", "2.3")
SERVER = {}


def setUpModule():
    SERVER["work"] = tempfile.TemporaryDirectory(prefix="holdfast-orphans-kube-")
    SERVER["kube"] = kube.Kube(SERVER["work"].name)
    SERVER["kube"].start()


def tearDownModule():
    SERVER["kube"].stop()
    SERVER["work"].cleanup()


class OnKubernetes(Base):
    def setUp(self):
        super().setUp()
        self.server = SERVER["kube"]
        self.api = self.server.api()
        self.namespace = f"t-{uuid.uuid4().hex[:10]}"
        self.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.user = "admin"

    def access(self):
        config = self.server.kubeconfig(f"config-{self.user}", {"token": self.server.tokens[self.user]})
        return ["--kubeconfig", config, "-n", self.namespace]

    def path(self, name=""):
        return f"/api/v1/namespaces/{self.namespace}/configmaps{'/' if name else ''}{name}"

    def maps(self):
        """name: (data, labels, annotations) of all ConfigMaps but Kubernetes' own."""
        items = self.api.call("GET", self.path())["items"]
        return {each["metadata"]["name"]: (each.get("data"), each["metadata"].get("labels"), each["metadata"].get("annotations"))
                for each in items if each["metadata"]["name"] != "kube-root-ca.crt"}

    def leftovers(self, cluster="my-app", **more):
        return Leftovers(self.storage, cluster, **more).put(self.api, self.namespace)

    def workload(self, kind, name, replicas=1, labels=None, arguments=(), group="apps"):
        labels = labels or {"app": name, "type": "flink-native-kubernetes", "component": "jobmanager"}
        pod = {"containers": [{"name": "flink-main-container", "image": "flink", "args": list(arguments)}], "restartPolicy": "Always"}
        body = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name, "labels": labels},
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                         "template": {"metadata": {"labels": labels}, "spec": pod}}}
        if kind == "StatefulSet":
            body["spec"]["serviceName"] = name
        return self.api.call("POST", f"/apis/{group}/v1/namespaces/{self.namespace}/{kind.lower()}s", body)

    def allow(self, user, rules):
        """The user may do that in the namespace."""
        group = "rbac.authorization.k8s.io"
        for kind, more in (("Role", {"rules": rules}),
                           ("RoleBinding", {"roleRef": {"apiGroup": group, "kind": "Role", "name": user},
                                            "subjects": [{"kind": "User", "name": user, "apiGroup": group}]})):
            self.api.call("POST", f"/apis/{group}/v1/namespaces/{self.namespace}/{kind.lower()}s",
                          {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": user}, **more})


class Looking(OnKubernetes):
    def test_leftovers_of_every_layout_would_revive_a_job(self):
        for layout in LAYOUTS:
            self.leftovers(f"app-{layout.replace('.', '-')}", layout=layout)
        found = self.json("list", "--wait")["clusters"]
        self.assertEqual({each["cluster"]: each["verdict"] for each in found},
                         {f"app-{layout.replace('.', '-')}": "leftover-would-revive" for layout in LAYOUTS}, found)
        for each in found:
            self.assertTrue(each["orphan"])
            self.assertFalse([name for name in each["objects"] if name.startswith("flink-config-")])

    def test_one_look_proves_nothing(self):
        self.leftovers()
        found, = self.json("list")["clusters"]
        self.assertEqual((found["verdict"], found["orphan"]), ("unknown", False))
        self.assertIn("seen-once", [reason["code"] for reason in found["reasons"]])

    def test_explain_tells_the_checkpoint(self):
        left = self.leftovers()
        self.assertIn("seen-once", self.run_cli("explain", "my-app"))
        text = self.run_cli("explain", "my-app", "--wait")
        for part in ("leftover-would-revive", left.job, "812", *left.names()):
            self.assertIn(part, text)
        evidence = self.json("explain", f"{self.namespace}/my-app")["evidence"]
        self.assertEqual({each["path"] for each in evidence["pointer"]}, {f"file:{path}" for path in left.files})
        self.assertEqual({each["next"] for each in evidence["counter"]}, {813})
        self.assertEqual(evidence["cluster"]["storage"], f"file:{self.storage.folder}")

    def test_owners_of_every_kind_keep_it(self):
        self.leftovers("by-name")
        self.workload("Deployment", "by-name")
        self.leftovers("at-rest")
        self.workload("Deployment", "at-rest", replicas=0)
        self.leftovers("by-argument")
        self.workload("StatefulSet", "other", labels={"any": "thing"},
                      arguments=["jobmanager", "-Dkubernetes.cluster-id=by-argument"])
        self.leftovers("by-file")
        self.api.call("POST", self.path(), {"metadata": {"name": "settings"},
                                            "data": {"flink-conf.yaml": "a: b\nkubernetes.cluster-id: by-file\n"}})
        body = self.workload("Deployment", "third", labels={"some": "where"}, arguments=["jobmanager"])
        volumes = [{"name": "conf", "configMap": {"name": "settings"}}]
        self.api.call("PATCH", f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{body['metadata']['name']}",
                      {"spec": {"template": {"spec": {"volumes": volumes}}}}, "application/strategic-merge-patch+json")
        verdicts = self.verdicts("--all")
        self.assertEqual(verdicts, {"by-name": "starting", "at-rest": "suspended", "by-argument": "starting",
                                    "by-file": "starting"})
        for cluster in verdicts:
            self.assertIn("nothing was touched", self.run_cli("clean", cluster, "--yes", code=CONFLICT))

    def test_a_fresh_lease_lives(self):
        self.leftovers("alive", renewed_s=0, lease_s=15)
        self.assertEqual(self.verdicts("--all"), {"alive": "live"})

    def test_what_may_not_be_read_is_kept(self):
        self.leftovers()
        self.user = "nobody"
        self.assertIn("403", self.run_cli("list", code=INVALID))
        self.allow("nobody", [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}])
        found, = self.json("list", "--wait")["clusters"]
        self.assertEqual(found["verdict"], "unknown")
        why = json.dumps(found["reasons"])
        for part in ("deployments", "pods", "403"):
            self.assertIn(part, why)
        self.assertIn("nothing was touched", self.run_cli("clean", "my-app", "--yes", code=CONFLICT))
        self.assertEqual(len(self.maps()), 3)

    def test_all_namespaces_and_one(self):
        self.leftovers()
        other = self.namespace
        self.setUp()
        self.leftovers("second")
        every = {(each["namespace"], each["cluster"]) for each in self.json("list", "-A")["clusters"]}
        self.assertGreaterEqual(every, {(other, "my-app"), (self.namespace, "second")})
        self.assertEqual([each["cluster"] for each in self.json("list")["clusters"]], ["second"])

    def test_outputs(self):
        self.leftovers()
        self.assertEqual(self.run_cli("list", "-o", "name"), f"{self.namespace}/my-app\n")
        self.assertIn("VERDICT", self.run_cli("list"))
        self.assertIn('verdict: "unknown"', self.run_cli("list", "-o", "yaml"))
        self.assertNotIn("my-app", self.run_cli("list", "--older-than", "1h"))


class Cleaning(OnKubernetes):
    def test_clean_and_undo(self):
        for layout in LAYOUTS:
            with self.subTest(layout=layout):
                cluster = f"app-{layout.replace('.', '-')}"
                left = self.leftovers(cluster, layout=layout)
                before, contents = self.maps(), {path: path.read_bytes() for path in left.files}
                plan = self.run_cli("clean", cluster, "--wait", "--dry-run")
                self.assertIn(f"plan: {len(left.names())} object(s) and {len(left.files)} file(s)", plan)
                self.assertEqual(self.maps(), before)
                done = self.json("clean", cluster, "--yes")
                self.assertEqual((done["objects"], done["files"]), (len(left.names()), len(left.files)))
                self.assertEqual(set(before) - set(self.maps()), set(left.names()))
                self.assertFalse([path for path in left.files if path.exists()])
                archive = Path(done["archive"])
                manifest = self.assert_archived(archive, contents)
                self.assertEqual(manifest["verdict"], "leftover-would-revive")
                self.assertIn(f"{self.namespace}/{cluster}", {line["cluster"] for line in self.audit()})
                self.assertIn("no HA metadata", self.run_cli("clean", cluster, "--yes", code=NOT_FOUND))
                for _ in range(2):  # the second time nothing is left to do
                    self.run_cli("undo", archive.name, "--yes")
                    self.assertEqual(self.maps(), before)
                    self.assertEqual({path: path.read_bytes() for path in left.files}, contents)

    def test_a_quarantine_leaves_the_files(self):
        left = self.leftovers()
        before, contents = self.maps(), {path: path.read_bytes() for path in left.files}
        self.assertIn("the files stay as well", self.run_cli("clean", "my-app", "--wait", "--keep-files", "--dry-run"))
        done = self.json("clean", "my-app", "--keep-files", "--yes")
        self.assertEqual((done["objects"], done["files"]), (len(left.names()), 0))
        self.assertEqual(set(before) - set(self.maps()), set(left.names()))
        self.assertEqual({path: path.read_bytes() for path in left.files}, contents)
        manifest = self.assert_archived(Path(done["archive"]), contents)
        self.assertTrue(manifest["keeps_files"])
        # Also when somebody has swept the folder meanwhile, all of it comes back.
        left.files[0].unlink()
        self.run_cli("undo", done["archive"], "--yes")
        self.assertEqual(self.maps(), before)
        self.assertEqual({path: path.read_bytes() for path in left.files}, contents)

    def test_what_the_daemon_does_by_its_policy(self):
        for policy, keeps in (("report", None), ("quarantine", True), ("clean", False)):
            with self.subTest(policy=policy):
                self.setUp()
                left = self.leftovers()
                before, contents = self.maps(), {path: path.read_bytes() for path in left.files}
                kubeconfig = self.access()[1]
                with Daemon(orphans_kubernetes="true", orphans_kubernetes_kubeconfig=kubeconfig,
                            orphans_kubernetes_namespace=self.namespace, orphans_interval="1s", orphans_min__age="1s",
                            orphans_policy=policy, orphans_state__dir=self.state) as daemon:
                    def told(field, daemon=daemon):
                        return [each for each in daemon.call("GET", "/v1/orphans")[1]["clusters"] if each[field]]
                    if keeps is None:
                        wait_until(lambda: told("orphan"), 60, "the leftovers to be found", poll=0.2)
                        self.assertEqual(self.maps(), before)
                        continue
                    wait_until(lambda names=set(left.names()): not names & set(self.maps()), 60, "the leftovers to go", poll=0.2)
                    wait_until(lambda: any((path / "cleaned").exists() for path in self.archives()), 60, "the clean-up to end")
                archive, = self.archives()
                self.assert_archived(archive, contents)
                self.assertEqual({path for path in left.files if path.exists()}, set(left.files) if keeps else set())
                self.run_cli("undo", archive.name, "--yes")
                self.assertEqual(self.maps(), before)
                self.assertEqual({path: path.read_bytes() for path in left.files}, contents)

    def test_nothing_without_a_word(self):
        self.leftovers()
        before = self.maps()
        self.assertIn("say --yes", self.run_cli("clean", "my-app", "--wait", code=INVALID))
        self.assertEqual((self.maps(), self.archives()), (before, []))

    def test_undo_refuses_when_the_name_is_used_again(self):
        left = self.leftovers()
        archive = self.json("clean", "my-app", "--wait", "--yes")["archive"]
        name = left.names()[-1]
        self.api.call("POST", self.path(), {"metadata": {"name": name}, "data": {"counter": "7"}})
        before = self.maps()
        self.assertIn("another one has that name", self.run_cli("undo", archive, "--yes", code=CONFLICT))
        self.assertEqual(self.maps(), before)
        self.assertFalse([path for path in left.files if path.exists()])
        self.api.call("DELETE", self.path(name))
        self.run_cli("undo", archive, "--yes")
        self.assertTrue(all(path.exists() for path in left.files))

    def test_a_damaged_archive_is_not_believed(self):
        self.leftovers()
        archive = Path(self.json("clean", "my-app", "--wait", "--yes")["archive"])
        victim = archive / "files" / "0001"
        victim.write_bytes(victim.read_bytes() + b"x")
        self.assertIn("SHA-256", self.run_cli("undo", archive, "--yes", code=CORRUPT))
        self.assertEqual(len(self.maps()), 1)

    def test_files_on_storage_that_is_not_here_stay(self):
        left = Leftovers(self.storage, "my-app")
        for each in left.config_maps():
            text = json.dumps(each["data"])
            self.assertIn("my-app", each["metadata"]["name"])
            self.api.call("POST", self.path(), {**each, "data": json.loads(text)})
        (self.scratch / "ha").rename(self.scratch / "away")
        done = self.json("clean", "my-app", "--wait", "--yes")
        self.assertEqual((done["objects"], done["files"]), (2, 0))
        self.run_cli("undo", done["archive"], "--yes")
        self.assertEqual(len(self.maps()), 3)

    def test_what_may_not_be_deleted_is_found_before_anything_goes(self):
        self.leftovers()
        before = self.maps()
        self.user = "nobody"
        everything = [("", ["configmaps", "pods"]), ("apps", ["deployments", "statefulsets"]), ("batch", ["jobs"]),
                      ("flink.apache.org", ["flinkdeployments", "flinksessionjobs"])]
        self.allow("nobody", [{"apiGroups": [group], "resources": resources, "verbs": ["get", "list"]}
                              for group, resources in everything])
        self.assertIn("403", self.run_cli("clean", "my-app", "--wait", "--yes", code=INVALID))
        self.assertEqual(self.maps(), before)


class Hooked(list):
    """The proxy's list of requests; `hook` is called with each before it goes on."""

    hook = None

    def append(self, request):
        super().append(request)
        if self.hook:
            self.hook(request[1], request[2])


class Changes(OnKubernetes):
    """The proxy lets something happen between two requests, or answers itself."""

    def setUp(self):
        super().setUp()
        self.proxy = kube.Proxy(self.server)
        self.hooked = self.proxy.requests = Hooked()
        self.addCleanup(self.proxy.close)

    def access(self):
        config = self.server.kubeconfig("config-proxy", {"token": self.server.tokens[self.user]}, server=self.proxy.url)
        return ["--kubeconfig", config, "-n", self.namespace]

    def at(self, method, part, number, action):
        """Once, before request `number` of those with that method and a path with that part."""
        seen = []

        def hook(a_method, path):
            if a_method == method and part in path:
                seen.append(path)
                if len(seen) == number:
                    action()
        self.hooked.hook = hook
        return seen

    def change(self, name):
        self.api.call("PATCH", self.path(name), {"data": {"counter": "900"}}, "application/merge-patch+json")

    def refused(self, left, text):
        """Nothing was touched, and a second clean-up is a fresh one."""
        before = self.maps()
        self.assertIn(text, self.run_cli("clean", "my-app", "--wait", "--yes", code=CONFLICT))
        self.assertTrue(all(path.exists() for path in left.files))
        return before

    def test_a_change_while_it_is_archived(self):
        left = self.leftovers()
        job = left.names()[1]
        self.run_cli("list", "--wait")
        seen = self.at("GET", f"configmaps/{job}", 1, lambda: self.change(job))
        before = self.refused(left, "has changed since")
        self.assertTrue(seen)
        self.assertEqual(set(self.maps()), set(before))

    def test_an_owner_that_comes_meanwhile(self):
        left = self.leftovers()
        job = left.names()[1]
        self.run_cli("list", "--wait")
        self.at("GET", f"configmaps/{job}", 1, lambda: self.workload("Deployment", "my-app"))
        before = self.refused(left, "nothing was touched")
        self.assertEqual(self.maps(), before)

    def test_a_change_before_the_first_delete(self):
        left = self.leftovers()
        self.run_cli("list", "--wait")
        seen = self.at("DELETE", "configmaps/", 1, lambda: self.change(left.names()[1]))
        before = self.refused(left, "409")
        self.assertEqual(len(seen), 2)  # both of them dry runs
        self.assertEqual(set(self.maps()), set(before))

    def test_a_change_after_the_first_delete_brings_back_what_went(self):
        left = self.leftovers()
        self.run_cli("list", "--wait")
        seen = self.at("DELETE", "configmaps/", 4, lambda: self.change(left.names()[1]))
        before = self.refused(left, "409")
        self.assertEqual(len(seen), 4)
        after = self.maps()
        self.assertEqual(after.pop(left.names()[1])[0]["counter"], "900")
        before.pop(left.names()[1])
        self.assertEqual(after, before)
        self.hooked.hook = None
        self.run_cli("clean", "my-app", "--wait", "--yes")
        self.assertEqual(len(self.maps()), 1)

    def test_a_server_that_fails_for_a_while(self):
        self.leftovers()
        self.proxy.fault("*", code=503, count=3)
        self.proxy.fault("*", code=429, retry_after=1, count=1)
        self.assertEqual(self.verdicts(), {"my-app": "leftover-would-revive"})
        self.proxy.fault("DELETE", lose_answer=True, count=1)
        self.proxy.fault("DELETE", code=500, count=1)
        self.run_cli("clean", "my-app", "--yes")
        self.assertEqual(len(self.maps()), 1)

    def test_pages_and_a_list_that_has_expired(self):
        body = {"type": "flink-native-kubernetes"}
        for number in range(520):
            self.api.call("POST", self.path(), {"metadata": {"name": f"c{number:04d}-cluster-config-map", "labels": body}})
        gone = self.proxy.fault("GET", code=410, count=1, part="continue=")
        found = self.json("list")["clusters"]
        self.assertEqual([each["cluster"] for each in found], [f"c{number:04d}" for number in range(520)])
        self.assertEqual(len(gone.hits), 1)
        pages = [path for _, _, path, _ in self.proxy.requests if "configmaps?" in path]
        self.assertEqual(len(pages), 5)  # one, none, and all three again


class Operator(OnKubernetes):
    """Resources of Flink's operator, and pods."""

    GROUP = "flink.apache.org"

    def setUp(self):
        super().setUp()
        self.api.define(self.GROUP, "v1beta1", "FlinkDeployment", "FlinkSessionJob")

    def resource(self, kind, name, spec, status=None):
        self.api.call("POST", f"/apis/{self.GROUP}/v1beta1/namespaces/{self.namespace}/{kind.lower()}s",
                      {"apiVersion": f"{self.GROUP}/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec,
                       "status": status or {}})

    def pod(self, name, cluster, running):
        labels = {"app": cluster, "type": "flink-native-kubernetes", "component": "jobmanager"}
        place = f"/api/v1/namespaces/{self.namespace}/pods"
        self.api.call("POST", place, {"metadata": {"name": name, "labels": labels},
                                      "spec": {"containers": [{"name": "flink-main-container", "image": "flink"}]}})
        if running:
            state = {"name": "flink-main-container", "image": "flink", "imageID": "", "ready": True, "restartCount": 0,
                     "state": {"running": {}}}
            self.api.call("PATCH", f"{place}/{name}/status", {"status": {"phase": "Running", "containerStatuses": [state]}},
                          "application/merge-patch+json")

    def test_resources_and_pods_keep_it(self):
        job = {"jarURI": "local:///job.jar", "upgradeMode": "last-state"}
        for cluster in ("resting", "wanted", "session", "starting", "running", "forgotten"):
            self.leftovers(cluster)
        self.resource("FlinkDeployment", "resting", {"job": {**job, "state": "suspended"}})
        self.resource("FlinkDeployment", "wanted", {"job": {**job, "state": "running"}},
                      {"lifecycleState": "UPGRADING", "reconciliationStatus": {"state": "UPGRADING"}})
        self.resource("FlinkSessionJob", "a-job", {"deploymentName": "session", "job": job})
        self.pod("jm-1", "starting", False)
        self.pod("jm-2", "running", True)
        found = self.json("list", "--wait", "--all")["clusters"]
        verdicts = {each["cluster"]: each["verdict"] for each in found}
        self.assertEqual(verdicts.pop("forgotten"), "leftover-would-revive")
        self.assertEqual({each["cluster"] for each in found if each["orphan"]}, {"forgotten"})
        self.assertEqual({cluster: verdicts[cluster] for cluster in ("resting", "wanted", "starting", "running")},
                         {"resting": "suspended", "wanted": "starting", "starting": "starting", "running": "live"})
        codes = {reason["code"] for each in found if each["cluster"] == "wanted" for reason in each["reasons"]}
        self.assertIn("upgrading", codes)


class Watching(OnKubernetes):
    """The daemon looks when an owner comes or goes; its own interval is an hour here."""

    def setUp(self):
        super().setUp()
        self.api.define("flink.apache.org", "v1beta1", "FlinkDeployment", "FlinkSessionJob")

    def daemon(self, through=None, **more):
        kubeconfig = self.access()[1]
        if through is not None:
            kubeconfig = self.server.kubeconfig("config-watching", {"token": self.server.tokens["admin"]}, server=through.url)
        daemon = Daemon(orphans_kubernetes="true", orphans_kubernetes_kubeconfig=kubeconfig, orphans_interval="1h",
                        orphans_kubernetes_namespace=self.namespace, orphans_min__age="1s", orphans_state__dir=self.state,
                        log_level="debug", **more)
        self.addCleanup(daemon.remove)
        daemon.start()
        wait_until(lambda: self.looks(daemon) > 0, BOUND_S, "the first look")
        return daemon

    def metric(self, daemon, name):
        text = daemon.call("GET", "/metrics")[1].decode()
        return int(next(line for line in text.splitlines() if line.startswith(f"holdfast_orphans_{name} ")).split()[1])

    def looks(self, daemon):
        return self.metric(daemon, "looks_total")

    def wait_watches(self, daemon):
        wait_until(lambda: self.metric(daemon, "watches") == 5, BOUND_S, "all kinds to be watched")

    def lists(self, proxy):
        """Where the watch of Deployments began."""
        return [path for _, _, path, _ in proxy.requests if path.endswith("/deployments?limit=1")]

    def reasons(self, daemon):
        cluster, = daemon.call("GET", "/v1/orphans")[1]["clusters"]
        return cluster["verdict"], {reason["code"] for reason in cluster["reasons"]}

    def delete(self, name):
        self.api.call("DELETE", f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}")

    def test_an_owner_that_is_deleted_is_missed_at_once(self):
        self.leftovers()
        self.workload("Deployment", "my-app")
        daemon = self.daemon()
        self.wait_watches(daemon)
        self.assertEqual(self.reasons(daemon)[0], "starting")
        self.delete("my-app")
        wait_until(lambda: self.reasons(daemon) == ("unknown", {"seen-once"}), BOUND_S, lambda: f"a look: {self.reasons(daemon)}")
        self.workload("Deployment", "my-app")
        wait_until(lambda: self.reasons(daemon)[0] == "starting", BOUND_S, lambda: f"a look: {self.reasons(daemon)}")

    def test_a_watch_that_breaks_goes_on_where_it_was(self):
        self.leftovers()
        self.workload("Deployment", "my-app")
        proxy = kube.Proxy(self.server)
        self.addCleanup(proxy.close)
        daemon = self.daemon(proxy)
        self.wait_watches(daemon)
        self.server.kill()
        wait_until(lambda: self.metric(daemon, "watches") == 0, BOUND_S, "the watches to end")
        self.server.restart()
        self.delete("my-app")  # before, or while, it comes back
        self.wait_watches(daemon)
        wait_until(lambda: self.reasons(daemon)[0] == "unknown", BOUND_S, "a look")
        self.assertGreater(self.metric(daemon, "watch_resumed_total"), 0)
        # Of kinds that the server learns from a definition it may have forgotten the version.
        self.assertEqual(len(self.lists(proxy)), 1)

    def test_a_version_that_is_forgotten_begins_anew_with_a_look(self):
        self.leftovers()
        proxy = kube.Proxy(self.server)
        self.addCleanup(proxy.close)
        proxy.fault("GET", 410, watch=True, part="/deployments?", count=1)
        daemon = self.daemon(proxy)
        # It was never open, so nothing can have been missed: no look for that.
        self.wait_watches(daemon)
        self.assertEqual(self.looks(daemon), 1)
        self.assertEqual(len(self.lists(proxy)), 2)
        # Now something may have been.
        fault = proxy.fault("GET", 410, watch=True, part="/deployments?", count=1)
        self.server.kill()
        wait_until(lambda: fault.hits, BOUND_S, "the answer that the version is forgotten")
        self.server.restart()
        wait_until(lambda: self.looks(daemon) >= 2, BOUND_S, "a look")
        self.wait_watches(daemon)
        self.assertGreaterEqual(len(self.lists(proxy)), 3)  # and more while the server was away
        # No ConfigMap is watched: each leader writes its own every few seconds.
        self.assertEqual([path for _, _, path, _ in proxy.requests if "watch=1" in path and "configmaps" in path], [])

    def test_without_the_right_to_watch_it_looks_now_and_then(self):
        self.leftovers()
        proxy = kube.Proxy(self.server)
        self.addCleanup(proxy.close)
        fault = proxy.fault("GET", 403, watch=True)
        daemon = self.daemon(proxy)
        wait_until(lambda: len(fault.hits) >= 5, BOUND_S, "the refusals")
        wait_until(lambda: "kubernetes.watch_refused resource=deployments" in daemon.log_text(), BOUND_S, "a word about it")
        self.assertEqual((self.metric(daemon, "watches"), self.looks(daemon)), (0, 1))

    def test_it_can_be_switched_off(self):
        proxy = kube.Proxy(self.server)
        self.addCleanup(proxy.close)
        self.daemon(proxy, orphans_watch="false")
        self.assertEqual([path for _, _, path, _ in proxy.requests if "watch=1" in path], [])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        unittest.main(verbosity=2)
