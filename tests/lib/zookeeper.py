"""Flink's own ZooKeeper HA: the peer that comparisons run against."""
import socket
from pathlib import Path

from .failure import Failure, wait_until
from .ports import free_port
from .process import Process

_JAR = Path("/usr/share/java/zookeeper.jar")
_LOGGING = """log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p [%t] %c{1} - %m%n
"""


class ZooKeeper:
    """One ZooKeeper server of the Debian package, and the Flink options that use it."""

    kind = "zookeeper"
    granted = r"was granted leadership"
    lost = r"DefaultDispatcherRunner was revoked the leadership"

    def __init__(self, work, session_ms=4000):
        self.work = Path(work) / "zookeeper"
        self.session_ms = session_ms
        self.port = free_port()
        self.process = None

    def start(self):
        if not _JAR.exists():
            raise Failure("ZooKeeper is not installed: run scripts/install, or apt-get install zookeeper")
        from .flink import java
        conf = self.work / "zoo.cfg"
        self.work.mkdir(parents=True, exist_ok=True)
        conf.write_text(f"tickTime=2000\ndataDir={self.work / 'data'}\nclientPort={self.port}\n"
                        "clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n"
                        "4lw.commands.whitelist=*\n", "utf-8")
        (self.work / "log4j.properties").write_text(_LOGGING, "utf-8")
        jars = [_JAR, *(_JAR.parent / f"{name}.jar" for name in ("slf4j-api", "slf4j-log4j12", "log4j-1.2"))]
        self.process = Process("zookeeper", [
            java(), "-Xmx256m", "-XX:+UseSerialGC", f"-Dlog4j.configuration=file:{self.work}/log4j.properties",
            "-cp", ":".join(map(str, jars)), "org.apache.zookeeper.server.quorum.QuorumPeerMain", conf],
            self.work / "zookeeper.log").start()
        self.wait_ready()
        return self

    def wait_ready(self):
        def serving():
            self.process.require_alive()
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                    connection.sendall(b"ruok")
                    return connection.recv(4) == b"imok"
            except OSError:
                return False
        wait_until(serving, 60, "ZooKeeper to serve", poll=0.1)

    def restart(self):
        self.process.start()

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process:
            self.process.stop()

    def class_path(self):
        return []

    def flink_options(self):
        return {"high-availability.type": "zookeeper",
                "high-availability.zookeeper.quorum": f"127.0.0.1:{self.port}",
                "high-availability.zookeeper.client.session-timeout": f"{self.session_ms} ms",
                "zookeeper.sasl.disable": "true"}

    def wait_standby(self, _cluster):
        """Nothing to ask here; a session of seconds hides a standby that is late by some milliseconds."""

    def listed(self, _cluster, _job):
        """ZooKeeper keeps serialized Java objects: nothing here reads them, the JobManagers' logs must do."""
        return None
