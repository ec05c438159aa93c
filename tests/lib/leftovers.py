"""HA metadata as Flink's own serializers write it, for each of its layouts, without a Flink that runs."""
import base64
import json
import re
import struct
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path

from .paths import ROOT

#: A file's bytes as Flink wrote them; the path and the size at their place are replaced.
_SAMPLE_PATH = b"s3://bkt/ha/c1/completedCheckpoint0a1b2c3d4e5f"
_SAMPLE_SIZE = struct.pack(">q", 4711)


def _sample(name):
    text = (ROOT / "tests" / "lib" / "flink_bytes.h").read_text("utf-8")
    found = re.search(rf"{name}\[\] =((?:\s*\"[0-9a-f]*\")+);", text)
    return bytes.fromhex("".join(re.findall(r'"([0-9a-f]*)"', found[1])))


def _handle(sample, path, size):
    path = str(path).encode()
    at = sample.index(_SAMPLE_PATH)
    changed = sample[:at - 2] + struct.pack(">H", len(path)) + path + sample[at + len(_SAMPLE_PATH):]
    return changed.replace(_SAMPLE_SIZE, struct.pack(">q", size), 1)


def kubernetes_handle(path, size=10):
    """A value of a ConfigMap, 1.15 and later."""
    return base64.b64encode(_handle(_sample("flink_kubernetes_handle"), path, size)).decode()


def plain_handle(path, size=10):
    """The data of a znode; in base64 a value of a ConfigMap up to 1.14."""
    return _handle(_sample("flink_file_handle"), path, size)


def connection_info(address):
    text = address.encode()
    block = struct.pack(">H", len(text)) + text
    leader = bytes.fromhex("7372000e6a6176612e7574696c2e55554944bc9903f7986d852f0200024a000c6c65617374536967426974734a000b"
                           "6d6f7374536967426974737870811f561ec4a28d75623e39fb70c344f1")
    return b"\xac\xed\x00\x05\x77" + bytes([len(block)]) + block + leader


def job_of(cluster):
    """The id that Flink gives to the job of an application cluster."""
    value = 0
    for letter in cluster:
        value = (31 * value + ord(letter)) & 0xFFFFFFFF
    value = value - (1 << 32) if value >= 1 << 31 else value
    return struct.pack(">qq", value, 0).hex()


