"""Where holdfastd and Flink keep their files in an end-to-end test: one folder, one S3 server or one HDFS for both; or OSS.

A place tells the daemon its store and Flink its file system: URIs, options, class path, plugins, environment.
"""
from pathlib import Path

from . import maven
from .hdfs import Hdfs
from .oss import OssServer
from .s3 import S3
from .trees import HdfsTree, LocalTree


class Folder:
    """A folder of this machine. The other places have the same methods."""

    name = "file"

    def __init__(self, work):
        self.work = Path(work)

    def start(self):
        """Its servers, and the folders that holdfastd and Flink write to."""
        (self.work / "holdfastd" / "store").mkdir(parents=True)
        return self

    def stop(self):
        pass

    def settings(self):
        """The daemon's."""
        return {"store": (self.work / "holdfastd" / "store").as_uri()}

    def uri(self, folder):
        """Of a folder of Flink's."""
        return (self.work / folder).as_uri()

    def tree(self, path):
        """Of a folder below one of Flink's, to look at."""
        return LocalTree(self.work / path)

    def flink_options(self):
        return {}

    def class_path(self):
        return []

    def install_plugins(self, folder, version):
        """Into Flink's folder of plugins, for this Flink."""

    def environment(self):
        """Of Flink's processes."""
        return {}


class S3Place(Folder):
    """An S3 server of its own. Its objects are files, so the tests can look at them from behind."""

    name = "s3"

    def __init__(self, work):
        super().__init__(work)
        self.server = S3(work)

    def start(self):
        self.server.start()
        return self

    def stop(self):
        self.server.stop()

    def settings(self):
        return {"store": f"s3://{self.server.bucket}/holdfast", **self.server.settings()}

    def uri(self, folder):
        return f"s3://{self.server.bucket}/flink/{folder}"

    def tree(self, path):
        return LocalTree(self.server.work / "store" / self.server.bucket / "flink" / path, f"/flink/{path}")

    def flink_options(self):
        return self.server.flink_settings()

    def install_plugins(self, folder, version):
        target = Path(folder) / "s3"
        target.mkdir(parents=True)
        (target / "flink-s3-fs.jar").symlink_to(maven.s3_plugin(version))


class OssPlace(Folder):
    """holdfastd on the OSS of the tests; Flink, whose own client of OSS the tests do not have, on a folder."""

    name = "oss"

    def __init__(self, work):
        super().__init__(work)
        self.server = OssServer()

    def start(self):
        self.server.wants_condition = True
        self.server.start()
        return self

    def stop(self):
        self.server.stop()

    def settings(self):
        return {"store": f"oss://{self.server.bucket}/holdfast", **self.server.settings()}


class HdfsPlace(Folder):
    """A NameNode and a DataNode. holdfastd and Flink are users of their own, each with a folder."""

    name = "hdfs"

    def __init__(self, work, cluster=None):
        super().__init__(work)
        self.cluster = cluster or Hdfs(work)

    def start(self):
        self.cluster.start()
        self.cluster.make_folder("/holdfast", owner="holdfast")
        self.cluster.make_folder("/flink", owner="flink")
        return self

    def stop(self):
        self.cluster.stop()

    def settings(self):
        return {"store": "hdfs://test/holdfast/store", "hdfs.namenodes": self.cluster.urls}

    def uri(self, folder):
        return f"{self.cluster.default_fs}/flink/{folder}"

    def tree(self, path):
        return HdfsTree(self.cluster, f"/flink/{path}", "flink")

    def class_path(self):
        """What HADOOP_CLASSPATH adds where Flink's own scripts start it. Flink has a binding of slf4j itself."""
        return sorted(jar for jar in maven.hadoop_lib().glob("*.jar") if not jar.name.startswith(("slf4j", "reload4j")))

    def environment(self):
        return {"HADOOP_CONF_DIR": str(self.cluster.conf), "HADOOP_USER_NAME": "flink"}


KINDS = (Folder, S3Place, OssPlace, HdfsPlace)
PLACES = tuple(kind.name for kind in KINDS)


def place(name, work):
    return next(kind for kind in KINDS if kind.name == name)(work)
