#!/usr/bin/env python3
"""holdfast doctor: every check against what is as it should be and against what is not. Real folders, certificates, processes
and daemons, a real S3 server, a real ZooKeeper ensemble and a real API server; small fakes for what no real server can be made
to say. A check without a test that makes it find fault fails the last test."""
import os
import pty
import re
import resource
import select
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cases import BROKEN, CLI, DoctorTest, Fake, breaks  # noqa: E402
from lib.fake_s3 import FakeS3  # noqa: E402
from lib.holdfastd import Holdfastd  # noqa: E402
from lib.kube import Kube  # noqa: E402
from lib.paths import BUILD, ROOT  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.s3 import S3  # noqa: E402
from lib.zookeeper import Ensemble  # noqa: E402

HOLDFAST = "high-availability.type: io.holdfast.flink.HoldfastHaServicesFactory\n"


def version():
    text = subprocess.run([CLI, "version"], capture_output=True, text=True, check=True).stdout
    return text.split()[1]


class Settings(DoctorTest):
    def test_what_is_as_it_should_be(self):
        found = self.doctor("--only", "config", "--config", self.config())
        self.fine(found, "config.file", "config.relations", "config.election", "config.exposure", "config.webhook", "config.sessions")

    @breaks("config.file")
    def test_files_that_the_daemon_does_not_understand(self):
        for text, words in (("lisen: 127.0.0.1:1\n", "did you mean 'listen'"), ("listen: \"a\n", ":2"), ("listen: a\nlisten: b\n", "twice"),
                            ("gc.min-age: old\n", "is not a time")):
            path = self.work / "bad.yaml"
            path.write_text(text, "utf-8")
            found = self.doctor("--config", path)
            self.bad(found, "config.file", words, "FAIL")
            # What was read of it is not taken for anything.
            self.assertEqual(found.states("store.open") | found.states("config.relations"), {"SKIPPED"})
        self.bad(self.doctor("--only", "config", "--config", self.work / "none.yaml"), "config.file", "No such file")

    @breaks("config.relations", "config.election", "config.exposure", "config.store", "config.webhook", "config.sessions")
    def test_settings_that_do_not_fit(self):
        for settings, check, words, state in (
                ({"session_ttl__min": "10min", "session_ttl__max": "1min"}, "config.relations", "session.ttl-min", "FAIL"),
                ({"listen_tls_key__file": "/k"}, "config.relations", "go together", "FAIL"),
                ({"election": "zookeeper"}, "config.election", "quorum is not set", "FAIL"),
                ({"election": "raft"}, "config.election", "is not known", "FAIL"),
                ({"listen": "0.0.0.0:7070"}, "config.exposure", "others reach", "FAIL"),
                ({"listen": "0.0.0.0:7070", "security_allow__unprotected": "true"}, "config.exposure", "others reach", "WARN"),
                ({"store": "memory:"}, "config.store", "forgets everything", "FAIL"),
                ({"store": "file:///tmp/holdfast"}, "config.store", "is emptied", "WARN"),
                ({"orphans_kubernetes": "true", "admission_policy": "warn"}, "config.webhook", "no TLS", "FAIL"),
                ({"election": "zookeeper", "election_zookeeper_quorum": "a:1", "session_ttl__max": "15s"}, "config.sessions", "15000 ms", "FAIL"),
                ({"session_heartbeat": "3s"}, "config.sessions", "3000 ms", "WARN")):
            found = self.doctor("--only", "config", "--config", self.config(**settings))
            self.bad(found, check, words, state)

    def test_without_settings_nothing_is_made_up(self):
        found = self.doctor("--only", "config,store,election")
        self.assertEqual({entry["state"] for entry in found.checks}, {"SKIPPED"}, found.checks)


