#!/usr/bin/env python3
"""Replicas that elect on a ZooKeeper with Kerberos (a real KDC) and on one with TLS and client certificates.

    zookeeper_secure.py [--rounds N] [--json FILE] [TEST ...]

With the client library that scripts/zookeeper-client builds. Those without the right credentials must say what is wrong.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import secure_zookeeper as secure  # noqa: E402
from lib.failure import wait_until  # noqa: E402
from lib.kerberos import Kdc  # noqa: E402
from lib.kube import Authority  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.replicas import Replica, Replicas  # noqa: E402
from lib.rig import write_json  # noqa: E402

TICK_MS = 500
PATIENCE_S = 90

world = argparse.Namespace(rounds=3, figures={})


def setUpModule():
    world.image = secure.image()
    world.holdfastd = world.image / "usr" / "local" / "bin" / "holdfastd"
    # What ldconfig does in the image.
    world.environment = {"LD_LIBRARY_PATH": str(world.image / "usr" / "local" / "lib")}


class Secure(unittest.TestCase):
    """A replica needs the settings `good` and the environment `environment`."""

    session_ms = 4000

    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="holdfast-secure-")
        cls.addClassCleanup(temporary.cleanup)
        cls.work = Path(temporary.name)
        cls.environment = dict(world.environment)
        cls.start_servers()
        cls.settings = {"election": "zookeeper", "log.level": "info",
                        "election.zookeeper.session-timeout": f"{cls.session_ms}ms",
                        "election.zookeeper.acl": "creator", **cls.good}

    def replicas(self, settings=None):
        folder = self.work / self.id().rsplit(".", 1)[-1]
        (folder / "store").mkdir(parents=True)
        replicas = Replicas(folder, 3, (folder / "store").as_uri(), {**self.settings, **(settings or {})}, world.holdfastd,
                            self.environment)
        self.addCleanup(replicas.stop)
        return replicas.start()

    def fail_over(self, name, replicas):
        """kill -9 of the leader, again and again; it comes back each time."""
        took = []
        for _ in range(world.rounds):
            leader = replicas.wait_leader()
            start = time.monotonic()
            leader.process.kill()
            replicas.wait_leader(besides=leader)
            took.append((time.monotonic() - start) * 1000)
            leader.process.start()
            replicas.wait_ready()
        figures = {"kills": len(took), "takeover_ms": [round(figure(took)) for figure in (min, statistics.median, max)]}
        world.figures[name] = figures
        print(f"{name}: {figures['kills']} x kill -9, takeover {figures['takeover_ms']} ms", file=sys.stderr)

    @classmethod
    def start_stranger(cls, name, settings, environment=None, binary=None):
        """A replica with other settings, on a store of its own."""
        folder = cls.work / f"stranger-{name}"
        (folder / "store").mkdir(parents=True)
        replica = Replica(folder, name, binary or world.holdfastd,
                          {**cls.settings, "store": (folder / "store").as_uri(), **settings}, environment or cls.environment)
        replica.process.start()
        return replica

    def stranger(self, *arguments, **more):
        replica = self.start_stranger(*arguments, **more)
        self.addCleanup(replica.process.stop)
        return replica

    def assert_says(self, replica, pattern):
        wait_until(lambda: re.search(pattern, self.log(replica)), PATIENCE_S,
                   lambda: f"{replica.name} to say {pattern}; it said: {self.log(replica)[-2000:]}", poll=0.1)
        self.assertNotIn("event=election.granted", self.log(replica))

    @staticmethod
    def log(replica):
        return replica.log.read_text("utf-8", "replace")

    def assert_refuses_to_start(self, replica, pattern):
        """As a build with Debian's library does."""
        self.assertNotEqual(replica.process.child.wait(PATIENCE_S), 0)
        self.assertRegex(self.log(replica), pattern)