def moment(seconds_ago):
    at = datetime.fromtimestamp(time.time() - seconds_ago, timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


class Storage:
    """high-availability.storageDir in a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def file(self, cluster, kind, content=None):
        path = self.folder / cluster / f"{kind}{uuid.uuid4().hex[:12]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or (kind * 50).encode() + uuid.uuid4().bytes)
        return path

    def result(self, cluster, job, status="CANCELED", dirty=False, below=""):
        folder = self.folder / "job-result-store" / cluster / below
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{job}{'_DIRTY' if dirty else ''}.json"
        path.write_text(json.dumps({"result": {"id": job, "application-status": status, "accumulator-results": {},
                                               "net-runtime": 1}, "version": 1}), "utf-8")
        return path


class Leftovers:
    """The HA metadata of one cluster. layout: "1.14", "1.20", "2.2" or "2.3"."""

    def __init__(self, storage, cluster, layout="1.20", checkpoints=(811, 812), plan=True, renewed_s=3600, lease_s=1,
                 address="http://127.0.0.1:1"):
        self.cluster, self.layout, self.job = cluster, layout, job_of(cluster)
        self.address, self.renewed_s, self.lease_s = address, renewed_s, lease_s
        kinds = {"1.14": ("jobGraph-", "submittedJobGraph"), "1.20": ("jobGraph-", "submittedJobGraph"),
                 "2.2": ("executionPlan-", "submittedExecutionPlan"), "2.3": ("application-", "submittedApplication")}
        self.plan_key, name = kinds[layout]
        self.plan = storage.file(cluster, name) if plan else None
        self.checkpoints = {number: storage.file(cluster, "completedCheckpoint") for number in checkpoints}
        self._maps = None
        self.files = [path for path in [self.plan, *self.checkpoints.values()] if path]

    # ------------------------------------------------------------------------------ ConfigMaps

    def _value(self, path):
        uri, size = f"file:{path}", path.stat().st_size
        return base64.b64encode(plain_handle(uri, size)).decode() if self.layout == "1.14" else kubernetes_handle(uri, size)

    def _map(self, name, data, leader=False):
        labels = {"app": self.cluster, "type": "flink-native-kubernetes"}
        if self.layout in ("1.14", "1.20"):
            labels["configmap-type"] = "high-availability"
        metadata = {"name": name, "labels": labels}
        if leader:
            duration = float(self.lease_s) if self.layout in ("1.14", "1.20") else f"PT{self.lease_s}S"
            metadata["annotations"] = {"control-plane.alpha.kubernetes.io/leader": json.dumps(
                {"holderIdentity": str(uuid.uuid4()), "leaseDuration": duration, "acquireTime": moment(self.renewed_s + 60),
                 "renewTime": moment(self.renewed_s), "leaderTransitions": 0})}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def config_maps(self):
        """The same each time."""
        if self._maps is None:
            self._maps = self._make_maps()
        return self._maps

    def _make_maps(self):
        pointers = {f"checkpointID-{number:019d}": self._value(path) for number, path in self.checkpoints.items()}
        if pointers:
            pointers["counter"] = str(max(self.checkpoints) + 1)
        plan = {self.plan_key + self.job: self._value(self.plan)} if self.plan else {}
        if self.layout == "1.14":
            parts = {part: {"address": f"akka.tcp://flink@10.0.0.1:6123/user/rpc/{part}", "sessionId": str(uuid.uuid4())}
                     for part in ("resourcemanager", "dispatcher")}
            parts["restserver"] = {"address": self.address, "sessionId": str(uuid.uuid4())}
            parts["dispatcher"].update(plan, **{f"runningJobsRegistry-{self.job}": "RUNNING"})
            return [*(self._map(f"{self.cluster}-{part}-leader", data, True) for part, data in parts.items()),
                    self._map(f"{self.cluster}-{self.job}-jobmanager-leader", pointers, True)]
        prefix = "org.apache.flink.k8s.leader."
        cluster = {prefix + "restserver": f"{uuid.uuid4()},{self.address}",
                   prefix + "dispatcher": f"{uuid.uuid4()},pekko.tcp://flink@10.0.0.1:6123/user/rpc/dispatcher_0", **plan}
        maps = [self._map(f"{self.cluster}-cluster-config-map", cluster, True)]
        if pointers:
            maps.append(self._map(f"{self.cluster}-{self.job}-config-map", pointers))
        # Beside them lie what only looks like them.
        maps.append(self._map(f"flink-config-{self.cluster}", {"config.yaml": f"kubernetes.cluster-id: {self.cluster}\n"}))
        return maps

    def names(self):
        """Of its HA ConfigMaps."""
        return [each["metadata"]["name"] for each in self.config_maps() if not each["metadata"]["name"].startswith("flink-config-")]

    def put(self, api, namespace):
        for each in self.config_maps():
            api.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", each)
        return self

    # ---------------------------------------------------------------------------------- znodes

    def znodes(self, root="/flink"):
        """(path, data), parents first."""
        base = f"{root}/{self.cluster}"
        nodes = [(base, b""), (f"{base}/leader", b""), (f"{base}/leader/latch", b"127.0.0.1")]
        nodes += [(f"{base}/leader/{part}", b"") for part in ("rest_server", "resource_manager", "dispatcher")]
        folder = {"1.20": "jobgraphs", "2.2": "execution-plans", "2.3": "applications"}[self.layout]
        nodes.append((f"{base}/{folder}", b""))
        if self.plan:
            nodes += [(f"{base}/{folder}/{self.job}", plain_handle(f"file:{self.plan}", self.plan.stat().st_size)),
                      (f"{base}/{folder}/{self.job}/locks", b"127.0.0.1")]
        nodes += [(f"{base}/jobs", b""), (f"{base}/jobs/{self.job}", b""), (f"{base}/jobs/{self.job}/checkpoints", b"")]
        for number, path in self.checkpoints.items():
            place = f"{base}/jobs/{self.job}/checkpoints/{number:019d}"
            nodes += [(place, plain_handle(f"file:{path}", path.stat().st_size)), (f"{place}/locks", b"127.0.0.1")]
        nodes.append((f"{base}/jobs/{self.job}/checkpoint_id_counter",
                      struct.pack(">i", max(self.checkpoints, default=0) + 1)))
        return nodes
