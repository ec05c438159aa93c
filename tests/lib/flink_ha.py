"""What Flink's own HA services keep, written as they write it: Java objects, znodes, ConfigMaps."""
import base64
import json
import os
import struct
import time

from .zookeeper_client import Refused

_STATE = "org.apache.flink.runtime.state."


def _utf(text):
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _class(name, fields, uid=1, flags=2):
    """A descriptor without a superclass. fields: (type, name[, signature])."""
    told = b"".join(kind.encode() + _utf(field) + (b"\x74" + _utf(more[0]) if more else b"") for kind, field, *more in fields)
    return b"\x72" + _utf(name) + struct.pack(">QBH", uid, flags, len(fields)) + told + b"\x78\x70"


def _file_handle(path, size):
    uri = b"\x73" + _class("java.net.URI", [("L", "string", "Ljava/lang/String;")], 0xac01782e439e49ab, 3) \
        + b"\x74" + _utf(path) + b"\x78"
    return b"\x73" + _class(_STATE + "filesystem.FileStateHandle",
                            [("J", "stateSize"), ("L", "filePath", "Lorg/apache/flink/core/fs/Path;")], 0x04dc75d862bd1bb3) \
        + struct.pack(">q", size) + b"\x73" + _class("org.apache.flink.core.fs.Path", [("L", "uri", "Ljava/net/URI;")]) + uri


def _retrievable(path, size):
    return b"\x73" + _class(_STATE + "RetrievableStreamStateHandle",
                            [("L", "wrappedStreamStateHandle", "Lorg/apache/flink/runtime/state/StreamStateHandle;")],
                            0x00011e18f155972b) + _file_handle(path, size)


def handle(path, size=10):
    """As a znode holds it."""
    return b"\xac\xed\x00\x05" + _retrievable(path, size)


def marked_handle(path, size=10, marked=False):
    """As a ConfigMap holds it, before base64."""
    return b"\xac\xed\x00\x05\x73" + _class(
        "org.apache.flink.kubernetes.highavailability.KubernetesStateHandleStore$StateHandleWithDeleteMarker",
        [("Z", "markedForDeletion"), ("L", "inner", "Lorg/apache/flink/runtime/state/RetrievableStateHandle;")],
        0x1bad4480ef860d7c) + bytes([marked]) + _retrievable(path, size)


def completed_checkpoint(number, external, triggered_ms):
    """The part of a CompletedCheckpoint that tells where the checkpoint is."""
    return b"\xac\xed\x00\x05\x73" + _class(
        "org.apache.flink.runtime.checkpoint.CompletedCheckpoint",
        [("J", "checkpointID"), ("J", "completionTimestamp"), ("J", "timestamp"),
         ("L", "externalPointer", "Ljava/lang/String;"),
         ("L", "props", "Lorg/apache/flink/runtime/checkpoint/CheckpointProperties;")], 0x8bfa6e933be66402) \
        + struct.pack(">qqq", number, triggered_ms + 1, triggered_ms) + b"\x74" + _utf(external) + b"\x70"


class Znodes:
    """The znodes of one cluster, in the layout since 1.15. `client`: of zookeeper_client.py, whose session leads."""

    def __init__(self, client, cluster="c1", root="/flink"):
        self.client, self.base = client, f"{root}/{cluster}"
        self.made = set()
        self.node(f"{self.base}/leader/latch")

    def node(self, path, data=b""):
        for end in (at for at in range(1, len(path)) if path[at] == "/"):
            if path[:end] not in self.made:
                self.made.add(path[:end])
                try:
                    self.client.create(path[:end])
                except Refused as refused:
                    if refused.code != -110:  # it is there
                        raise
        self.client.create(path, data)
        self.made.add(path)

    def lead(self):
        self.client.create(f"{self.base}/leader/latch/_c_{os.urandom(4).hex()}-latch-0000000000", ephemeral=True)

    def plan(self, job, path):
        self.node(f"{self.base}/execution-plans/{job}", handle(path))
        self.node(f"{self.base}/execution-plans/{job}/locks")

    def checkpoint(self, job, number, path):
        entry = f"{self.base}/jobs/{job}/checkpoints/{number:019}"
        self.node(entry, handle(path))
        self.node(entry + "/locks")
        self.node(entry + "/locks/lock")


def config_maps(cluster="c1", plans=None, checkpoints=None, leads=False, namespace="default"):
    """The objects of one cluster as 2.x has them. plans: {job: path}; checkpoints: {job: {number: path}}."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() - (0 if leads else 3600)))
    leader = {"holderIdentity": "8e2a" if leads else "", "leaseDuration": "PT15S", "acquireTime": now, "renewTime": now,
              "leaderTransitions": 1}
    labels = {"app": cluster, "type": "flink-native-kubernetes"}

    def config_map(name, data, annotations=None):
        return {"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations or {}},
                "data": data}

    def value(path):
        return base64.b64encode(marked_handle(path)).decode()
    made = [config_map(f"{cluster}-cluster-config-map",
                       {f"executionPlan-{job}": value(path) for job, path in (plans or {}).items()},
                       {"control-plane.alpha.kubernetes.io/leader": json.dumps(leader)})]
    for job, entries in (checkpoints or {}).items():
        made.append(config_map(f"{cluster}-{job}-config-map",
                               {"counter": "9", **{f"checkpointID-{number:019}": value(path)
                                                   for number, path in entries.items()}}))
    return made
