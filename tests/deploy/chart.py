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

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rpc"))
from harness import Daemon  # noqa: E402

HELM, HELM_VERSION = "helm.sh/helm/v3/cmd/helm", "v3.21.4"
KUBERNETES = "1.36.3"
CHART = ROOT / "deploy" / "helm" / "holdfast"
MANIFEST = ROOT / "deploy" / "manifests" / "holdfast.yaml"
MONITORING = ROOT / "deploy" / "monitoring"
RULE_TESTS = ROOT / "tests" / "deploy" / "rules.test.yaml"
PROMTOOL = ROOT / "tests" / "fixtures" / "promtool"
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
                   "webhook": {"enabled": True, "policy": "refuse", "caBundle": "LS0tLS0="},
                   "access": {"tokenReviewAudience": "holdfast"},
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
           ("apps", "deployments", ()): {"list", "watch"}, ("apps", "statefulsets", ()): {"list", "watch"},
           ("batch", "jobs", ()): {"list", "watch"},
           ("flink.apache.org", "flinkdeployments", ()): {"list", "watch"},
           ("flink.apache.org", "flinksessionjobs", ()): {"list", "watch"}}
RIGHTS = {
    "folder": {}, "ZooKeeper": {}, "as little as possible": {},
    "looks at one namespace": {**ELECTION, **LOOKING},
    "everything": {**ELECTION, **LOOKING, ("", "configmaps", ()): {"get", "list", "delete", "create"},
                   ("authentication.k8s.io", "tokenreviews", ()): {"create"}},
}


def built(name, version, *arguments, folder=None):
    """The path of a program, built from its Go module on first use, which takes minutes. What builds it writes to $GOBIN."""
    target = CACHE / f"{name}-{version}"
    with cache_lock(target.name):
        if not target.is_file():
            go, environment = golang.go((1, 21))  # which fetches what the module asks for
            print(f"building {name} {version}, once", file=sys.stderr, flush=True)
            log = CACHE / f"{name}.log"
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{name}-") as scratch, open(log, "wb") as out:
                done = subprocess.run([go, "install", "-p", "2", "-trimpath", "-ldflags", "-s -w", *arguments], cwd=folder,
                                      stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False,
                                      env={**os.environ, **environment, "GOBIN": scratch, "GOFLAGS": "", "GOTOOLCHAIN": "auto"})
                if done.returncode:
                    raise Failure(f"{name} cannot be built; see {log}")
                shutil.move(Path(scratch) / name, target)
    return target


