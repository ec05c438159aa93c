"""A real HDFS: one NameNode, or two of which one is active, and DataNodes, on loopback; with Kerberos on request."""
import getpass
import json
import os
import subprocess
from pathlib import Path

from . import http, maven
from .failure import Failure, wait_until
from .kerberos import REALM
from .ports import free_port
from .process import Process

_PACKAGE = "org.apache.hadoop.hdfs."
_OPTIONS = ["--add-opens", "java.base/java.lang=ALL-UNNAMED", "-Xms32m", "-Xmx192m", "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
_LOG4J = """log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p [%t] %c{1} - %m%n
"""


class NameNode(Process):
    def __init__(self, hdfs, number):
        self.hdfs = hdfs
        self.id = f"nn{number}"
        self.rpc, self.http = free_port(), free_port()
        self.url = f"http://{hdfs.host}:{self.http}"
        own = [f"-Ddfs.ha.namenode.id={self.id}"] if hdfs.ha else []
        self.flags = own
        super().__init__(self.id, [], hdfs.work / f"{self.id}.log", hdfs.environment)

    def _bean(self, name):
        """What its JMX page says of itself; {} when it does not answer."""
        beans = self.hdfs.get(f"{self.url}/jmx?qry=Hadoop:service=NameNode,name={name}").get("beans", [])
        return beans[0] if beans else {}

    def state(self):
        """"active", "standby", or "" when it does not answer."""
        return self._bean("NameNodeStatus").get("State", "")

    def datanodes(self):
        return self._bean("FSNamesystemState").get("NumLiveDataNodes", 0)


class Hdfs:
    """namenodes 1 or 2 (a pair without automatic failover: activate() decides), and DataNodes.

    kdc: a kerberos.Kdc with hdfs/localhost and HTTP/localhost in its keytab, which has to run before start().
    """

    def __init__(self, work, namenodes=1, datanodes=1, kdc=None):
        from .flink import java
        self.work = Path(work) / "hdfs"
        self.kdc = kdc
        self.host = "localhost" if kdc else "127.0.0.1"  # principals are of names
        self.conf = self.work / "conf"
        self.ha = namenodes > 1
        self.environment = {"HADOOP_CONF_DIR": str(self.conf)}
        for folder in ("webapps/hdfs", "webapps/datanode"):
            (self.conf / folder).mkdir(parents=True)
        self.namenodes = [NameNode(self, number + 1) for number in range(namenodes)]
        self._java = [java(), *_OPTIONS, *(kdc.java_options if kdc else ()), "-cp", f"{self.conf}:{maven.hadoop_lib()}/*"]
        self._write_conf(datanodes)
        for node in self.namenodes:
            node.argv = self._command("server.namenode.NameNode", *node.flags)
        self.datanodes = [self._datanode(number) for number in range(datanodes)]

    @property
    def urls(self):
        return ",".join(node.url for node in self.namenodes)

    @property
    def default_fs(self):
        return "hdfs://pair" if self.ha else f"hdfs://{self.host}:{self.namenodes[0].rpc}"

    def _command(self, name, *arguments):
        flags = [argument for argument in arguments if argument.startswith("-Ddfs.ha")]
        rest = [argument for argument in arguments if argument not in flags]
        # A NameNode reads its id from the configuration; -D of the JVM does not reach it.
        conf = self.conf if not flags else self.work / f"conf-{flags[0].rsplit('=', 1)[1]}"
        return [*self._java[:-1], f"{conf}:{maven.hadoop_lib()}/*", _PACKAGE + name, *rest]

    def _datanode(self, number):
        data, ipc, web = free_port(), free_port(), free_port()
        argv = self._command("server.datanode.DataNode", f"-Ddfs.datanode.data.dir={self.work}/data-{number}",
                             f"-Ddfs.datanode.address={self.host}:{data}", f"-Ddfs.datanode.ipc.address={self.host}:{ipc}",
                             f"-Ddfs.datanode.http.address={self.host}:{web}")
        argv = [part if not part.startswith("-Ddfs.datanode") else part.replace("-D", "-D ", 1) for part in argv]
        argv = [word for part in argv for word in (part.split(" ", 1) if part.startswith("-D ") else [part])]
        return Process(f"datanode-{number}", argv, self.work / f"datanode-{number}.log", self.environment)

    def _write_conf(self, datanodes):
        first = self.namenodes[0]
        site = {"dfs.replication": str(min(datanodes, 2)), "dfs.datanode.hostname": self.host,
                "dfs.namenode.datanode.registration.ip-hostname-check": "false", "dfs.namenode.safemode.extension": "0",
                "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": "10",
                "dfs.client.block.write.locateFollowingBlock.max.delay.ms": "100",
                "dfs.namenode.fs-limits.min-block-size": "1024",
                # A killed DataNode is not handed out for ever.
                "dfs.namenode.heartbeat.recheck-interval": "1000", "dfs.heartbeat.interval": "1",
                "dfs.namenode.name.dir": f"{self.work}/name"}
        core = {"hadoop.tmp.dir": f"{self.work}/tmp", "fs.defaultFS": self.default_fs}
        if self.ha:
            name = "pair"
            site.update({"dfs.nameservices": name, "dfs.ha.namenodes.pair": ",".join(n.id for n in self.namenodes),
                         "dfs.namenode.shared.edits.dir": f"file://{self.work}/shared",
                         f"dfs.client.failover.proxy.provider.{name}":
                             "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
                         "dfs.ha.automatic-failover.enabled": "false", "dfs.ha.tail-edits.period": "1",
                         "dfs.ha.log-roll.period": "1", "dfs.ha.fencing.methods": "shell(/bin/true)"})
            for node in self.namenodes:
                site[f"dfs.namenode.rpc-address.pair.{node.id}"] = f"{self.host}:{node.rpc}"
                site[f"dfs.namenode.http-address.pair.{node.id}"] = f"{self.host}:{node.http}"
        else:
            site["dfs.namenode.http-address"] = f"{self.host}:{first.http}"
        if self.kdc:
            self._secure(core, site)
        self._write_site(self.conf, core, site)
        for node in self.namenodes if self.ha else ():
            folder = self.work / f"conf-{node.id}"
            (folder / "webapps/hdfs").mkdir(parents=True)
            self._write_site(folder, core, {**site, "dfs.ha.namenode.id": node.id,
                                            "dfs.namenode.name.dir": f"{self.work}/name-{node.id}"})

    def _secure(self, core, site):
        """As an administrator would: RPC, WebHDFS and the web pages by Kerberos, blocks by token."""
        secret = self.work / "signature.secret"
        secret.write_text("of the tests", "utf-8")
        server, web, keytab = f"hdfs/localhost@{REALM}", f"HTTP/localhost@{REALM}", str(self.kdc.keytab)
        core.update({"hadoop.security.authentication": "kerberos", "hadoop.http.authentication.type": "kerberos",
                     "hadoop.http.authentication.kerberos.principal": web,
                     "hadoop.http.authentication.kerberos.keytab": keytab,
                     "hadoop.http.authentication.signature.secret.file": str(secret)})
        site.update({"dfs.namenode.kerberos.principal": server, "dfs.namenode.keytab.file": keytab,
                     "dfs.datanode.kerberos.principal": server, "dfs.datanode.keytab.file": keytab,
                     "dfs.namenode.kerberos.internal.spnego.principal": web,
                     "dfs.web.authentication.kerberos.principal": web, "dfs.web.authentication.kerberos.keytab": keytab,
                     "dfs.block.access.token.enable": "true", "ignore.secure.ports.for.testing": "true"})

    @staticmethod
    def _write_site(folder, core, site):
        for name, values in (("core-site.xml", core), ("hdfs-site.xml", site)):
            rows = "".join(f"<property><name>{key}</name><value>{value}</value></property>\n"
                           for key, value in values.items())
            (folder / name).write_text(f"<configuration>\n{rows}</configuration>\n", "utf-8")
        (folder / "log4j.properties").write_text(_LOG4J, "utf-8")

    def run(self, name, *arguments):
        """One of its programs, to its end."""
        done = subprocess.run(self._command(name, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{name} {' '.join(arguments)}: {(done.stdout.strip().splitlines() or ['no message'])[-1]}")

    def start(self):
        first = self.namenodes[0]
        self.run("server.namenode.NameNode", *first.flags, "-format", "-force", "-nonInteractive")
        first.start()
        for node in self.namenodes[1:]:
            wait_until(first.state, 120, "the first NameNode to answer", poll=0.1)
            self.run("server.namenode.NameNode", *node.flags, "-bootstrapStandby", "-force", "-nonInteractive")
            node.start()
        for node in self.datanodes:
            node.start()
        if self.ha:
            self.activate(first)
        self.wait_ready()
        return self

    def activate(self, node):
        """Makes this NameNode the active one; what was active must be gone or standby."""
        wait_until(lambda: node.require_alive() or node.state(), 120, f"{node.id} to answer", poll=0.1)
        self.run("tools.DFSHAAdmin", "-transitionToActive", "--forceactive", node.id)

    def active(self):
        for node in self.namenodes:
            if node.alive() and node.state() == "active":
                return node
        return None

    def wait_ready(self, datanodes=None):
        wanted = len(self.datanodes) if datanodes is None else datanodes

        def ready():
            for node in self.namenodes:
                node.require_alive()
            node = self.active()
            return node is not None and node.datanodes() >= wanted
        wait_until(ready, 120, "HDFS to be ready", poll=0.1)

    def make_folder(self, path, owner=None):
        """As the superuser, who is whoever started the NameNode; then it is the owner's."""
        for operation in ["MKDIRS"] + ([f"SETOWNER&owner={owner}"] if owner else []):
            if self.kdc:
                self.webhdfs("hdfs/localhost", "PUT", path, operation)
                continue
            code, answer = http.call(
                "PUT", f"{self.active().url}/webhdfs/v1{path}?op={operation}&user.name={getpass.getuser()}")
            if code != 200:
                raise Failure(f"{operation} {path}: {code} {answer}")

    def get(self, url):
        """A page's JSON, or {}; by SPNEGO as the NameNode's own principal where that is needed."""
        if self.kdc:
            try:
                answer = json.loads(self._curl("hdfs/localhost", "GET", url))
            except (Failure, ValueError):
                return {}
            return answer
        code, answer = http.call("GET", url, timeout=2)
        return answer if code == 200 and isinstance(answer, dict) else {}

    def _curl(self, principal, method, url):
        done = subprocess.run(["curl", "-sSf", "--negotiate", "-u", ":", "-m", "20", "-X", method, url], capture_output=True,
                              text=True, env={**os.environ, **self.kdc.environment(principal), "no_proxy": "localhost"},
                              check=False)
        if done.returncode != 0:
            raise Failure(f"{method} {url} as {principal}: {done.stderr.strip()}")
        return done.stdout

    def webhdfs(self, principal, method, path, operation):
        """One call to the active NameNode by SPNEGO; the answer's text."""
        return self._curl(principal, method, f"{self.active().url}/webhdfs/v1{path}?op={operation}")

    def stop(self):
        for node in [*self.datanodes, *self.namenodes]:
            if node.alive():
                node.kill()