class Files(DoctorTest):
    @breaks("secrets.readable", "secrets.mode")
    def test_files_with_secrets(self):
        secret = self.work / "access"
        config = self.config(security_access__file=str(secret))
        self.bad(self.doctor("--only", "secrets", "--config", config), "secrets.readable", "No such file", "FAIL")
        secret.write_text("# nobody\n", "utf-8")
        for mode, state in ((0o600, "OK"), (0o640, "OK"), (0o644, "FAIL"), (0o660, "FAIL"), (0o602, "FAIL")):
            secret.chmod(mode)
            found = self.doctor("--only", "secrets", "--config", config)
            self.assertEqual(found.states("secrets.mode"), {state}, oct(mode))
            self.fine(found, "secrets.readable")
        self.bad(found, "secrets.mode", "mode 602", "FAIL")

    def test_every_file_that_a_setting_names_is_looked_at(self):
        reference = subprocess.run([BUILD / "daemon" / "holdfastd", "--config-reference"], capture_output=True, text=True, check=True).stdout
        keys = [key for key in re.findall(r"^\| `([a-z0-9.-]+)` \|", reference, re.M)
                if re.search(r"(file|keytab|kubeconfig)$", key) and key != "listen.port-file"]
        keys = [key for key in keys if not key.endswith(".profile")]
        self.assertGreater(len(keys), 20)
        path = self.work / "all.yaml"
        path.write_text("".join(f"{key}: /nowhere/{key}\n" for key in keys), "utf-8")
        found = self.doctor("--only", "secrets", "--config", path)
        told = [entry["seen"].partition(":")[0] for entry in found.of("secrets.readable") if entry["state"] == "FAIL"]
        self.assertEqual(sorted(told), sorted(keys))

    def test_a_file_of_settings_is_a_secret_when_keys_are_in_it(self):
        config = self.config(s3_secret__key="x")
        config.chmod(0o644)
        self.bad(self.doctor("--only", "secrets", "--config", config), "secrets.mode", "--config")
        config = self.config()
        config.chmod(0o644)
        self.assertEqual(self.doctor("--only", "secrets", "--config", config).states("secrets.mode"), {"SKIPPED"})

    @breaks("tls.expiry", "tls.key", "tls.name")
    def test_certificates(self):
        good, ends, far = self.certificate("good", 365), self.certificate("ends", 2), self.certificate("far", 365, "DNS:hf.example")
        soon = self.certificate("soon", 20)

        def look(certificate, key, **more):
            return self.doctor("--only", "tls", "--config", self.config(
                listen_tls_certificate__file=str(certificate), listen_tls_key__file=str(key), **more))
        self.fine(look(*good), "tls.expiry", "tls.key", "tls.name")
        self.bad(look(*ends), "tls.expiry", "more day", "FAIL")
        self.bad(look(*soon), "tls.expiry", "more day", "WARN")
        self.bad(look(good[0], ends[1]), "tls.key", "is not the key of", "FAIL")
        self.bad(look(good[0], good[0]), "tls.key", "holds no key", "FAIL")
        self.bad(look(*far), "tls.name", "127.0.0.1 is not among", "FAIL")
        self.fine(look(*far, advertise="hf.example:7070"), "tls.name")
        self.bad(look(*good, listen="0.0.0.0:7070"), "tls.name", "nobody can call", "WARN")
        # Of authorities one has to hold.
        both = self.work / "both.pem"
        both.write_text(ends[0].read_text("utf-8") + good[0].read_text("utf-8"), "utf-8")
        self.fine(look(*good, listen_tls_client__ca__file=str(both)), "tls.expiry")
        both.write_text("nothing\n", "utf-8")
        self.bad(look(*good, listen_tls_client__ca__file=str(both)), "tls.expiry", "no certificate", "FAIL")

    @breaks("limits.files")
    def test_open_files(self):
        def limited():
            resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
        with subprocess.Popen(["sleep", "600"], preexec_fn=limited) as child:
            try:
                found = self.doctor("--only", "limits", "--pid", child.pid, "--config", self.config())
                self.bad(found, "limits.files", "512", "FAIL")
                self.fine(self.doctor("--only", "limits", "--pid", child.pid, "--config", self.config(limit_connections=128)), "limits.files")
            finally:
                child.kill()
        self.bad(self.doctor("--only", "limits", "--pid", "0"), "limits.files", "no process", "FAIL")


