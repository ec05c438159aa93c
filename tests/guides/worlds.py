"""What each guide presumes: a machine, its packages, a Flink, servers. Each is a context manager and knows:

prefix       words before the command of a block: the machine it runs on
path         folders of programs that the reader has, before those of the system
values       what the reader would write into the blocks that are marked as his own
command()    runs something there and gives its output; tell(): logs, for whoever looks for a failure
check()      Failure when something does not hold that a guide's own steps do not look at
"""
import contextlib
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))
import packages  # noqa: E402
from lib import flink_home, maven  # noqa: E402
from lib.failure import Failure  # noqa: E402
from lib.flink import java  # noqa: E402
from lib.hdfs import Hdfs  # noqa: E402
from lib.kerberos import Kdc  # noqa: E402
from lib.oss import OssServer  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.s3 import S3  # noqa: E402

PATIENCE_S = 120


class World:
    """This machine, with holdfastd and holdfast as they are built here in place of the packages."""

    needs_root = False

    def __init__(self, work):
        self.work = work
        self.prefix, self.path, self.values = [], [BUILD / "daemon", BUILD / "cli"], {}
        self.state, self.home = str(work / "state"), str(work / "home")
        self.environment = {"HOME": self.home, "FLINK_PID_DIR": str(work), "JAVA_HOME": str(Path(java()).resolve().parents[1])}
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        Path(self.home).mkdir()
        try:
            self.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    def start(self):
        pass

    def run(self, server):
        """Starts a server; it ends with this world."""
        self._stack.callback(server.stop)
        return server.start()

    def check(self):
        pass

    def command(self, *words):
        done = subprocess.run([*self.prefix, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        if done.returncode:
            raise Failure(f"{' '.join(map(str, words))}: {done.stdout.strip()[-300:]}")
        return done.stdout

    def tell(self):
        places = [f"{self.home}/*.log", f"{self.values.get('FLINK_HOME', self.home)}/log/*", "/var/log/holdfastd.log"][:3 if self.prefix else 2]
        return self.command("sh", "-c", f"for f in {' '.join(places)}; do [ ! -f $f ] || {{ echo \"== $f\"; grep -E 'WARN|ERROR|Holdfast|Exception|level=(warn|error)' $f | tail -n 12; }}; done")

    def flink(self):
        """A Flink of the reader's own, and a job that keeps state."""
        home = flink_home.install(self.work / "flink")
        self.values.update(FLINK_HOME=home, JOB_JAR=maven.job_jar(), JOB_CLASS="io.holdfast.testjob.StatefulJob")
        return home


class Host(World):
    """A Debian of its own: this machine's files with changes in memory, a loopback of its own, packages to install. In place of
    systemd stands a script that runs the unit's command as the unit's user."""

    needs_root = True
    SYSTEMCTL = """#!/bin/sh
set -e
for unit; do :; done
pid=/run/$unit.pid
case $1 in stop | restart | disable)
    if [ -f "$pid" ]; then
        kill "$(cat "$pid")"
        while kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.1; done
        rm "$pid"
    fi ;;
esac
case $1 in start | restart | enable)
    if [ ! -f "$pid" ] || ! kill -0 "$(cat "$pid")" 2>/dev/null; then
        command=$(sed -n 's/^ExecStart=//p' "/usr/lib/systemd/system/$unit.service")
        user=$(sed -n 's/^User=//p' "/usr/lib/systemd/system/$unit.service")
        setpriv --reuid "$user" --regid "$user" --init-groups --no-new-privs $command >>"/var/log/$unit.log" 2>&1 &
        echo $! >"$pid"
    fi ;;
esac
"""

    def start(self):
        if os.geteuid() != 0:
            raise Failure("this guide needs root: it mounts")
        maven.plugin_jar()
        debs = self.work / "debs"
        made = packages.make(debs)
        packages.check("holdfast-flink" in made, "the plugin was not built when cmake ran: run cmake again")
        bin_folder = self.work / "bin"
        bin_folder.mkdir()
        script = bin_folder / "systemctl"
        script.write_text(self.SYSTEMCTL, "utf-8")
        script.chmod(0o755)
        self.path = [bin_folder]
        self.flink()
        self.values["DEBS"] = debs
        self.machine = self._stack.enter_context(packages.Overlay(network=True))
        self.prefix = [str(word) for word in self.machine.inside()]
        self.state, self.home = "/run/guide", "/root"
        self.environment["HOME"] = "/root"
        self.values["HOST"] = "localhost"


class OnS3(World):
    """versitygw in place of MinIO: a real server of the protocol, with an empty bucket."""

    def start(self):
        server = self.run(S3(self.work))
        self.flink()
        flink_home.add_s3(self.values["FLINK_HOME"])
        self.values.update(S3_ENDPOINT=server.endpoint, BUCKET=server.bucket, ACCESS_KEY=server.access_key, SECRET_KEY=server.secret_key,
                           LISTEN=f"127.0.0.1:{free_port()}", PLUGIN_JAR=maven.plugin_jar())


class OnOss(World):
    """The strict OSS of tests/lib/oss.py, which is not Aliyun's."""

    def start(self):
        server = self.run(OssServer())
        self.values.update(OSS_ENDPOINT=server.endpoint, OSS_REGION=server.region, BUCKET=server.bucket, ADDRESS_STYLE="path",
                           ACCESS_KEY_ID=server.access_key, ACCESS_KEY_SECRET=server.secret_key, LISTEN=f"127.0.0.1:{free_port()}")


class OnKerberos(World):
    """A real KDC, and a NameNode and a DataNode that answer to nobody without a ticket."""

    def start(self):
        kdc = self.run(Kdc(self.work, ["holdfast", "hdfs/localhost", "HTTP/localhost"]))
        cluster = self.run(Hdfs(self.work, kdc=kdc))
        self.environment["no_proxy"] = "localhost"
        self.values.update(NAMENODES=cluster.urls, KRB5_CONFIG=kdc.config, KEYTAB=kdc.keytab_of("holdfast"),
                           ADMIN_KEYTAB=kdc.keytab_of("hdfs/localhost"), LISTEN=f"127.0.0.1:{free_port()}")


WORLDS = {"flink-standalone": Host, "s3": OnS3, "oss": OnOss, "hdfs-kerberos": OnKerberos}
