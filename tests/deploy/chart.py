#!/usr/bin/env python3
"""The Helm chart and the manifests made from it: rendered in every variant, taken by a real API server, and the daemon run as
a kubelet would run it, with exactly the chart's service account, rights, settings and mounts.

--write makes deploy/manifests/holdfast.yaml again.
"""
import contextlib
import copy
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import golang, kube  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.leftovers import Leftovers, Storage  # noqa: E402
from lib.paths import BUILD, CACHE, ROOT, cache_lock  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.process import Process  # noqa: E402
from lib.s3 import S3  # noqa: E402

HELM, HELM_VERSION = "helm.sh/helm/v3/cmd/helm", "v3.21.4"
KUBERNETES = "1.36.3"
CHART = ROOT / "deploy" / "helm" / "holdfast"
MANIFEST = ROOT / "deploy" / "manifests" / "holdfast.yaml"
RBAC = "rbac.authorization.k8s.io"
PATIENCE_S = 120
TOKEN = "the-token-of-the-operators"

#: Values beside the chart's own; each is rendered, checked and applied.
VARIANTS = {
    "default": {},
    "folder": {"replicas": 1, "store": {"uri": "file:///var/lib/holdfast", "existingSecret": ""}, "persistence": {"enabled": True}},
    "unprotected": {"tls": {"enabled": False}, "access": {"enabled": False}, "allowUnprotected": True},
    "mutual TLS": {"tls": {"clientCaKey": "ca.crt", "clientCertificateRequired": True}},
    "HDFS": {"store": {"uri": "hdfs://cluster/holdfast", "credentialsKey": ""},
             "config": {"hdfs.namenodes": "http://nn1:9870,http://nn2:9870",
                        "hdfs.kerberos.keytab": "/etc/holdfast/storage/keytab"}},
    "OSS, workload identity": {"store": {"uri": "oss://bucket/holdfast", "existingSecret": ""},
                               "config": {"oss.region": "cn-hangzhou", "oss.credentials": "web-identity"},
                               "serviceAccount": {"annotations": {"pod-identity.alibabacloud.com/role-name": "holdfast"}}},
    "ZooKeeper": {"config": {"election": "zookeeper", "election.zookeeper.quorum": "zk-0.zk:2181"}},
    "looks at one namespace": {"orphans": {"enabled": True, "namespace": "holdfast"}},
    "everything": {"orphans": {"enabled": True, "policy": "clean"}, "persistence": {"enabled": True, "storageClassName": "fast"},
                   "webhook": {"enabled": True, "policy": "refuse", "caBundle": "LS0tLS0="}, "access": {"tokenReviewAudience": "holdfast"},
                   "networkPolicy": {"apiServerCidrs": ["10.0.0.0/28"], "egress": {"rules": [{"ports": [{"port": 9000}]}]}},
                   "antiAffinity": "hard", "imagePullSecrets": [{"name": "registry"}], "image": {"digest": "sha256:" + "0" * 64},
                   "config": {"limit.sessions": 1000000, "gc.policy": "clean"},
                   "pod": {"labels": {"team": "data"}, "annotations": {"a": "b"}, "env": [{"name": "https_proxy", "value": "http://p:1"}],
                           "priorityClassName": "system-cluster-critical", "nodeSelector": {"disk": "ssd"},
                           "tolerations": [{"key": "k", "operator": "Exists"}]}},
    "as little as possible": {"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "given"},
                              "networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}, "antiAffinity": "none"},
}
MONITOR = {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}}

#: (values, what the refusal says)
REFUSED = [
    ({"store": {"uri": "file:///var/lib/holdfast"}, "persistence": {"enabled": True}}, "replicas: a file:// store serves one"),
    ({"store": {"uri": "file:///var/lib/holdfast"}, "replicas": 1}, "persistence.enabled: a file:// store"),
    ({"tls": {"enabled": False}}, "allowUnprotected"),
    ({"access": {"enabled": False}}, "allowUnprotected"),
    ({"orphans": {"enabled": True, "policy": "clean"}}, "persistence.enabled: orphans.policy clean"),
    ({"webhook": {"enabled": True}}, "webhook.enabled: it needs orphans.enabled"),
    ({"tls": {"clientCertificateRequired": True}}, "tls.clientCaKey"),
    ({"serviceAccount": {"create": False}}, "serviceAccount.name"),
    ({"config": {"s3.secret-key": "x"}}, "s3.secret-key"),
    ({"replica": 3}, "replica"),
    ({"replicas": 0}, "replicas"),
    ({"store": {"uri": "ftp://x"}}, "uri"),
    ({"webhook": {"policy": "maybe"}}, "policy"),
]

#: What the election needs, and what is needed on top of it: (group, resource, names) -> verbs.
ELECTION = {("coordination.k8s.io", "leases", ()): {"create"},
            ("coordination.k8s.io", "leases", ("holdfast",)): {"get", "update", "watch"}}
