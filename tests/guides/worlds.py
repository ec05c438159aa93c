"""What each guide presumes: a machine, its packages, a Flink, servers. Each is a context manager and knows:

prefix       words before the command of a block: the machine it runs on
path         folders of programs that the reader has, before those of the system
values       what the reader would write into the blocks that are marked as his own
command()    runs something there and gives its output; tell(): logs, for whoever looks for a failure
check()      Failure when something does not hold that a guide's own steps do not look at
"""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))
import chart  # noqa: E402
import packages  # noqa: E402
from lib import flink_home, kube, kubectl, maven  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.flink import java  # noqa: E402
from lib.hdfs import Hdfs  # noqa: E402
from lib.kerberos import Kdc  # noqa: E402
from lib.oss import OssServer  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.process import Process  # noqa: E402
from lib.s3 import S3, versitygw  # noqa: E402

PATIENCE_S = 120


class World:
    """This machine, with holdfastd and holdfast as they are built here in place of the packages."""

    needs_root = own_network = False
    is_short = True

    @staticmethod
    def fetch():
        pass

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


class ForStreamPark(World):
    """No StreamPark: the calls of Flink's client that it makes, on a folder."""

    def start(self):
        self.flink()
        self.values.update(PLUGIN_JAR=maven.plugin_jar(), STATE=self.work / "state-of-flink", LISTEN=f"127.0.0.1:{free_port()}")


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


class EmptyKube(kube.Kube):
    """Without the namespace and the users of other tests. Debian's etcd is too old for bookmarks from the cache of watches."""

    flags = ("--watch-cache=false",)

    def _populate(self):
        pass


