"""ZooKeeper servers: an ensemble for elections, and one for Flink's own HA, which comparisons run against."""
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


# Elections are tested, not disks: a flush that takes seconds would be a server that is away. A kill loses nothing by it.
_QUICK = ("-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no")


def _java_command(work, conf, *flags):
    """A server from the jars of the Debian package."""
    if not _JAR.exists():
        raise Failure("ZooKeeper is not installed: run scripts/install, or apt-get install zookeeper")
    from .flink import java
    (work / "log4j.properties").write_text(_LOGGING, "utf-8")
    names = ("zookeeper-jute", "slf4j-api", "slf4j-log4j12", "log4j-1.2", "metrics-core", "snappy-java", "netty-buffer",
             "netty-common", "netty-handler", "netty-transport", "netty-transport-native-epoll", "netty-transport-native-unix-common",
             "netty-codec", "netty-resolver", "commons-cli", "commons-io")
    jars = [_JAR, *(path for name in names for path in [_JAR.parent / f"{name}.jar"] if path.exists())]
    return [java(), "-Xmx256m", "-XX:+UseSerialGC", *flags, f"-Dlog4j.configuration=file:{work}/log4j.properties",
            "-Dzookeeper.jmx.log4j.disable=true", "-cp", ":".join(map(str, jars)), "org.apache.zookeeper.server.quorum.QuorumPeerMain", conf]


def four_letters(port, word, timeout=2):
    """What a server answers to one of its four-letter commands; "" when it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
            connection.sendall(word.encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts).decode(errors="replace")
    except OSError:
        return ""


class Member:
    """One server of an ensemble."""

    def __init__(self, ensemble, number):
        self.number = number
        self.port, self.tls_port, self.peer_port, self.vote_port = (free_port() for _ in range(4))
        self.work = ensemble.work / str(number)
        self.ensemble = ensemble
        self.process = None

    def configure(self):
        (self.work / "data").mkdir(parents=True, exist_ok=True)
        (self.work / "data" / "myid").write_text(f"{self.number}\n", "utf-8")
        lines = [f"tickTime={self.ensemble.tick_ms}", "initLimit=20", "syncLimit=5", f"dataDir={self.work / 'data'}",
                 f"clientPort={self.port}", "clientPortAddress=127.0.0.1", "admin.enableServer=false", "maxClientCnxns=0",
                 "4lw.commands.whitelist=*", "maxSessionTimeout=60000",
                 *(line.format(member=self) for line in self.ensemble.extra)]
        lines += [f"server.{m.number}=127.0.0.1:{m.peer_port}:{m.vote_port}" for m in self.ensemble.members]
        conf = self.work / "zoo.cfg"
        conf.write_text("\n".join(lines) + "\n", "utf-8")
        self.process = Process(f"zookeeper-{self.number}", _java_command(self.work, conf, *self.ensemble.java_flags),
                               self.work / "zookeeper.log", self.ensemble.env)

    def mode(self):
        """"leader", "follower", or "" while it does not serve."""
        for line in four_letters(self.port, "srvr").splitlines():
            if line.startswith("Mode: "):
                return line[6:].strip()
        return ""

    def figure(self, name):
        """One of mntr's, such as zk_packets_received; None when the server does not tell."""
        for line in four_letters(self.port, "mntr").splitlines():
            key, _, value = line.partition("\t")
            if key == name:
                return float(value)
        return None


class Ensemble:
    """count servers that elect a leader among themselves."""

    def __init__(self, work, count=3, tick_ms=1000, extra=(), env=None, java_flags=_QUICK):
        self.work = Path(work) / "ensemble"
        self.tick_ms = tick_ms
        self.extra = list(extra)  # more lines for zoo.cfg, with {member.tls_port} or what else is the member's own
        self.env = env
        self.java_flags = java_flags
        self.members = [Member(self, number + 1) for number in range(count)]

    @property
    def quorum(self):
        return ",".join(f"127.0.0.1:{member.port}" for member in self.members)

    def start(self):
        try:
            for member in self.members:
                member.configure()
                member.process.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self):
        """Until every server serves, so that the next fault finds a whole ensemble."""
        def serving():
            for member in self.members:
                member.process.require_alive()
            return all(member.mode() for member in self.members)
        wait_until(serving, 180, lambda: f"the ensemble to serve, is {[m.mode() for m in self.members]}", poll=0.1)

    def leader(self):
        return wait_until(lambda: next((m for m in self.members if m.process.alive() and m.mode() == "leader"), None), 120,
                          "the ensemble to have a leader")

    def pause(self, members=None):
        for member in members or self.members:
            member.process.pause()

    def resume(self):
        for member in self.members:
            member.process.resume()

    def packets(self):
        """All that the servers have received from clients, these questions included."""
        def all_of_them():
            figures = [member.figure("zk_packets_received") for member in self.members]
            return None not in figures and figures
        return sum(wait_until(all_of_them, 60, "the servers to tell what they received"))

    def stop(self):
        for member in self.members:
            if member.process and member.process.alive():
                member.process.resume()
                member.process.kill()


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
        conf = self.work / "zoo.cfg"
        self.work.mkdir(parents=True, exist_ok=True)
        conf.write_text(f"tickTime=2000\ndataDir={self.work / 'data'}\nclientPort={self.port}\n"
                        "clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n"
                        "4lw.commands.whitelist=*\n", "utf-8")
        self.process = Process("zookeeper", _java_command(self.work, conf), self.work / "zookeeper.log").start()
        self.wait_ready()
        return self

    def wait_ready(self):
        def serving():
            self.process.require_alive()
            return "Mode:" in four_letters(self.port, "srvr")  # ruok is answered before it serves
        wait_until(serving, 120, "ZooKeeper to serve", poll=0.1)

    def restart(self):
        self.process.start()

    def require_alive(self):
        self.process.require_alive()

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
