#!/usr/bin/env python3
"""What stands between an API server and processes, for the guides: pods of StatefulSets and Deployments are made, and every pod is run
as its template says: files, user, arguments, environment and an address of its own, on a read-only root where that is asked for.

A pod is a process in a mount and a network namespace of this machine, whose files are this machine's; an image is a folder that is
copied over them. Not here: schedulers, container engines, limits of resources, network policies, DNS (each pod gets /etc/hosts).
"""
import argparse
import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib.failure import wait_until  # noqa: E402
from lib.kube import Api, Refused  # noqa: E402
from lib.process import Process  # noqa: E402

BRIDGE, SERVER, NETWORK = "pods", "10.96.0.1", "10.96"
POLL_S = 0.2
TOKEN_S = 3600
RESTART_S = 5  # from one start of a container to the next
KINDS = {"StatefulSet": "/apis/apps/v1/{}statefulsets", "Deployment": "/apis/apps/v1/{}deployments", "Service": "/api/v1/{}services",
         "Pod": "/api/v1/{}pods", "ConfigMap": "/api/v1/{}configmaps", "Secret": "/api/v1/{}secrets"}

SCRIPT = """set -e
cd "$1"
mount -t tmpfs pod image
mkdir image/upper image/work image/all
mount -t overlay pod -o "lowerdir=/,upperdir=$1/image/upper,workdir=$1/image/work" image/all
cp -a "$2/." image/all/
while read -r volume access path; do
    mkdir -p "image/all$path"
    mount --bind "volumes/$volume" "image/all$path"
    [ "$access" = rw ] || mount -o remount,bind,ro "image/all$path"
done < mounts
mount --bind hosts image/all/etc/hosts
mount --bind /dev image/all/dev
mount -t proc proc image/all/proc
[ "$3" = rw ] || mount -o remount,ro image/all
ip link set lo up
hostname "$5"
while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip addr add "$4/16" dev eth0
ip link set eth0 up
shift 5
exec chroot image/all "$@"
"""