def promtool(*arguments, text=None):
    """(exit code, output and errors)"""
    version = re.search(r"github.com/prometheus/prometheus (\S+)", (PROMTOOL / "go.mod").read_text("utf-8"))[1]
    program = built("promtool", version, "-tags", "remove_all_sd", "github.com/prometheus/prometheus/cmd/promtool", folder=PROMTOOL)
    done = subprocess.run([program, *map(str, arguments)], input=text or "", capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def helm(*arguments, values=None):
    """(exit code, output, errors)"""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values or {}, file)
        file.flush()
        program = built("helm", HELM_VERSION, f"{HELM}@{HELM_VERSION}")
        if arguments[0] in ("lint", "template"):
            arguments += ("--kube-version", KUBERNETES)
        done = subprocess.run([program, *map(str, arguments), *(["--values", file.name] if arguments[0] != "uninstall" else [])],
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

    def test_the_manual_names_these_rights(self):
        text = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
        told = {}
        for verbs, resource, group in re.findall(r"^\| ([a-z, ]+) \| `([a-z]+)` \| `([a-z0-9.]*)` \|", text, re.M):
            told.setdefault((group, resource), set()).update(verbs.split(", "))
        given = {}
        for (group, resource, _), verbs in RIGHTS["everything"].items():
            given.setdefault((group or "v1", resource), set()).update(verbs)
        self.assertEqual(told, given)

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


class Monitoring(unittest.TestCase):
    """Rules and dashboard ask for what a running daemon tells."""

    @classmethod
    def setUpClass(cls):
        with Daemon(orphans_kubernetes="true", orphans_kubernetes_kubeconfig="/nowhere") as daemon:
            cls.metrics = daemon.call("GET", "/metrics")[1].decode()
        cls.rules = yaml.safe_load((MONITORING / "rules.yaml").read_text("utf-8"))
        cls.dashboard = json.loads((MONITORING / "grafana.json").read_text("utf-8"))

    def expressions(self):
        for group in self.rules["groups"]:
            for rule in group["rules"]:
                yield rule["alert"], rule["expr"]
        for panel in self.dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield panel["title"], target["expr"]

    def test_the_metrics_are_as_prometheus_wants_them(self):
        _, said = promtool("check", "metrics", text=self.metrics)
        self.assertEqual(said, "")

    def test_only_metrics_that_there_are(self):
        names = set(re.findall(r"^(holdfast_\w+)", self.metrics, re.M))
        for where, text in self.expressions():
            for name in re.findall(r"\bholdfast_\w+", text):
                self.assertIn(name, names, where)

    def test_only_values_of_labels_that_there_are(self):
        for where, text in self.expressions():
            for label, sign, words in re.findall(r'\b(status|verdict|call|answer)(=~|!~|=|!=)"([^"]*)"', text):
                for word in words.split("|") if "~" in sign else [words]:
                    with self.subTest(where=where, label=label, word=word):
                        self.assertRegex(self.metrics, f'[{{,]{label}="{word if "~" in sign else re.escape(word)}"')

    def test_the_expressions_of_the_dashboard_can_be_parsed(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            rules = [{"record": f"panel:number_{number}", "expr": re.sub(r"\$__rate_interval", "5m", text)}
                     for number, (_, text) in enumerate(self.expressions())]
            yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
            file.flush()
            code, said = promtool("check", "rules", file.name)
            self.assertEqual(code, 0, said)

    def test_the_rules_fire_when_they_should(self):
        for arguments in (("check", "rules", MONITORING / "rules.yaml"), ("test", "rules", RULE_TESTS)):
            code, said = promtool(*arguments)
            self.assertEqual(code, 0, said)

    def test_no_rule_goes_without_a_test(self):
        with tempfile.TemporaryDirectory() as folder:
            tests = yaml.safe_load(RULE_TESTS.read_text("utf-8"))
            (Path(folder) / "tests.yaml").write_text(yaml.safe_dump({**tests, "rule_files": ["rules.yaml"]}), "utf-8")
            for group in range(len(self.rules["groups"])):
                for at, rule in enumerate(self.rules["groups"][group]["rules"]):
                    less = copy.deepcopy(self.rules)
                    less["groups"][group]["rules"][at] = {**rule, "expr": "vector(0) > 1"}
                    (Path(folder) / "rules.yaml").write_text(yaml.safe_dump(less), "utf-8")
                    code, said = promtool("test", "rules", Path(folder) / "tests.yaml")
                    self.assertNotEqual(code, 0, f"{rule['alert']} never fires, and nobody minds")
                    self.assertIn(rule["alert"], said)


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

    def test_helm_installs_upgrades_and_removes_it(self):
        access = ["--namespace", kube.NAMESPACE, "--kubeconfig", cluster().kube.kubeconfig("helm", {"token": kube.Kube.tokens["admin"]})]
        place = cluster().place(one(objects_of(render()), "StatefulSet"))

        def run(*arguments, values=None):
            code, text, errors = helm(*arguments, *access, values=values)
            self.assertEqual(code, 0, errors)
            return text
        said = run("install", "holdfast", CHART)
        for number in range(3):
            self.assertIn(f"https://holdfast-{number}.holdfast-replicas.{kube.NAMESPACE}.svc:7070", said)
        self.assertEqual(cluster().api.call("GET", place)["spec"]["replicas"], 3)
        run("upgrade", "holdfast", CHART, values={"replicas": 2, "config": {"log.level": "debug"}})
        self.assertEqual(cluster().api.call("GET", place)["spec"]["replicas"], 2)
        run("uninstall", "holdfast", "--wait=false")
        with self.assertRaises(kube.Refused) as refused:
            cluster().api.call("GET", place)
        self.assertEqual(refused.exception.code, 404)

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


# ------------------------------------------------------------------------------------------- what a kubelet does

class Pod:
    """One pod of the StatefulSet: its files, user, arguments and environment are what the template says, on a read-only root that
    is this machine's. What a kubelet would do otherwise: the network is this machine's too, so that each pod listens on a loopback
    address of its own."""

    SCRIPT = """set -e
cd "$1"
mount -t tmpfs holdfast-pod image
mkdir image/upper image/work image/all
mount -t overlay holdfast-pod -o "lowerdir=/,upperdir=$1/image/upper,workdir=$1/image/work" image/all
rm -rf image/all/etc/holdfast image/all/var/lib/holdfast
mkdir -p image/all/usr/local/bin
cp holdfastd image/all/usr/local/bin/holdfastd
cp hosts image/all/etc/hosts
while read -r volume access path; do
    mkdir -p "image/all$path"
    mount --bind "volumes/$volume" "image/all$path"
    [ "$access" = rw ] || mount -o remount,bind,ro "image/all$path"
done < mounts
mount --bind /dev image/all/dev
mount -t proc proc image/all/proc
mount -o remount,ro image/all
shift
exec chroot image/all "$@"
"""

    def __init__(self, world, number, objects):
        self.world, self.number = world, number
        stateful = one(objects, "StatefulSet")
        self.objects, self.spec = objects, stateful["spec"]["template"]["spec"]
        self.name = f"{stateful['metadata']['name']}-{number}"
        self.address = f"127.0.0.{2 + number}"
        self.port = one(objects, "Service", stateful["metadata"]["name"])["spec"]["ports"][0]["port"]
        self.folder = Path(tempfile.mkdtemp(dir=world.cluster.work, prefix=f"{self.name}-"))
        self.log = self.folder / "log"
        user = self.spec["securityContext"]
        self.ids = user["runAsUser"], user["runAsGroup"], user["fsGroup"]
        self.process = Process(self.name, self._command(), self.log)

    def _volume(self, name, fill=None, mode=0o440):
        """A folder of files for the pod's group, as a ConfigMap or a Secret is mounted; without files an emptyDir."""
        folder = self.folder / "volumes" / name
        folder.mkdir(parents=True)
        for file, content in (fill or {}).items():
            (folder / file).write_text(content, "utf-8")
            os.chown(folder / file, 0, self.ids[2])
            (folder / file).chmod(mode)
        os.chown(folder, 0, self.ids[2])
        folder.chmod(0o750 if fill else 0o2770)
        return name

    def _volumes(self):
        for volume in self.spec["volumes"]:
            if "configMap" in volume:
                self._volume(volume["name"], one(self.objects, "ConfigMap", volume["configMap"]["name"])["data"], 0o644)
            elif "secret" in volume:
                self._volume(volume["name"], self.world.secrets[volume["secret"]["secretName"]], volume["secret"]["defaultMode"])
            else:
                self._volume(volume["name"])
        if not any(volume["name"] == "data" for volume in self.spec["volumes"]):
            self._volume("data")  # a claim
        container = self.spec["containers"][0]
        mounts = [(mount["name"], "ro" if mount.get("readOnly") else "rw", mount["mountPath"]) for mount in container["volumeMounts"]]
        if self.spec["automountServiceAccountToken"]:
            server = self.world.cluster.kube
            files = server.account_folder(self.folder / "account", server.account_token(self.spec["serviceAccountName"], 3600))
            self._volume("account", {file.name: file.read_text("utf-8") for file in files.iterdir()})
            mounts.append(("account", "ro", "/run/secrets/kubernetes.io/serviceaccount"))
        (self.folder / "mounts").write_text("".join(" ".join(each) + "\n" for each in mounts), "utf-8")

    def _command(self):
        container = self.spec["containers"][0]
        if not container["securityContext"]["readOnlyRootFilesystem"] or container["securityContext"]["allowPrivilegeEscalation"]:
            raise Failure("the container is not as narrow as it is run here")
        self._volumes()
        shutil.copy(BUILD / "daemon" / "holdfastd", self.folder / "holdfastd")
        (self.folder / "image").mkdir()
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + self.world.hosts, "utf-8")
        fields = {"metadata.name": self.name}
        environment = {"PATH": "/usr/bin:/bin", "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                       "KUBERNETES_SERVICE_PORT": str(self.world.api_port)}
        for each in container["env"]:
            environment[each["name"]] = each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        arguments = [re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], argument) for argument in container["args"]]
        user, group, extra = self.ids
        return ["unshare", "--mount", "sh", "-c", self.SCRIPT, "sh", self.folder,
                "setpriv", "--reuid", user, "--regid", group, "--groups", extra, "--no-new-privs", "--bounding-set", "-all",
                "--inh-caps", "-all", "--pdeathsig", "KILL", "env", "-i", *(f"{key}={value}" for key, value in environment.items()),
                "/usr/local/bin/holdfastd", *arguments, "-D", f"listen={self.address}:{self.port}"]

    def start(self):
        self.process.start()
        return self

    def stop(self):
        self.process.stop(patience=60)

    def text(self):
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def said(self, pattern):
        """The lines of the log that fit."""
        return [line for line in self.text().splitlines() if re.search(pattern, line)]

    def wait_said(self, pattern):
        def there():
            found = self.said(pattern)
            if not found:
                self.process.require_alive()
            return found
        return wait_until(there, PATIENCE_S, lambda: f"{self.name} to say {pattern}: {self.text()[-800:]}")

    def call(self, method, path, body=None, token=TOKEN):
        """(code, answer), (0, why) when there is none."""
        connection = http.client.HTTPSConnection(self.address, self.port, timeout=30, context=self.world.tls)
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if answer.getheader("Content-Type") == "application/json" else text
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def leads(self):
        code, answer = self.call("GET", "/readyz")
        return code == 200 and answer["leads"]

    def probe(self, kind):
        """What a kubelet gets to see: it has no credentials."""
        container = self.spec["containers"][0]
        get = container[kind]["httpGet"]
        if get["scheme"] != "HTTPS" or get["port"] != container["ports"][0]["name"]:
            raise Failure(f"{kind} asks {get}")
        return self.call("GET", get["path"], token=None)[0]


