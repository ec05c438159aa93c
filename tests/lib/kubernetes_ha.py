"""A real API server, and the Flink options that make Flink's own high availability use it: the other side of comparisons."""
from . import kube, maven


class KubernetesHa:
    """Of the same shape as holdfastd.Holdfastd and zookeeper.ZooKeeper. The JobManagers are processes of this machine."""

    kind = "kubernetes"
    granted = r"was granted leadership"
    lost = r"DefaultDispatcherRunner was revoked the leadership"

    def __init__(self, work, version, place=None, lease_s=None):
        """lease_s: in place of Flink's 15 s, so that a campaign of kills takes minutes."""
        self.place = place
        self.server = kube.Kube(work)
        self._version = version
        self._lease = {} if lease_s is None else {
            f"high-availability.kubernetes.leader-election.{name}": f"{seconds} s"
            for name, seconds in (("lease-duration", lease_s), ("renew-deadline", lease_s), ("retry-period", 1))}

    def start(self):
        self.server.start()
        return self

    def stop(self):
        self.server.stop()

    def class_path(self):
        return [maven.kubernetes_jar(self._version)]

    def flink_options(self):
        config = self.server.kubeconfig("flink", {"token": self.server.tokens["admin"]})
        return {"high-availability.type": "kubernetes", "kubernetes.cluster-id": "flink", "kubernetes.namespace": kube.NAMESPACE,
                "kubernetes.config.file": str(config), **self._lease}

    def wait_standby(self, _cluster):
        """Nothing to ask here; a lease of seconds hides a standby that is late by some milliseconds."""

    def listed(self, _cluster, _job):
        """ConfigMaps keep serialized Java objects: the JobManagers' logs must do."""
        return None