class OnKubernetes(World):
    """A real API server, and kubelet.py in place of controllers, kubelets and containers; versitygw in place of MinIO. In its own
    network, where the addresses of services are those of every cluster."""

    needs_root = own_network = True
    is_short = False
    #: What a kubelet does at kubectl's request is done by this one's address.
    KUBECTL = """#!/usr/bin/env python3
import os, subprocess, sys
sys.path.insert(0, {guides!r})
words = sys.argv[1:]
if "port-forward" not in words:
    os.execv({kubectl!r}, [{kubectl!r}, *words])
import time, kubelet
at = words.index("port-forward")
pod = subprocess.run([{kubectl!r}, *words[:at], "get", words[at + 1], "-o", "jsonpath={{.status.podIP}}"], check=True, capture_output=True, text=True)
kubelet.relay("127.0.0.1", int(words[at + 2]), int(words[at + 2]), pod.stdout)
print("Forwarding", flush=True)
time.sleep(3600)
"""

    @staticmethod
    def fetch():
        """What is downloaded or built, before the network is gone."""
        kube.etcd(), kube.apiserver(), kubectl.kubectl(), chart.helm("version"), versitygw()
        flink_home.original(), maven.plugin_jar(), maven.job_jar(), maven.s3_plugin("1.20.5"), maven.flink_version("1.20")

    def start(self):
        self.server = self.run(EmptyKube(self.work))
        storage = self.run(S3(self.work))
        client = self.flink()
        shutil.copy(maven.plugin_jar(), client / "lib" / "holdfast-flink.jar")
        images = {"holdfast": {"folder": self.work / "image-holdfast", "entry": ["/usr/local/bin/holdfastd"]},
                  "flink": {"folder": self.work / "image-flink", "entry": ["/docker-entrypoint.sh"]}}
        programs = images["holdfast"]["folder"] / "usr" / "local" / "bin"
        programs.mkdir(parents=True)
        for program in (BUILD / "daemon" / "holdfastd", BUILD / "cli" / "holdfast"):
            shutil.copy(program, programs)
        self._image_of_flink(images["flink"]["folder"])
        settings = {"work": str(self.work), "url": self.server.url, "authority": str(self.server.authority.certificate),
                    "token": self.server.tokens["admin"], "relays": {"443": self.server.port, "9000": storage.port},
                    "images": {name: {**image, "folder": str(image["folder"])} for name, image in images.items()},
                    "environment": {"PATH": f"/opt/flink/bin:{self.environment['JAVA_HOME']}/bin:/usr/local/bin:/usr/bin:/bin",
                                    "JAVA_HOME": self.environment["JAVA_HOME"], "FLINK_HOME": "/opt/flink"}}
        (self.work / "kubelet.json").write_text(json.dumps(settings), "utf-8")
        self.run(Process("kubelet", [sys.executable, Path(__file__).parent / "kubelet.py", self.work / "kubelet.json"], self.work / "kubelet.log"))
        tools = self.work / "tools"
        tools.mkdir()
        (tools / "kubectl").write_text(self.KUBECTL.format(guides=str(Path(__file__).parent), kubectl=str(kubectl.kubectl())), "utf-8")
        (tools / "kubectl").chmod(0o755)
        # A helm that is released knows the version of Kubernetes that it is for; one that `go install` made does not.
        program = chart.built("helm", chart.HELM_VERSION, f"{chart.HELM}@{chart.HELM_VERSION}")
        (tools / "helm").write_text(f'#!/bin/sh\nexec {program} "$@" --kube-version {chart.KUBERNETES}\n', "utf-8")
        (tools / "helm").chmod(0o755)
        self.path.insert(0, tools)
        self.environment["KUBECONFIG"] = str(self.server.kubeconfig("admin", {"token": self.server.tokens["admin"]}, context={"namespace": "default"}))
        self.environment["FLINK_CONF_DIR"] = str(client / "conf")
        self.values.update(CHART=chart.CHART, S3_ENDPOINT="http://10.96.0.1:9000", BUCKET=storage.bucket, ACCESS_KEY=storage.access_key,
                           SECRET_KEY=storage.secret_key)
        del self.values["JOB_JAR"]

    def _image_of_flink(self, folder):
        home = folder / "opt" / "flink"
        home.mkdir(parents=True)
        flink_home.install(home)
        flink_home.add_s3(home)
        shutil.copy(maven.plugin_jar(), home / "lib" / "holdfast-flink.jar")
        (home / "usrlib").mkdir()
        shutil.copy(maven.job_jar(), home / "usrlib" / "job.jar")
        (home / "plugins" / "s3").mkdir()
        for jar in (home / "opt").glob("flink-s3-fs-hadoop-*.jar"):
            (home / "plugins" / "s3" / jar.name).symlink_to(jar.resolve())
        entry = folder / "docker-entrypoint.sh"
        entry.write_text('#!/bin/sh\nexec "$@"\n', "utf-8")
        entry.chmod(0o755)

    def tell(self):
        return super().tell() + self.command("sh", "-c", f"cd {self.work}; tail -n 15 kubelet.log; for f in pods/*/log; do echo \"== $f\"; "
                                             "[ ! -f $f ] || { grep -E 'WARN|ERROR|Holdfast|Exception|level=(warn|error)|error' $f | tail -n 12; tail -n 3 $f; }; done || true")


class WithOperatorsCrds(World):
    """A real API server with the definitions of the operator's resources, from its jar. The operator does not run."""

    is_short = False

    def start(self):
        server = self.run(EmptyKube(self.work))
        jar = maven.operator_jar()
        with zipfile.ZipFile(jar) as archive:
            for kind in ("flinkdeployments", "flinksessionjobs"):
                crd = yaml.safe_load(archive.read(f"META-INF/fabric8/{kind}.flink.apache.org-v1.yml"))
                server.api().call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        served = "/apis/flink.apache.org/v1beta1/namespaces/default/flinkdeployments"
        wait_until(lambda: self._answers(server, served), PATIENCE_S, "the operator's resources to be served")
        tools = self.work / "tools"
        tools.mkdir()
        (tools / "kubectl").symlink_to(kubectl.kubectl())
        self.path.insert(0, tools)
        self.environment["KUBECONFIG"] = str(server.kubeconfig("admin", {"token": server.tokens["admin"]}, context={"namespace": "default"}))
        shutil.copy(server.authority.certificate, Path(self.home) / "tls.crt")

    @staticmethod
    def _answers(server, path):
        try:
            return server.api().call("GET", path)
        except kube.Refused:
            return None


WORLDS = {"flink-standalone": Host, "s3": OnS3, "oss": OnOss, "hdfs-kerberos": OnKerberos, "streampark": ForStreamPark,
          "flink-kubernetes-operator": WithOperatorsCrds,
          "flink-native-kubernetes": OnKubernetes}