LOOKING = {("", "configmaps", ()): {"get", "list"}, ("", "pods", ()): {"list"},
           ("apps", "deployments", ()): {"list"}, ("apps", "statefulsets", ()): {"list"}, ("batch", "jobs", ()): {"list"},
           ("flink.apache.org", "flinkdeployments", ()): {"list"}, ("flink.apache.org", "flinksessionjobs", ()): {"list"}}
RIGHTS = {
    "folder": {}, "ZooKeeper": {}, "as little as possible": {},
    "looks at one namespace": {**ELECTION, **LOOKING},
    "everything": {**ELECTION, **LOOKING, ("", "configmaps", ()): {"get", "list", "delete", "create"},
                   ("authentication.k8s.io", "tokenreviews", ()): {"create"}},
}


def helm_program():
    """Built from its module on first use, which takes minutes."""
    target = CACHE / f"helm-{HELM_VERSION}"
    with cache_lock(target.name):
        if not target.is_file():
            go, environment = golang.go((1, 21))  # which fetches what the module asks for
            print(f"building helm {HELM_VERSION}, once", file=sys.stderr, flush=True)
            log = CACHE / "helm.log"
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".helm-") as scratch, open(log, "wb") as out:
                done = subprocess.run([go, "install", "-p", "2", "-trimpath", "-ldflags", "-s -w", f"{HELM}@{HELM_VERSION}"],
                                      stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False,
                                      env={**os.environ, **environment, "GOBIN": scratch, "GOFLAGS": "", "GOTOOLCHAIN": "auto"})
                if done.returncode:
                    raise Failure(f"helm cannot be built; see {log}")
                shutil.move(Path(scratch) / "helm", target)
    return target