class Front(kube.Proxy):
    """Takes faults of other kinds."""

    def __init__(self, to):
        super().__init__(to)
        self.more = []

    def fault_for(self, method, is_watch, path):
        return next((fault for fault in self.more if fault.takes(method, is_watch, path)), None)


class SecondDelete(kube.Fault):
    """Another one was quicker."""

    def __init__(self, part):
        super().__init__("DELETE", 409, count=1, part=part)
        self._dry = 1

    def takes(self, method, is_watch, path):
        if method == "DELETE" and path.split("?")[0].endswith(self.part) and self._dry:
            self._dry -= 1
            return False
        return super().takes(method, is_watch, path)


class World:
    """A release of the chart on an API server: what is in its Secrets, its storage, and its pods."""

    def __init__(self, values, prefix):
        self.cluster = cluster()
        self.s3 = S3(Path(tempfile.mkdtemp(dir=self.cluster.work, prefix="s3-"))).start()
        self.proxy = Front(self.cluster.kube)
        self.api_port = int(self.proxy.url.rsplit(":", 1)[1])
        port = free_port()
        timing = {"lease-duration": "4s", "renew-deadline": "3s", "retry-period": "500ms"}
        config = {"s3.endpoint": self.s3.endpoint, "s3.path.style.access": True,
                  **{f"election.kubernetes.{key}": value for key, value in timing.items()}, **values.pop("config", {})}
        wanted = {"replicas": 2, "store": {"uri": f"s3://{self.s3.bucket}/{prefix}"}, **values, "config": config, "service": {"port": port}}
        self.objects = objects_of(render(wanted))
        names = [f"holdfast-{number}.holdfast-replicas.{kube.NAMESPACE}.svc" for number in range(2)]
        self.hosts = "".join(f"127.0.0.{2 + number} {name}\n" for number, name in enumerate(names))
        authority = self.cluster.kube.authority
        pair = authority.sign(f"tls-{prefix}", "/CN=holdfast", f"DNS:*.holdfast-replicas.{kube.NAMESPACE}.svc,"
                              f"DNS:holdfast.{kube.NAMESPACE}.svc,IP:127.0.0.2,IP:127.0.0.3")
        self.tls = ssl.create_default_context(cafile=str(authority.certificate))
        self.secrets = {
            "holdfast-storage": {"credentials": f"[default]\naws_access_key_id = {self.s3.access_key}\n"
                                                f"aws_secret_access_key = {self.s3.secret_key}\n"},
            "holdfast-tls": {"tls.crt": pair[0].read_text("utf-8"), "tls.key": pair[1].read_text("utf-8")},
            "holdfast-access": {"access": f"ops admin * token {TOKEN}\n"}}
        if values.get("access", {}).get("tokenReviewAudience"):
            self.secrets["holdfast-access"]["access"] += f"flink jobmanager {{namespace}}/* serviceaccount {kube.NAMESPACE}/flink\n"
        self.pods = []
        for thing in self.objects:
            self.cluster.apply(thing)
        for key, verbs in rights(self.objects).items():
            for verb in verbs:
                self.wait_may(key, verb, True)

    def wait_may(self, key, verb, wanted):
        group, resource, names = key
        wait_until(lambda: self.cluster.may("holdfast", verb, group, resource, *names[:1]) == wanted, PATIENCE_S,
                   f"{verb} on {resource} to be {wanted}")

    @contextlib.contextmanager
    def without(self, key, verb):
        """The role as the chart has it, but for one verb."""
        group, resource, names = key
        for role in self.objects:
            rules = role.get("rules", []) if role["kind"] in ("Role", "ClusterRole") else []
            for at, rule in enumerate(rules):
                if group in rule["apiGroups"] and resource in rule["resources"] and tuple(rule.get("resourceNames", ())) == names:
                    less = copy.deepcopy(role)
                    less["rules"][at]["resources"] = [resource]
                    less["rules"][at]["verbs"] = [each for each in rule["verbs"] if each != verb]
                    others = [each for each in rule["resources"] if each != resource]
                    if others:
                        less["rules"].append({**rule, "resources": others})
                    if not less["rules"][at]["verbs"]:
                        del less["rules"][at]
                    self.cluster.apply(less)
                    self.wait_may(key, verb, False)
                    try:
                        yield
                    finally:
                        self.cluster.apply(role)
                        self.wait_may(key, verb, True)
                    return
        raise Failure(f"no role has {verb} on {resource}")

    def start(self, count=1):
        """As many pods, none of which has a Lease yet."""
        self.stop_pods()
        with contextlib.suppress(kube.Refused):
            self.cluster.api.delete_lease("holdfast")
        self.pods = [Pod(self, number, self.objects).start() for number in range(count)]
        return self.pods

    def wait_leader(self, pods=None):
        return wait_until(lambda: next((pod for pod in pods or self.pods if pod.leads()), None), PATIENCE_S,
                          lambda: f"a leader: {self.pods[0].text()[-800:]}")

    def stop_pods(self):
        for pod in self.pods:
            pod.stop()
        self.pods = []

    def stop(self):
        self.stop_pods()
        for thing in self.objects:
            self.cluster.delete(thing)
        self.proxy.close()
        self.s3.stop()