class Storage(DoctorTest):
    everything = ("store.open", "store.rights", "store.probe", "store.clock")

    def test_a_folder_is_left_as_it_was(self):
        store = self.store()
        (store / "lock").write_text("1\n", "utf-8")
        found = self.doctor("--only", "store", "--config", self.config())
        self.fine(found, *self.everything, "store.mode")
        # How much room there is depends on whose disk it is.
        self.assertNotIn("SKIPPED", found.states("store.space") | found.states("store.inodes"))
        self.assertEqual([path.name for path in store.iterdir()], ["lock"])
        self.assertEqual((store / "lock").read_text("utf-8"), "1\n")

    def test_beside_a_running_daemon(self):
        daemon = Holdfastd(self.work)
        try:
            daemon.start()
            before = sorted(os.listdir(daemon.store))
            found = self.doctor("--only", "store,daemon", "--config", self.config(store=daemon.store.as_uri()), "--endpoint", daemon.url)
            self.fine(found, *self.everything, "daemon.reachable", "daemon.leader", "daemon.store", "daemon.clock",
                      "daemon.version")
            self.assertNotIn("FAIL", found.states("daemon.answers"))
            self.assertEqual(sorted(os.listdir(daemon.store)), before)
            daemon.require_alive()
        finally:
            daemon.stop()

    @breaks("store.open", "store.mode")
    def test_folders_that_are_none(self):
        self.bad(self.doctor("--only", "store", "--config", self.config(store="file:///proc/none/store")), "store.open", "No such", "FAIL")
        (self.work / "file").write_text("", "utf-8")
        self.bad(self.doctor("--only", "store", "--config", self.config(store=str(self.work / "file"))), "store.open", "is none", "FAIL")
        found = self.doctor("--only", "store", "--config", self.config(store=str(self.work / "later")))
        self.bad(found, "store.open", "makes it at its first start", "WARN")
        self.assertFalse((self.work / "later").exists())
        self.store().chmod(0o755)
        self.bad(self.doctor("--only", "store", "--config", self.config()), "store.mode", "mode 755", "WARN")
        self.bad(self.doctor("--only", "store", "--config", self.config(store="s3://bucket/x", s3_credentials="guess")), "store.open", "", "FAIL")

    def test_nothing_is_written_when_nothing_is_to_be(self):
        store = self.store()
        before = store.stat().st_mtime_ns
        found = self.doctor("--only", "store", "--no-write", "--config", self.config())
        self.assertEqual(found.states("store.probe") | found.states("store.rights"), {"SKIPPED"})
        self.assertEqual(store.stat().st_mtime_ns, before)
        with FakeS3("none") as server:
            found = self.doctor("--only", "store", "--no-write", "--config", self.bucket(server.endpoint))
            self.assertEqual(found.states("store.rights"), {"SKIPPED"})
            self.assertEqual(server.server.objects, {})

    @breaks("store.space", "store.inodes")
    @unittest.skipIf(os.geteuid() != 0, "needs root to mount")
    def test_a_small_disk(self):
        disk = self.work / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=500,mode=700", "holdfast-test", disk], check=True)
        try:
            found = self.doctor("--only", "store", "--config", self.config(store=str(disk)))
            self.bad(found, "store.space", "of 8 MiB", "FAIL")
            self.bad(found, "store.inodes", "inodes are free", "FAIL")
        finally:
            subprocess.run(["umount", disk], check=True)

    def bucket(self, endpoint, **more):
        return self.config(store="s3://holdfast/doctor", **{**{
            "s3_endpoint": endpoint, "s3_region": "us-east-1", "s3_path_style_access": "true", "s3_access__key": "holdfast",
            "s3_secret__key": "holdfast-secret", "s3_timeout": "60s", "s3_retry__time": "1s"}, **more})

    def test_a_real_bucket(self):
        server = S3(self.work)
        try:
            server.start()
            found = self.doctor("--only", "store", "--config", self.bucket(server.endpoint, s3_retry__time="60s"))
            self.fine(found, *self.everything, "store.versions")
            left = [path for path in (server.work / "store" / server.bucket).rglob("*") if path.is_file()]
            self.assertEqual(left, [])
            found = self.doctor("--only", "store", "--config", self.bucket(server.endpoint, s3_secret__key="another"))
            self.bad(found, "store.rights", "s3.secret-key", "FAIL")
        finally:
            server.stop()

    @breaks("store.rights", "store.probe", "store.versions", "store.clock")
    def test_buckets_that_are_not_as_they_should_be(self):
        for fault, check, words, state in (
                ("is_read_only", "store.rights", "create: ", "FAIL"), ("refuses_reads", "store.rights", "read: ", "FAIL"),
                ("refuses_lists", "store.rights", "list: ", "FAIL"), ("refuses_removals", "store.rights", "remove: ", "FAIL"),
                ("ignores_the_condition", "store.probe", "", "FAIL"), ("checks_before_it_waits", "store.probe", "", "FAIL"),
                ("keeps_versions", "store.versions", "", "WARN"), ("has_another_clock", "store.clock", "s behind ours", "FAIL")):
            with FakeS3(fault) as server:
                self.bad(self.doctor("--only", "store", "--config", self.bucket(server.endpoint)), check, words, state)