def helm(*arguments, values=None):
    """(exit code, output, errors)"""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values or {}, file)
        file.flush()
        done = subprocess.run([helm_program(), *map(str, arguments), "--values", file.name, "--kube-version", KUBERNETES],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def render(values=None):
    """The text of all objects."""
    code, text, errors = helm("template", "holdfast", CHART, "--namespace", kube.NAMESPACE, values=values)
    if code:
        raise Failure(f"helm template: {errors.strip()}")
    return text


def objects_of(text):
    return [thing for thing in yaml.safe_load_all(text) if thing]


def one(objects, kind, name=None):
    found = [thing for thing in objects if thing["kind"] == kind and name in (None, thing["metadata"]["name"])]
    if len(found) != 1:
        raise Failure(f"{len(found)} objects of kind {kind}")
    return found[0]


def manifest():
    head = MANIFEST.read_text("utf-8").split("---\n", 1)[0]
    return head + render()


def rights(objects):
    """(group, resource, names) -> verbs, of all roles."""
    found = {}
    for role in objects:
        for rule in role.get("rules", ()) if role["kind"] in ("Role", "ClusterRole") else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    found.setdefault((group, resource, tuple(rule.get("resourceNames", ()))), set()).update(rule["verbs"])
    return found


class Rendering(unittest.TestCase):
    def test_the_chart_is_clean_in_every_variant(self):
        for name, values in VARIANTS.items():
            with self.subTest(name):
                code, text, errors = helm("lint", "--strict", CHART, values=values)
                self.assertEqual(code, 0, text + errors)

    def test_what_cannot_work_is_refused_and_named(self):
        for values, words in REFUSED:
            with self.subTest(values), self.assertRaises(Failure) as refused:
                render(values)
            self.assertIn(words, str(refused.exception))

    def test_the_manifests_are_what_the_chart_renders(self):
        self.assertEqual(MANIFEST.read_text("utf-8"), manifest(), "./test chart --write makes them again")

    def test_the_daemon_takes_the_settings_of_every_variant(self):
        for name, values in VARIANTS.items():
            text = one(objects_of(render(values)), "ConfigMap")["data"]["holdfastd.yaml"]
            with self.subTest(name), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(text)
                file.flush()
                done = subprocess.run([BUILD / "daemon" / "holdfastd", "--config", file.name, "--print-config"], check=False,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                taken = yaml.safe_load(done.stdout)
                for key, value in values.get("config", {}).items():
                    self.assertEqual(str(taken[key]), str(value))

    def test_each_variant_has_exactly_these_rights(self):
        for name, values in VARIANTS.items():
            with self.subTest(name):
                self.assertEqual(rights(objects_of(render(values))), RIGHTS.get(name, ELECTION))

    def test_no_service_account_token_where_nobody_calls_the_api_server(self):
        for name, values in VARIANTS.items():
            pod = one(objects_of(render(values)), "StatefulSet")["spec"]["template"]["spec"]
            self.assertEqual(pod["automountServiceAccountToken"], name not in ("folder", "ZooKeeper"), name)

    def test_a_changed_setting_restarts_the_pods(self):
        def told(values):
            return one(objects_of(render(values)), "StatefulSet")["spec"]["template"]["metadata"]["annotations"]
        self.assertEqual(told({}), told({}))
        self.assertNotEqual(told({}), told({"config": {"log.level": "debug"}}))

    def test_the_webhook_never_stops_flink(self):
        hook, = one(objects_of(render(VARIANTS["everything"])), "ValidatingWebhookConfiguration")["webhooks"]
        self.assertEqual((hook["failurePolicy"], hook["clientConfig"]["service"]["path"]), ("Ignore", "/admission"))

    def test_the_service_monitor_scrapes_each_replica_once(self):
        objects = objects_of(render(MONITOR))
        monitor = one(objects, "ServiceMonitor")
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        services = [thing for thing in objects if thing["kind"] == "Service" and wanted <= thing["metadata"]["labels"].items()]
        self.assertEqual([service["spec"]["clusterIP"] for service in services], ["None"])
        end, = monitor["spec"]["endpoints"]
        self.assertIn(end["port"], [port["name"] for port in services[0]["spec"]["ports"]])
        self.assertEqual((end["scheme"], end["authorization"]["credentials"]["name"]), ("https", "holdfast-metrics"))


# --------------------------------------------------------------------------------------------- an API server

class Cluster:
    """An API server, and whatever is applied to it."""

    def __init__(self):
        self.work = Path(tempfile.mkdtemp(prefix="holdfast-chart-"))
        self.work.chmod(0o755)
        self.kube = kube.Kube(self.work)
        self.kube.start()
        self.api = self.kube.api()
        self._places = {}

    def stop(self):
        self.kube.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    def place(self, thing):
        """The path of an object, by what the server says of its kind."""
        version, meta = thing["apiVersion"], thing["metadata"]
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if base not in self._places:
            self._places[base] = {each["kind"]: each for each in self.api.call("GET", base)["resources"] if "/" not in each["name"]}
        about = self._places[base][thing["kind"]]
        space = f"/namespaces/{meta.get('namespace', kube.NAMESPACE)}" if about["namespaced"] else ""
        return f"{base}{space}/{about['name']}/{meta['name']}"

    def apply(self, thing, more=""):
        """As kubectl apply --server-side does; a field that the kind has not is refused."""
        return self.api.call("PATCH", f"{self.place(thing)}?fieldManager=chart&force=true&fieldValidation=Strict{more}", thing,
                             "application/apply-patch+yaml")

    def delete(self, thing):
        with contextlib.suppress(kube.Refused):
            self.api.call("DELETE", self.place(thing))

    def may(self, account, verb, group, resource, name="", space=kube.NAMESPACE):
        """Whether that service account may."""
        user = f"system:serviceaccount:{kube.NAMESPACE}:{account}"
        asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": {
            "user": user, "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "name": name, "namespace": space}}}
        return self.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", asked)["status"]["allowed"]


CLUSTER = {}


def cluster():
    if "one" not in CLUSTER:
        CLUSTER["one"] = Cluster()
    return CLUSTER["one"]


def tearDownModule():
    if "one" in CLUSTER:
        CLUSTER["one"].stop()


class Applied(unittest.TestCase):
    """A real API server takes what is rendered."""

    def test_every_variant_is_taken_without_a_field_too_many(self):
        for name, values in VARIANTS.items():
            with self.subTest(name):
                objects = objects_of(render(values))
                for thing in objects:
                    cluster().apply(thing)
                for thing in objects:  # what is immutable belongs to one variant
                    cluster().delete(thing)

    def test_a_field_that_does_not_exist_is_found(self):
        thing = one(objects_of(render()), "StatefulSet")
        thing["spec"]["template"]["spec"]["hostNetwerk"] = True
        with self.assertRaises(kube.Refused):
            cluster().apply(thing, "&dryRun=All")

    def test_its_pods_are_allowed_where_only_restricted_ones_are(self):
        api = cluster().api
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "strict", "labels": {
            "pod-security.kubernetes.io/enforce": "restricted"}}})
        for name, values in VARIANTS.items():
            if "priorityClassName" in values.get("pod", {}):
                values = {**values, "pod": {}}  # that class is for kube-system
            template = one(objects_of(render(values)), "StatefulSet")["spec"]["template"]
            pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
            pod["metadata"].update(name="pod", namespace="strict")
            if values.get("persistence"):
                pod["spec"]["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data-pod"}})
            with self.subTest(name):
                api.call("POST", "/api/v1/namespaces/strict/pods?dryRun=All&fieldValidation=Strict", pod)
                pod["spec"]["containers"][0].pop("securityContext")
                with self.assertRaises(kube.Refused) as refused:
                    api.call("POST", "/api/v1/namespaces/strict/pods?dryRun=All", pod)
                self.assertIn("restricted", str(refused.exception))


if __name__ == "__main__":
    if "--write" in sys.argv:
        MANIFEST.write_text(manifest(), "utf-8")
    else:
        unittest.main()