class Image(unittest.TestCase):
    """What the container file puts together."""

    def test_what_the_programs_are_linked_with_is_in_it(self):
        programs = sorted((world.image / "usr" / "local" / "bin").iterdir())
        self.assertEqual([program.name for program in programs], ["holdfast", "holdfastd"])
        own = {path.name for path in (world.image / "usr" / "local" / "lib").iterdir()}
        self.assertIn("libzookeeper_mt.so.2", own)
        known = {*secure.runtime_packages(), "libc6"}
        for program in [*programs, world.image / "usr" / "local" / "lib" / "libzookeeper_mt.so.2"]:
            shown = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
            needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", shown)) - own
            self.assertGreater(len(needed), 0)
            self.assertNotRegex(shown, "RPATH|RUNPATH")
            for name in needed:
                owners = subprocess.run(["dpkg-query", "-S", f"*/{name}"], capture_output=True, text=True, check=True).stdout
                self.assertTrue({line.split(":")[0] for line in owners.splitlines()} & known, f"{program.name}: {owners}")

    def test_the_programs_start(self):
        for name in ("holdfastd", "holdfast"):
            done = subprocess.run([world.image / "usr" / "local" / "bin" / name, "--help"], capture_output=True, text=True,
                                  env={**os.environ, **world.environment})
            self.assertEqual(done.returncode, 0, done.stderr)


class Kerberos(Secure):
    @classmethod
    def start_servers(cls):
        cls.kdc = Kdc(cls.work, [secure.PRINCIPAL, "holdfast", "stranger"])
        cls.addClassCleanup(cls.kdc.stop)
        cls.kdc.start()
        cls.ensemble = secure.kerberos_ensemble(cls.work, cls.kdc, TICK_MS)
        cls.addClassCleanup(cls.ensemble.stop)
        cls.ensemble.start()
        cls.environment = cls.user("holdfast")
        cls.good = {"election.zookeeper.quorum": cls.ensemble.quorum, "election.zookeeper.sasl.service-name": secure.SERVICE}

    @classmethod
    def user(cls, name):
        return {**world.environment, **cls.kdc.environment(name)}

    def test_elects_and_fails_over(self):
        replicas = self.replicas()
        self.fail_over("kerberos", replicas)
        # What they have made is closed to everybody else.
        stranger = self.stranger("other-user", {}, self.user("stranger"))
        self.assert_says(stranger, 'event=election.step_failed .* error="not authenticated"')

    def test_every_server_restarted_they_log_in_again(self):
        replicas = self.replicas({"election.zookeeper.path.root": "/again"})
        for member in self.ensemble.members:
            member.process.kill()
        for member in self.ensemble.members:
            member.process.start()
        self.ensemble.wait_ready()
        self.fail_over("kerberos, servers restarted", replicas)

    def test_whoever_is_not_known_is_refused_and_says_why(self):
        keytab = self.work / "damaged.keytab"
        data = Path(self.environment["KRB5_CLIENT_KTNAME"]).read_bytes()
        keytab.write_bytes(data[:60] + bytes(byte ^ 0x55 for byte in data[60:]))  # the names stay, the keys do not
        root = {"election.zookeeper.path.root": "/refused"}
        missing = {**self.environment, "KRB5_CLIENT_KTNAME": str(self.work / "missing.keytab")}
        cases = [
            (self.stranger("no-sasl", {**root, "election.zookeeper.sasl.service-name": "", "election.zookeeper.acl": "open"}),
             "event=election.sasl_required"),
            (self.stranger("no-keytab", root, missing), "event=election.auth_failed .*No Kerberos credentials available"),
            (self.stranger("wrong-key", root, {**self.environment, "KRB5_CLIENT_KTNAME": str(keytab)}),
             "event=election.auth_failed .*credentials"),
            (self.stranger("wrong-service", {**root, "election.zookeeper.sasl.service-name": "zk"}),
             "event=election.auth_failed .*zk/localhost@HOLDFAST.TEST not found in Kerberos database"),
        ]
        for replica, pattern in cases:
            with self.subTest(replica.name):
                self.assert_says(replica, pattern)
        packaged = self.stranger("packaged", root, {"LD_LIBRARY_PATH": ""}, BUILD / "daemon" / "holdfastd")
        self.assert_refuses_to_start(packaged, "the ZooKeeper library of this build has no SASL")

    def test_a_kdc_that_is_away_for_a_while_is_waited_for(self):
        self.kdc.process.pause()
        self.addCleanup(self.kdc.process.resume)
        late = self.stranger("late", {"election.zookeeper.path.root": "/late"})
        self.assert_says(late, "event=daemon.listening")
        self.kdc.process.resume()
        wait_until(late.leads, PATIENCE_S, "it to lead", poll=0.1)