class Zookeeper(DoctorTest):
    @breaks("election.quorum", "election.servers", "election.session")
    def test_an_ensemble(self):
        ensemble = Ensemble(self.work)
        try:
            ensemble.start()

            def look(quorum, **more):
                return self.doctor("--only", "election,config.election", "--timeout", 60, "--config", self.config(
                    election="zookeeper", election_zookeeper_quorum=quorum, **more))
            found = look(ensemble.quorum)
            self.fine(found, "config.election", "election.quorum", "election.servers", "election.session", "election.rights")
            self.assertEqual(len(found.of("election.servers")), 3)
            found = look(ensemble.quorum, election_zookeeper_session__timeout="400ms")
            self.bad(found, "election.session", "400 ms are set, 2000 ms are granted", "WARN")
            found = look(ensemble.quorum, election_zookeeper_session__timeout="90s")
            self.bad(found, "election.session", "60000 ms are granted", "WARN")
            first, *_ = ensemble.members
            self.bad(look(f"127.0.0.1:{first.port}"), "election.quorum", "1 server", "WARN")
            found = look(f"{ensemble.quorum},127.0.0.1:{free_port()}/chroot")
            self.bad(found, "election.quorum", "4 server", "WARN")
            self.bad(found, "election.servers", "does not answer", "FAIL")
            self.fine(found, "election.session")
        finally:
            ensemble.stop()

    def test_a_server_that_runs_alone_and_one_that_serves_nobody(self):
        ensemble = Ensemble(self.work, count=1)
        try:
            ensemble.start()
            member = ensemble.members[0]
            found = self.doctor("--only", "election.servers", "--timeout", 60, "--config", self.config(
                election="zookeeper", election_zookeeper_quorum=f"127.0.0.1:{member.port},127.0.0.1:{free_port()}"))
            self.bad(found, "election.servers", "it runs alone", "FAIL")
        finally:
            ensemble.stop()

    def test_nobody_there(self):
        found = self.doctor("--only", "election", "--timeout", 2, "--config", self.config(
            election="zookeeper", election_zookeeper_quorum=f"127.0.0.1:{free_port()}"))
        self.bad(found, "election.session", "no server answers", "FAIL")


