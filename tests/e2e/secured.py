#!/usr/bin/env python3
"""A real Flink on a holdfastd that wants TLS, certificates of its clients and tokens.

While the job makes checkpoints, everything that expires is replaced: the daemon's certificate, the JobManagers' and their
token, which is then taken out of the access file. Nobody may lose the leadership by it, and the job may not restart. Then
the leading JobManager gets kill -9, as in ./run. With --json also how many connections a JobManager holds.
"""
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import run  # noqa: E402
from lib import checkpoints, flink, http, maven  # noqa: E402
from lib.failover import wait_checkpoints  # noqa: E402
from lib.failure import require, wait_until  # noqa: E402
from lib.holdfastd import History, Holdfastd  # noqa: E402
from lib.kube import Authority  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402


def replace(path, text):
    """In one step, as whoever issues such files does."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, "utf-8")
    os.replace(new, path)


class SecuredHoldfast(Holdfastd):
    """It answers nobody without a certificate of its authority and a token of its access file."""

    def __init__(self, work, **options):
        super().__init__(work, **options)
        self.files = Path(work) / "secrets"
        self.authority = Authority(self.files / "ca")
        self.access, self.token = self.files / "access", self.files / "token"
        self.tokens, self.admin = [], os.urandom(24).hex()
        for who in ("server", "jobmanager"):
            self.certify(who)
        self.new_token()
        self.give_token()
        self.tls = ssl.create_default_context(cafile=str(self.authority.certificate))
        self.tls.load_cert_chain(*self.authority.sign("admin", "/CN=admin"))

    def certify(self, who):
        for source, target in zip(self.authority.sign(who, f"/CN={who}", "DNS:localhost,IP:127.0.0.1"), self.pair(who)):
            shutil.copy(source, str(target) + ".new")
            os.replace(str(target) + ".new", target)

    def pair(self, who):
        return self.files / f"{who}.crt", self.files / f"{who}.key"

    def new_token(self):
        """Is let in beside those before; nobody has it yet."""
        self.tokens.append(os.urandom(24).hex())
        self.allow(self.tokens)

    def give_token(self):
        replace(self.token, self.tokens[-1] + "\n")

    def allow(self, tokens):
        replace(self.access, f"ops admin * token {self.admin}\n" +
                "".join(f"flink-{number} jobmanager * token {token}\n" for number, token in enumerate(tokens)))

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    def settings(self):
        certificate, key = self.pair("server")
        return {**super().settings(), "listen.tls.certificate-file": str(certificate), "listen.tls.key-file": str(key),
                "listen.tls.client-ca-file": str(self.authority.certificate), "listen.tls.client-certificate-required": True,
                "security.access-file": str(self.access)}

    def call(self, method, path, **options):
        return self.ask(method, path, self.admin, **options)

    def ask(self, method, path, token, **options):
        return http.call(method, self.url + path, headers={"Authorization": "Bearer " + token}, context=self.tls, **options)

    def flink_options(self):
        certificate, key = self.pair("jobmanager")
        return {**super().flink_options(), "holdfast.security.ca-file": str(self.authority.certificate),
                "holdfast.security.certificate-file": str(certificate), "holdfast.security.key-file": str(key),
                "holdfast.security.token-file": str(self.token)}


def connections(pid, port):
    """How many a process has to a port."""
    done = subprocess.run(["ss", "-tnpH", "state", "established", f"( dport = :{port} )"], capture_output=True, text=True, check=True)
    return sum(f"pid={pid}," in line for line in done.stdout.splitlines())


def rotate(rig, leader, result):
    """Everything that expires is replaced under way."""
    start = leader.lines.mark()
    first = rig.ha.tokens[0]
    loaded = rig.ha.process.log.read_text().count("tls.certificate_loaded")
    rig.say("replacing the daemon's certificate, the JobManagers' certificates and their token")
    rig.ha.certify("server")
    rig.ha.certify("jobmanager")
    rig.ha.new_token()
    wait_until(lambda: rig.ha.process.log.read_text().count("tls.certificate_loaded") > loaded, 60, "the new certificate")
    wait_until(lambda: rig.ha.ask("GET", "/readyz", rig.ha.tokens[-1])[0] == 200, 60, "the new token to be known")
    rig.ha.give_token()
    wait_checkpoints(leader, 2, leader.lines.mark())
    rig.ha.allow(rig.ha.tokens[-1:])
    wait_until(lambda: rig.ha.ask("GET", "/readyz", first)[0] == 401, 60, "the first token to be forgotten")
    wait_checkpoints(leader, 3, leader.lines.mark())
    for what, pattern in (("lost its leadership", rig.ha.lost), ("restarted the job", flink.RESTARTED)):
        lines = leader.lines.find(pattern, start)
        require(not lines, f"{leader.name} {what}: {lines[:1]}")
    result["connections_per_jobmanager"] = connections(leader.pid, rig.ha.port)
    rig.say(f"{leader.name} led all the time; it has {result['connections_per_jobmanager']} connections to holdfastd")


def main():
    args = Parser("secured", __doc__, "the figures").parse_args()
    result = {"flink_version": maven.flink_version(args.flink)}
    options = {"execution.checkpointing.interval": "1 s", "execution.checkpointing.num-retained": str(run.RETAINED)}
    with reported(args.json, result), Rig("secured", args.flink, SecuredHoldfast, args.work, options) as rig:
        require(http.call("GET", rig.ha.url + "/healthz")[0] == 0, "somebody without a certificate is answered")
        leader = run.start_cluster(rig)
        job = rig.flink.submit(maven.job_jar(), "--name", "secured")
        watcher = checkpoints.MetadataWatcher(rig.flink.checkpoint_folder(job), rig.work / "metadata").start()
        history = History(rig.ha, rig.flink.cluster_id, job).start()
        rig.flink.wait_running(job)
        wait_checkpoints(leader, run.RETAINED + 1)
        rotate(rig, leader, result)
        run.fail_over(rig, job, leader, result)
        run.check_retention(rig, job, result)
        run.finish(rig, job, watcher, history, result)
    print("everything held")
    return 0


if __name__ == "__main__":
    main_guard("secured", main)