class Running(unittest.TestCase):
    """The daemon with exactly the chart's service account, rights, settings, mounts and user."""

    values, prefix = {}, "running"

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("mounts need root")
        cls.world = World(dict(cls.values), cls.prefix)
        cls.addClassCleanup(cls.world.stop)


class Electing(Running):
    def test_two_replicas_elect_a_leader_and_replace_it(self):
        pods = self.world.start(2)
        leader = self.world.wait_leader()
        for pod in pods:
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                wait_until(lambda one=pod, probe=kind: one.probe(probe) == 200, PATIENCE_S, f"{kind} of {pod.name}")
            self.assertEqual(pod.call("GET", "/v1/status", token=None)[0], 401)
        self.assertTrue(self.world.cluster.api.holder("holdfast").startswith(
            f"{leader.name}/{leader.name}.holdfast-replicas.{kube.NAMESPACE}.svc:{leader.port}/"))
        session = os.urandom(16).hex()
        base = "/v1/clusters/default/c/sessions"
        self.assertEqual(leader.call("POST", base, {"session": session, "holder": "jm", "ttl_ms": 300000})[0], 200)
        other = next(pod for pod in pods if pod is not leader)
        told = wait_until(lambda: other.call("GET", "/v1/clusters")[1].get("leader"), PATIENCE_S, "the standby to know the leader")
        self.assertEqual(told, f"{leader.name}.holdfast-replicas.{kube.NAMESPACE}.svc:{leader.port}")
        leader.process.kill()
        self.assertIs(self.world.wait_leader([other]), other)
        self.assertEqual(other.call("POST", f"{base}/{session}/renew", {})[0], 200)
        for pod in pods:
            self.assertEqual(pod.said("HTTP 403|watch_refused|Read-only|Permission denied"), [])

    def test_the_election_breaks_without_any_of_its_verbs(self):
        for key, verbs in ELECTION.items():
            for verb in sorted(verbs):
                with self.subTest(verb), self.world.without(key, verb):
                    first, *_ = pods = self.world.start(2 if verb == "watch" else 1)
                    if verb == "watch":
                        wait_until(lambda: any(pod.said("election.watch_refused") for pod in pods), PATIENCE_S, "the refusal to be told")
                        continue
                    first.wait_said("election.unavailable.*HTTP 403")
                    if verb == "update":
                        first.wait_said("election.lost")  # the Lease was made, and is never renewed
                    else:
                        self.assertFalse(first.leads())
                        self.assertEqual((first.probe("livenessProbe"), first.probe("readinessProbe")), (200, 503))