class Kubernetes(DoctorTest):
    def look(self, kubeconfig, **more):
        return self.doctor("--only", "election", "--timeout", 60, "--config", self.config(
            election="kubernetes", election_kubernetes_kubeconfig=str(kubeconfig), **more))

    @breaks("election.rights")
    def test_a_real_api_server(self):
        kube = Kube(self.work)
        try:
            kube.start()
            found = self.look(kube.kubeconfig())
            self.fine(found, "election.api", "election.version", "election.clock", "election.rights")
            self.assertIn("all 4", found.of("election.rights")[0]["seen"])
            found = self.look(kube.kubeconfig(user={"token": kube.tokens["blind"]}))
            self.bad(found, "election.rights", "we may not watch leases holdfast in namespace holdfast", "FAIL")
            self.assertEqual(len(found.of("election.rights")), 1)
            found = self.look(kube.kubeconfig(user={"token": kube.tokens["nobody"]}))
            self.assertEqual(len([e for e in found.of("election.rights") if e["state"] == "FAIL"]), 4)
            # What is asked of it beside the election.
            nobody = kube.kubeconfig("nobody", user={"token": kube.tokens["nobody"]})
            admin = kube.kubeconfig("admin", user={"token": kube.tokens["admin"]})
            more = {"orphans_kubernetes": "true", "security_kubernetes_audience": "holdfast"}
            for who, denied in ((nobody, 9), (admin, 0)):
                found = self.look(kube.kubeconfig(), **more, orphans_kubernetes_kubeconfig=str(who), security_kubernetes_kubeconfig=str(who))
                self.assertEqual(len([e for e in found.of("election.rights") if e["state"] == "FAIL"]), denied, found.of("election.rights"))
            found = self.look(kube.kubeconfig(user={"token": "wrong"}))
            self.bad(found, "election.api", "401", "FAIL")
        finally:
            kube.stop()

    @breaks("election.api", "election.version", "election.clock")
    def test_api_servers_that_are_not_as_they_should_be(self):
        tls = self.certificate("api", 2)
        review = (201, {"kind": "SelfSubjectAccessReview", "status": {"allowed": True}})

        def kubeconfig(url):
            path = self.work / "kubeconfig"
            path.write_text(f"""
current-context: c
clusters: [{{name: c, cluster: {{server: "{url}", certificate-authority: "{tls[0]}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u, namespace: n}}}}]
""", "utf-8")
            return path

        def fake(minor, date=None):
            return Fake({"GET /version": (200, {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}"}),
                         "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews": review}, tls, date)
        for minor, state in (("13", "FAIL"), ("20+", "WARN"), ("25", "OK"), ("36", "OK")):
            with fake(minor) as server:
                found = self.look(kubeconfig(server.url))
                self.assertEqual(found.states("election.version"), {state}, minor)
                self.fine(found, "election.api", "election.clock", "election.rights")
                if minor == "13":
                    self.bad(found, "election.version", "v1.13")
        with fake("36", time.time() + 3600) as server:
            self.bad(self.look(kubeconfig(server.url)), "election.clock", "ahead of ours", "FAIL")
        found = self.doctor("--only", "election", "--timeout", 2, "--config", self.config(
            election="kubernetes", election_kubernetes_kubeconfig=str(kubeconfig(f"https://127.0.0.1:{free_port()}"))))
        self.bad(found, "election.api", "", "FAIL")


class Daemons(DoctorTest):
    def status(self, **more):
        return {"name": "r", "version": version(), "state": "leading", "leader": "127.0.0.1:1", "epoch": 1, "revision": 1, "store": "s",
                "store_id": "0" * 32, "now_ms": int(time.time() * 1000), **{key: value() if callable(value) else value for key, value in more.items()}}

    def look(self, *urls, more=()):
        return self.doctor("--only", "daemon", "--endpoint", ",".join(urls), "--timeout", 60, *more)

    def fake(self, clusters=None, **more):
        return Fake({"GET /v1/status": (200, lambda: self.status(**more)), "GET /v1/clusters": clusters or (200, {"clusters": []})})

    @breaks("daemon.reachable", "daemon.version", "daemon.leader", "daemon.store", "daemon.answers", "daemon.clock")
    def test_daemons_that_are_not_as_they_should_be(self):
        nobody = f"http://127.0.0.1:{free_port()}"
        with self.fake() as good:
            found = self.look(good.url)
            self.fine(found, "daemon.reachable", "daemon.version", "daemon.leader", "daemon.store", "daemon.clock")
            self.assertLessEqual(found.states("daemon.answers"), {"OK", "WARN"})  # slow, on a busy machine
            self.bad(self.look(good.url, nobody), "daemon.reachable", nobody, "FAIL")
            with self.fake(version="0.0.9", state="standby") as other:
                self.bad(self.look(good.url, other.url), "daemon.version", "several versions", "WARN")
                self.bad(self.look(other.url), "daemon.version", "holdfastd is 0.0.9", "WARN")
                self.bad(self.look(other.url), "daemon.leader", "none of those", "FAIL")
            with self.fake(store_id="1" * 32) as other:
                found = self.look(good.url, other.url)
                self.bad(found, "daemon.store", "different stores", "FAIL")
                self.bad(found, "daemon.leader", "2 replicas", "WARN")
            found = self.look(good.url, more=("--config", self.config(store="file:///another")))
            self.bad(found, "daemon.store", "file:///another", "WARN")
        with self.fake(clusters=(503, {"status": "UNAVAILABLE", "message": "the storage is away"})) as other:
            self.bad(self.look(other.url), "daemon.answers", "the storage is away", "FAIL")
        with self.fake(now_ms=lambda: int(time.time() * 1000) - 5000) as other:
            self.bad(self.look(other.url), "daemon.clock", "behind ours")

    def test_nobody_asked_for_a_daemon(self):
        found = self.doctor("--only", "daemon", env={"HOLDFAST_ENDPOINT": f"http://127.0.0.1:{free_port()}"})
        self.assertEqual(found.states("daemon.reachable"), {"FAIL"})


class Flink(DoctorTest):
    good = HOLDFAST + """
high-availability: {storageDir: "s3://b/ha", cluster-id: orders}
holdfast.endpoints: [http://hf-0:7070, http://hf-1:7070]
restart-strategy.type: exponential-delay
execution.checkpointing: {interval: 1 min, num-retained: 3, dir: "s3://b/c"}
"""

    def look(self, text, name="config.yaml", config=None):
        path = self.work / "flink" / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return self.doctor("--only", "flink", "--flink-conf", path, "--config", config or self.config())

    def test_a_good_one(self):
        found = self.look(self.good)
        self.assertEqual({entry["state"] for entry in found.checks}, {"OK", "SKIPPED"}, found.checks)
        self.assertEqual({entry["id"] for entry in found.checks if entry["state"] == "SKIPPED"},
                         {"flink.quorum", "flink.job-result-store", "flink.plugin-jar"})

    @breaks("flink.file", "flink.ha-type", "flink.storage-dir", "flink.storage-local", "flink.cluster-id", "flink.endpoints", "flink.quorum",
            "flink.checkpoint-dir", "flink.checkpoint-interval", "flink.num-retained", "flink.retention", "flink.job-result-store",
            "flink.restart-strategy", "flink.session-timeout", "flink.checkpoint-timeout", "flink.old-keys", "flink.unknown-keys")
    def test_settings_that_defeat_high_availability(self):
        for text, check, words, state in (
                ("a: [", "flink.file", "line", "FAIL"),
                ("a: b", "flink.ha-type", "not set", "FAIL"),
                (HOLDFAST, "flink.storage-dir", "no JobManager starts", "FAIL"),
                (HOLDFAST + "high-availability.storageDir: file:///mnt/ha", "flink.storage-local", "one machine", "WARN"),
                (HOLDFAST, "flink.cluster-id", "/default", "WARN"),
                (HOLDFAST, "flink.endpoints", "is not set", "FAIL"),
                ("high-availability.type: zookeeper", "flink.quorum", "no server", "FAIL"),
                ("high-availability.type: zookeeper", "flink.job-result-store", "may be run again", "WARN"),
                ("a: b", "flink.checkpoint-dir", "memory", "FAIL"),
                ("a: b", "flink.checkpoint-interval", "not set", "WARN"),
                ("execution.checkpointing.num-retained: 1", "flink.num-retained", "1:", "WARN"),
                ("execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION", "flink.retention", "nobody removes", "WARN"),
                ("restart-strategy.type: none", "flink.restart-strategy", "none:", "FAIL"),
                (HOLDFAST + "holdfast.session.timeout: 1 s", "flink.session-timeout", "session.ttl-min", "FAIL"),
                ("execution.checkpointing.timeout: 2 h", "flink.checkpoint-timeout", "gc.min-age", "FAIL"),
                ("state.backend: rocksdb", "flink.old-keys", "state.backend", "WARN"),
                ("holdfast.endpoint: http://a:1", "flink.unknown-keys", "holdfast.endpoint", "WARN")):
            self.bad(self.look(text), check, words, state)
        self.bad(self.look("a: b\nwrong\n", "flink-conf.yaml"), "flink.file", "line 2", "WARN")
        self.bad(self.doctor("--only", "flink", "--flink-conf", self.work / "none.yaml"), "flink.file", "No such file", "FAIL")

    def test_the_daemon_s_settings_count(self):
        retains = self.good + "execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION\n"
        self.bad(self.look(retains), "flink.retention", "nobody removes")
        self.fine(self.look(retains, config=self.config(gc_policy="clean")), "flink.retention")
        long = self.config(election="kubernetes", election_kubernetes_lease__duration="30s")
        self.bad(self.look(self.good, config=long), "flink.session-timeout", "election.kubernetes.lease-duration", "FAIL")

    @breaks("flink.plugin-jar")
    def test_the_jar(self):
        lib = self.work / "flink" / "lib"
        lib.mkdir(parents=True)
        self.bad(self.look(self.good), "flink.plugin-jar", "has no", "FAIL")
        (lib / "holdfast-flink-0.1.0.jar").write_text("", "utf-8")
        self.fine(self.look(self.good), "flink.plugin-jar")
        (lib / "holdfast-flink.jar").write_text("", "utf-8")
        self.bad(self.look(self.good), "flink.plugin-jar", "2 jars", "WARN")


class Output(DoctorTest):
    def run_text(self, *arguments):
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=300, check=False)

    def on_terminal(self, *arguments, env=None):
        """What it writes when stdout and stderr are terminals."""
        main, side = pty.openpty()
        with subprocess.Popen(self.command(*arguments), stdin=subprocess.DEVNULL, stdout=side, stderr=side,
                              env={"PATH": os.environ["PATH"], "HOME": str(self.work), **(env or {})}) as child:
            os.close(side)
            parts = []
            while True:
                if not select.select([main], [], [], 120)[0]:
                    child.kill()
                    self.fail("it says nothing and does not end")
                try:
                    part = os.read(main, 65536)
                except OSError:  # how Linux tells the end of a terminal
                    break
                if not part:
                    break
                parts.append(part)
            child.wait(120)
        os.close(main)
        return b"".join(parts).decode()

    def test_exit_codes(self):
        risky = self.config(store="file:///tmp/holdfast")
        self.assertEqual(self.run_text("--only", "config.file", "--config", risky).returncode, 0)
        self.assertEqual(self.run_text("--only", "config.store", "--config", risky).returncode, 0)
        self.assertEqual(self.run_text("--only", "config.store", "--strict", "--config", risky).returncode, 1)
        self.assertEqual(self.run_text("--only", "config.store", "--strict", "--config", self.config(store="memory:")).returncode, 2)
        wrong = self.run_text("--only", "config,nothing")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("'nothing' is no check", wrong.stderr)

    def test_colours_and_progress_are_for_terminals(self):
        arguments = ("--only", "config", "--config", self.config())
        piped = self.run_text(*arguments)
        self.assertNotIn("\033", piped.stdout + piped.stderr)
        shown = self.on_terminal(*arguments, env={"TERM": "xterm"})
        self.assertIn("\033[32mOK", shown)
        self.assertIn("looking [", shown)
        self.assertNotIn("\033[32m", self.on_terminal(*arguments, env={"TERM": "xterm", "NO_COLOR": "1"}))
        self.assertNotIn("\033[32m", self.on_terminal(*arguments, env={"TERM": "dumb"}))

    def test_text_says_why_and_what_to_change(self):
        text = self.run_text("--only", "config.store", "--config", self.config(store="memory:")).stdout
        for words in ("FAIL", "config.store", "forgets everything", "why ", "change  store: file:///var/lib/holdfast", "1 wrong"):
            self.assertIn(words, text)

    def test_what_comes_from_files_does_not_reach_the_terminal_as_control_characters(self):
        path = self.work / "config.yaml"
        path.write_text('holdfast.end\033[31m: "x"\nhigh-availability.type: "a\\e[31mb"\n', "utf-8")
        shown = self.run_text("--only", "flink", "--flink-conf", path).stdout
        path.write_text('high-availability.type: "a\\e[31mb"\n', "utf-8")
        self.assertNotIn("\033", shown + self.run_text("--only", "flink", "--flink-conf", path).stdout)

    def test_secrets_are_not_told(self):
        config = self.config(store="s3://holdfast/x", s3_endpoint=f"http://127.0.0.1:{free_port()}", s3_access__key="key-of-doctor",
                             s3_secret__key="secret-of-doctor", s3_retry__time="100ms")
        done = self.run_text("-o", "json", "--config", config)
        self.assertNotIn("secret-of-doctor", done.stdout + done.stderr)

    def test_help_manual_and_completion_know_it(self):
        def of(*arguments):
            return subprocess.run([CLI, *arguments], capture_output=True, text=True, check=True).stdout
        self.assertIn("--flink-conf FILE", of("doctor", "--help"))
        self.assertIn(".SS doctor", of("manual"))
        self.assertRegex(of("completion", "bash"), r"    doctor\)\n(.*\n)+?.* --flink-conf")


class Whole(DoctorTest):
    def test_every_check_has_a_case_in_which_it_finds_fault_and_a_line_in_the_documents(self):
        done = subprocess.run(self.command("--list", "-o", "name"), capture_output=True, text=True, check=True)
        ids = done.stdout.split()
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(set(ids) - BROKEN, set(), "no test breaks these")
        self.assertEqual(BROKEN - set(ids), set(), "there are no such checks")
        documented = re.findall(r"^\| `([a-z]+\.[a-z-]+)` \|", (ROOT / "docs" / "doctor.md").read_text("utf-8"), re.M)
        self.assertEqual(sorted(documented), sorted(ids))


if __name__ == "__main__":
    unittest.main()