def run(*words):
    subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def relay(address, port, to, host="127.0.0.1"):
    """Takes what is sent to one address to a port of another."""
    def pump(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve():
        while True:
            near = listener.accept()[0]
            try:
                far = socket.create_connection((host, to), 10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()
    listener = socket.create_server((address, port), backlog=64)
    threading.Thread(target=serve, daemon=True).start()


class Pod:
    """One pod that is run, as the API server has it."""

    def __init__(self, node, thing, number):
        self.node, self.thing, self.number = node, thing, number
        self.name, self.space = thing["metadata"]["name"], thing["metadata"]["namespace"]
        self.address = f"{NETWORK}.{1 + number // 250}.{2 + number % 250}"
        self.spec, self.container = thing["spec"], thing["spec"]["containers"][0]
        self.folder = node.work / "pods" / f"{number}-{self.name}"
        self.ready = None
        self.restarts, self.started = 0, 0.0
        self.process = None

    def start(self):
        (self.folder / "volumes").mkdir(parents=True)
        (self.folder / "image").mkdir()
        self._files()
        shutil.copy(self.node.hosts, self.folder / "hosts")
        user = {**self.spec.get("securityContext", {}), **self.container.get("securityContext", {})}
        identity = []
        if "runAsUser" in user:
            identity = ["setpriv", "--reuid", user["runAsUser"], "--regid", user.get("runAsGroup", 0), "--groups", user.get("fsGroup", 0),
                        "--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all", "--pdeathsig", "KILL"]
        environment = self._environment()
        words = [self._expanded(word, environment) for word in [*self.container.get("command", self.node.entry(self.container["image"])),
                                                                *self.container.get("args", [])]]
        access = "ro" if user.get("readOnlyRootFilesystem") else "rw"
        self.process = Process(self.name, ["unshare", "--mount", "--net", "--uts", "sh", "-c", SCRIPT, "sh", self.folder, self.node.image(self.container["image"]),
                                           access, self.address, self.name, *identity, "env", "-i", *(f"{k}={v}" for k, v in environment.items()), *words],
                               self.folder / "log")
        self.run_again()
        return self

    def run_again(self):
        self.started = time.monotonic()
        self.process.start()
        own = os.stat("/proc/self/ns/net").st_ino
        wait_until(lambda: not self.process.alive() or os.stat(f"/proc/{self.process.pid}/ns/net").st_ino != own, 60,
                   f"the network of {self.name}", poll=0.01)
        link = f"p{self.number}x{self.restarts}"
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.process.pid)
        run("ip", "link", "set", link, "master", BRIDGE, "up")

    def stop(self, how=signal.SIGKILL):
        if self.process and self.process.alive():
            self.process.child.send_signal(how)
            try:
                self.process.child.wait(40)
            except subprocess.TimeoutExpired:
                self.process.child.kill()
                self.process.child.wait()

    @staticmethod
    def _expanded(word, environment):
        for key, value in environment.items():
            word = word.replace(f"$({key})", value)
        return word

    def _environment(self):
        fields = {"metadata.name": self.name, "metadata.namespace": self.space, "status.podIP": self.address, "status.hostIP": SERVER, "spec.nodeName": "node"}
        found = {**self.node.environment, "KUBERNETES_SERVICE_HOST": SERVER, "KUBERNETES_SERVICE_PORT": "443"}
        for each in self.container.get("env", ()):
            found[each["name"]] = each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]] if "valueFrom" in each else ""
        return found

    def _write(self, name, files, mode=0o644):
        folder = self.folder / "volumes" / name
        folder.mkdir(exist_ok=True)
        group = self.spec.get("securityContext", {}).get("fsGroup", 0)
        for file, content in files.items():
            new = folder / f".{file}.new"
            new.write_bytes(content)
            os.chown(new, 0, group)
            new.chmod(mode)
            new.replace(folder / file)
        os.chown(folder, 0, group)
        folder.chmod(0o750 if files else 0o2777)

    def _chosen(self, volume, data):
        items = volume.get("items")
        return {item["path"]: data[item["key"]] for item in items if item["key"] in data} if items else data

    def _files(self):
        api = self.node.api
        for volume in self.spec.get("volumes", ()):
            if "configMap" in volume:
                data = api.call("GET", f"/api/v1/namespaces/{self.space}/configmaps/{volume['configMap']['name']}").get("data") or {}
                self._write(volume["name"], self._chosen(volume["configMap"], {key: text.encode() for key, text in data.items()}))
            elif "secret" in volume:
                data = api.call("GET", f"/api/v1/namespaces/{self.space}/secrets/{volume['secret']['secretName']}").get("data") or {}
                self._write(volume["name"], self._chosen(volume["secret"], {key: base64.b64decode(text) for key, text in data.items()}),
                            volume["secret"].get("defaultMode", 0o644))
            elif "projected" in volume:
                files = {source["serviceAccountToken"]["path"]: self._token(source["serviceAccountToken"].get("audience"))
                         for source in volume["projected"]["sources"] if "serviceAccountToken" in source}
                self._write(volume["name"], files)
            else:
                self._write(volume["name"], {})
        mounts = [(each["name"], "ro" if each.get("readOnly") else "rw", each["mountPath"].replace("/var/run/", "/run/", 1)) for each in self.container.get("volumeMounts", ())]
        if self.spec.get("automountServiceAccountToken", True):
            self._write("account", {"token": self._token(None), "ca.crt": self.node.authority.read_bytes(), "namespace": self.space.encode()}, 0o644)
            (self.folder / "volumes" / "account").chmod(0o755)
            mounts.append(("account", "ro", "/run/secrets/kubernetes.io/serviceaccount"))
        (self.folder / "mounts").write_text("".join(" ".join(each) + "\n" for each in mounts), "utf-8")

    def _token(self, audience):
        asked = {"expirationSeconds": TOKEN_S, **({"audiences": [audience]} if audience else {})}
        account = self.spec.get("serviceAccountName", "default")
        return self.node.api.call("POST", f"/api/v1/namespaces/{self.space}/serviceaccounts/{account}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": asked})["status"]["token"].encode()

    def probe(self):
        """What the readiness probe says; without one, that it lives."""
        get = self.container.get("readinessProbe", {}).get("httpGet")
        if not self.process.alive() or not get:
            return self.process.alive()
        port = get["port"] if isinstance(get["port"], int) else next(p["containerPort"] for p in self.container["ports"] if p["name"] == get["port"])
        kind = http.client.HTTPSConnection if get.get("scheme") == "HTTPS" else http.client.HTTPConnection
        more = {"context": ssl._create_unverified_context()} if get.get("scheme") == "HTTPS" else {}
        connection = kind(self.address, port, timeout=2, **more)
        try:
            connection.request("GET", get["path"])
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Node:
    """All pods, and what makes and counts them."""

    def __init__(self, settings):
        self.work = Path(settings["work"])
        self.api = Api(settings["url"], settings["authority"], settings["token"])
        self.authority = Path(settings["authority"])
        self.images, self.environment = settings["images"], settings["environment"]
        self.hosts = self.work / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n", "utf-8")
        self.pods, self.made = {}, 0

    def image(self, name):
        return next(image["folder"] for part, image in self.images.items() if part in name)

    def entry(self, name):
        return next(image["entry"] for part, image in self.images.items() if part in name)

    def list(self, kind):
        return self.api.call("GET", KINDS[kind].format(""))["items"]

    def place(self, kind, thing):
        meta = thing["metadata"]
        return f"{KINDS[kind].format('namespaces/' + meta['namespace'] + '/')}/{meta['name']}"

    def patch(self, kind, thing, status):
        with contextlib.suppress(Refused):
            self.api.call("PATCH", self.place(kind, thing) + "/status", {"status": status}, "application/merge-patch+json")

    # What controllers do

    def control(self, pods):
        """Makes the pods that are wanted, and says how many are ready."""
        for kind in ("StatefulSet", "Deployment"):
            for owner in self.list(kind):
                meta, count = owner["metadata"], owner["spec"].get("replicas", 1)
                labels = owner["spec"]["selector"]["matchLabels"].items()  # Flink's TaskManagers belong to its Deployment as well
                own = [pod for pod in pods if labels <= pod["metadata"].get("labels", {}).items() and
                       any(ref["uid"] == meta["uid"] for ref in pod["metadata"].get("ownerReferences", ()))]
                names = {pod["metadata"]["name"] for pod in own}
                wanted = [f"{meta['name']}-{number}" for number in range(count)] if kind == "StatefulSet" else \
                    [f"{meta['name']}-{os.urandom(3).hex()}" for _ in range(count - len(own))]
                for name in wanted:
                    if name not in names:
                        self.make(kind, owner, name)
                for pod in own:
                    if kind == "StatefulSet" and pod["metadata"]["name"] not in wanted:
                        self.api.call("DELETE", self.place("Pod", pod))
                ready = sum(1 for pod in own if self.is_ready(pod))
                status = {"observedGeneration": meta["generation"], "replicas": len(own), "readyReplicas": ready, "updatedReplicas": len(own),
                          "availableReplicas": ready}
                if kind == "StatefulSet":
                    status.update(currentReplicas=len(own), currentRevision="one", updateRevision="one")
                if any(owner.get("status", {}).get(key) != value for key, value in status.items()):
                    self.patch(kind, owner, status)

    def is_ready(self, pod):
        return any(each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions") or ())

    def make(self, kind, owner, name):
        meta, template = owner["metadata"], owner["spec"]["template"]
        spec = json.loads(json.dumps(template["spec"]))
        for claim in owner["spec"].get("volumeClaimTemplates", ()):
            spec.setdefault("volumes", []).append({"name": claim["metadata"]["name"], "emptyDir": {}})
        self.api.call("POST", KINDS["Pod"].format(f"namespaces/{meta['namespace']}/"), {
            "apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {
                "name": name, "namespace": meta["namespace"], "labels": template["metadata"].get("labels", {}),
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": True}]}})

    # What a kubelet does

    def run(self, pods):
        """Starts, ends and looks at what the pods are."""
        there = {pod["metadata"]["uid"]: pod for pod in pods}
        for uid in [uid for uid in self.pods if uid not in there]:
            self.pods.pop(uid).stop()  # as when its node is lost
        for uid, thing in there.items():
            if thing["metadata"].get("deletionTimestamp"):
                if uid in self.pods:
                    self.pods.pop(uid).stop(signal.SIGTERM)
                with contextlib.suppress(Refused):
                    self.api.call("DELETE", self.place("Pod", thing) + "?gracePeriodSeconds=0")
            elif uid not in self.pods and thing.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                self.start(uid, thing)
            elif uid in self.pods:
                self.look(self.pods[uid])

    def start(self, uid, thing):
        self.made += 1
        pod = Pod(self, thing, self.made)
        try:
            pod.start()
        except (Refused, KeyError, StopIteration, subprocess.CalledProcessError) as error:  # a Secret that is not there yet
            print(f"{thing['metadata']['name']}: {error!r}", flush=True)
            shutil.rmtree(pod.folder, ignore_errors=True)
            return
        self.pods[uid] = pod

    def look(self, pod):
        if not pod.process.alive():
            if time.monotonic() < pod.started + RESTART_S:
                return
            print(f"{pod.name} ended with {pod.process.child.returncode}", flush=True)
            if pod.spec.get("restartPolicy") == "Never":
                self.patch("Pod", pod.thing, {"phase": "Failed" if pod.process.child.returncode else "Succeeded"})
                return
            pod.restarts += 1
            try:
                pod.run_again()
            except subprocess.CalledProcessError as error:  # it ended before it had a network
                print(f"{pod.name}: {error}", flush=True)
        ready = pod.probe()
        if ready != pod.ready:
            pod.ready = ready
            word = "True" if ready else "False"
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            conditions = [{"type": each, "status": word if "Ready" in each else "True", "lastTransitionTime": now}
                          for each in ("PodScheduled", "Initialized", "ContainersReady", "Ready")]
            self.patch("Pod", pod.thing, {"phase": "Running", "podIP": pod.address, "podIPs": [{"ip": pod.address}], "conditions": conditions,
                                          "hostIP": SERVER, "hostIPs": [{"ip": SERVER}]})

    def name_all(self):
        """Names of services and of their pods, for everybody."""
        lines = ["127.0.0.1 localhost", f"{SERVER} kubernetes.default.svc"]
        for service in self.list("Service"):
            meta, selector = service["metadata"], service["spec"].get("selector")
            chosen = [pod for pod in self.pods.values() if selector and pod.space == meta["namespace"] and
                      selector.items() <= pod.thing["metadata"].get("labels", {}).items()]
            base = f"{meta['name']}.{meta['namespace']}"
            if service["spec"].get("clusterIP") == "None":
                lines += [f"{pod.address} {pod.name}.{base}.svc {pod.name}.{base}.svc.cluster.local" for pod in chosen]
            for pod in [pod for pod in chosen if pod.ready][:1]:
                lines.append(f"{pod.address} {base}.svc {base} {base}.svc.cluster.local")
        text = "\n".join(lines + [f"{pod.address} {pod.name}" for pod in self.pods.values()]) + "\n"
        if text != self.hosts.read_text("utf-8"):
            for path in (self.hosts, *(pod.folder / "hosts" for pod in self.pods.values())):
                path.write_text(text, "utf-8")  # in place: they are mounted

    def forever(self):
        while True:
            try:
                pods = self.list("Pod")
                self.control(pods)
                self.run(pods)
                self.name_all()
            except (OSError, Refused) as error:
                print(f"API server: {error}", flush=True)
            time.sleep(POLL_S)


def main():
    parser = argparse.ArgumentParser(prog="kubelet", description=__doc__.splitlines()[0])
    parser.add_argument("settings", help="JSON: work, url, authority, token, images, environment, relays")
    settings = json.loads(Path(parser.parse_args().settings).read_text("utf-8"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{SERVER}/16", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    for port, to in settings["relays"].items():
        relay(SERVER, int(port), to)
    node = Node(settings)
    try:
        node.forever()
    finally:
        for pod in node.pods.values():
            pod.stop()


if __name__ == "__main__":
    main()