class Alone(Running):
    """A folder on a volume: nobody is asked, and no token is mounted."""

    values = {**VARIANTS["folder"]}
    prefix = "alone"

    def test_one_replica_on_a_volume_serves(self):
        pod, = self.world.start()
        self.world.wait_leader()
        self.assertFalse((pod.folder / "account").exists())
        self.assertEqual(pod.probe("livenessProbe"), 200)
        self.assertNotEqual(list((pod.folder / "volumes" / "data").iterdir()), [])
        self.assertEqual([path for _, _, path, _ in self.world.proxy.requests], [])


class Looking(Running):
    """With the observer of clusters that are not on Holdfast, its clean-up, and tokens of service accounts."""

    values = {"orphans": {"enabled": True, "policy": "clean"}, "persistence": {"enabled": True},
              "access": {"tokenReviewAudience": "holdfast"}, "config": {"orphans.interval": "1s", "orphans.min-age": "2s"}}
    prefix = "looking"
    space = "jobs"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api = cls.world.cluster.api
        cls.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": cls.space}})
        cls.api.define("flink.apache.org", "v1beta1", "FlinkDeployment", "FlinkSessionJob")
        cls.pod, = cls.world.start()
        cls.world.wait_leader()
        cls.storage = Storage(cls.world.cluster.work / "ha")

    def leave(self, name):
        """HA metadata that nobody owns."""
        return Leftovers(self.storage, name).put(self.api, self.space)

    def maps(self, left):
        found = {item["metadata"]["name"] for item in self.api.call("GET", f"/api/v1/namespaces/{self.space}/configmaps")["items"]}
        return found & set(left.names())

    def seen(self, name):
        """What the last look found of it."""
        answer = self.pod.call("GET", "/v1/orphans")[1]
        return next((each for each in answer["clusters"] if each["cluster"] == name), {}), answer.get("error", "")

    def wait_cleaned(self, left):
        self.pod.wait_said(f"orphans.cleaned .*cluster={left.cluster} ")
        self.assertEqual(self.maps(left), set())

    def test_leftovers_are_cleaned_with_the_rights_of_the_chart(self):
        self.wait_cleaned(self.leave("all-rights"))
        self.assertEqual(self.pod.said("HTTP 403.*all-rights|all-rights.*HTTP 403"), [])

    def test_nothing_is_cleaned_without_any_right_to_look(self):
        looks = sorted((key, verb) for key, verbs in LOOKING.items() for verb in verbs - {"watch"})
        for number, (key, verb) in enumerate(looks):
            left = None
            with self.subTest(key=key, verb=verb):
                with self.world.without(key, verb):
                    left = self.leave(f"look-{number}")
                    if key[1] == "configmaps" and verb == "list":
                        wait_until(lambda: "403" in self.seen(left.cluster)[1], PATIENCE_S, "a look that fails")
                    elif key[1] == "configmaps":
                        self.pod.wait_said(f"orphans.not_cleaned .*cluster={left.cluster} .*403")
                    else:
                        wait_until(lambda: self.is_unsure(left.cluster, key[1]), PATIENCE_S,
                                   lambda: f"{key[1]} to be missed: {self.seen(left.cluster)}")
                    self.assertEqual(self.maps(left), set(left.names()))
                self.wait_cleaned(left)

    def test_without_the_right_to_watch_an_owner_it_says_so(self):
        for key, verbs in LOOKING.items():
            if "watch" not in verbs:
                continue
            with self.subTest(key=key), self.world.without(key, "watch"):
                type(self).pod, = self.world.start()
                self.pod.wait_said(f"kubernetes.watch_refused resource={key[1]} code=403")
        type(self).pod, = self.world.start()
        self.world.wait_leader()

    def is_unsure(self, name, resource):
        cluster_seen, _ = self.seen(name)
        why = json.dumps(cluster_seen.get("reasons", []))
        return cluster_seen.get("verdict") == "unknown" and "403" in why and resource in why

    def test_nothing_is_cleaned_without_the_right_to_delete(self):
        key = ("", "configmaps", ())
        with self.world.without(key, "delete"):
            left = self.leave("no-delete")
            self.pod.wait_said("orphans.not_cleaned .*cluster=no-delete .*403")
            self.assertEqual(self.maps(left), set(left.names()))
        self.wait_cleaned(left)

    def test_what_has_gone_before_a_delete_that_is_refused_comes_back_with_the_right_to_create(self):
        key = ("", "configmaps", ())
        with self.broken_off("comes-back") as left:
            self.pod.wait_said("orphans.not_cleaned .*cluster=comes-back ")
        self.assertEqual(self.pod.said("cluster=comes-back .*403"), [])
        self.wait_cleaned(left)
        with self.world.without(key, "create"), self.broken_off("stays-away"):
            self.pod.wait_said("orphans.not_cleaned .*cluster=stays-away .*403")

    @contextlib.contextmanager
    def broken_off(self, name):
        """Leftovers of which the last ConfigMap is refused to be deleted, once, after the dry run said that it would be."""
        fault = SecondDelete(f"/{name}-{Leftovers(self.storage, name).job}-config-map")
        self.world.proxy.more.append(fault)
        try:
            yield self.leave(name)
        finally:
            fault.left = 0

    def test_a_service_account_is_known_with_the_right_to_review_and_not_without(self):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "flink"}}
        self.api.apply([account])

        def ask():
            token = self.api.call("POST", f"/api/v1/namespaces/{kube.NAMESPACE}/serviceaccounts/flink/token", {
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                "spec": {"audiences": ["holdfast"], "expirationSeconds": 600 + time.time_ns() % 1000}})["status"]["token"]
            return self.pod.call("GET", f"/v1/clusters/{kube.NAMESPACE}/c/jobs", token=token)
        with self.world.without(("authentication.k8s.io", "tokenreviews", ()), "create"):
            code, answer = ask()
            self.assertEqual(code, 503, answer)
            self.assertIn("tokenreviews", answer["message"])
        self.assertIn(ask()[0], (200, 404))


if __name__ == "__main__":
    if "--write" in sys.argv:
        MANIFEST.write_text(manifest(), "utf-8")
    else:
        unittest.main()