class Tls(Secure):
    @classmethod
    def start_servers(cls):
        cls.authority = Authority(cls.work / "ca")
        cls.ensemble = secure.tls_ensemble(cls.work, cls.authority, TICK_MS)
        cls.addClassCleanup(cls.ensemble.stop)
        cls.ensemble.start()
        cls.quorum = ",".join(f"127.0.0.1:{member.tls_port}" for member in cls.ensemble.members)
        cls.good = {"election.zookeeper.quorum": cls.quorum,
                    **secure.tls_settings(cls.authority, *cls.authority.sign("holdfast", "/CN=holdfast"))}

    def test_elects_and_fails_over(self):
        replicas = self.replicas()
        self.fail_over("tls", replicas)
        # Who one is, the certificate says.
        other = secure.tls_settings(self.authority, *self.authority.sign("other", "/CN=other"))
        self.assert_says(self.stranger("other-user", other), 'event=election.step_failed .* error="not authenticated"')

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # That nobody is connected for long is said after half a minute: it gets the time that the other tests take.
        no_tls = {name: "" for name in cls.good if ".tls." in name}
        cls.no_tls = cls.start_stranger("no-tls", {"election.zookeeper.path.root": "/refused", **no_tls,
                                                   "election.zookeeper.acl": "open"})
        cls.addClassCleanup(cls.no_tls.process.stop)

    def test_a_key_with_a_password(self):
        certificate, key = self.authority.sign("locked", "/CN=locked")
        locked, password = self.work / "locked.pem", self.work / "locked.password"
        subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:open sesame", "-out", locked], check=True)
        settings = {"election.zookeeper.path.root": "/locked", **secure.tls_settings(self.authority, certificate, locked)}
        password.write_text("open sesame\n", "utf-8")
        replica = self.stranger("locked", {**settings, "election.zookeeper.tls.key-password-file": password})
        wait_until(replica.leads, PATIENCE_S, lambda: f"it to lead; it said: {self.log(replica)[-2000:]}", poll=0.1)

    def test_a_server_that_falls_silent_is_left_for_another(self):
        silent = self.ensemble.members[0]
        self.addCleanup(self.ensemble.resume)
        self.ensemble.pause([silent])
        alone = {"election.zookeeper.path.root": "/alone", "election.zookeeper.quorum": f"127.0.0.1:{silent.tls_port}"}
        replica = self.stranger("alone", alone)
        self.assert_says(replica, "error in ssl connect")
        replicas = self.replicas({"election.zookeeper.path.root": "/silent"})
        self.fail_over("tls, one server asleep", replicas)
        self.ensemble.resume()
        wait_until(replica.leads, PATIENCE_S, "it to lead", poll=0.1)

    def test_whoever_is_not_trusted_is_refused_and_says_why(self):
        other = Authority(self.work / "other", "other-ca")
        certificate, key = other.sign("alien", "/CN=holdfast")
        root = {"election.zookeeper.path.root": "/refused"}
        cases = [
            (self.stranger("wrong-ca", {**root, "election.zookeeper.tls.ca-file": other.certificate}),
             "certificate verify failed"),
            (self.stranger("wrong-certificate", {**root, "election.zookeeper.tls.certificate-file": certificate,
                                                 "election.zookeeper.tls.key-file": key}), "error in ssl connect: .*alert"),
            (self.stranger("wrong-key", {**root, "election.zookeeper.tls.key-file": key}), "key values mismatch"),
            (self.stranger("no-key", {**root, "election.zookeeper.tls.key-file": self.work / "missing.key"}),
             "Failed to load client private key from .*missing.key"),
            (self.no_tls, "event=election.unconnected .*failed while receiving a server response"),
            (self.stranger("no-tls-there", {**root, "election.zookeeper.quorum": self.ensemble.quorum}),
             "error in ssl connect: unexpected eof"),
        ]
        for replica, pattern in cases:
            with self.subTest(replica.name):
                self.assert_says(replica, pattern)
        packaged = self.stranger("packaged", root, {"LD_LIBRARY_PATH": ""}, BUILD / "daemon" / "holdfastd")
        self.assert_refuses_to_start(packaged, "the ZooKeeper library of this build has no TLS")


def main():
    parser = argparse.ArgumentParser(prog="zookeeper-secure", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="kills in each test that kills; default 3")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="a class, or Class.test_name; default: all")
    args = parser.parse_args()
    world.rounds = args.rounds
    done = unittest.main(argv=["zookeeper-secure", *(args.tests or ["Image", "Kerberos", "Tls"])], verbosity=2, exit=False)
    if args.json:
        write_json(args.json, world.figures)
    sys.exit(0 if done.result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
