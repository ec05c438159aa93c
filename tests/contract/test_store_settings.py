#!/usr/bin/env python3
"""holdfastd on S3 and HDFS that are not as they should be: it does not start, and says which setting to change; and what
/metrics tells of those that are.

A real S3 server and a real HDFS; and a small fake for what no real server can be made to do: to break its promises.
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import http  # noqa: E402
from lib.fake_s3 import FakeS3  # noqa: E402
from lib.hdfs import Hdfs  # noqa: E402
from lib.holdfastd import Holdfastd  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.s3 import S3  # noqa: E402

DAEMON = BUILD / "daemon" / "holdfastd"


class Settings:
    """The part of a place (lib/places.py) that Holdfastd needs."""

    def __init__(self, settings):
        self._settings = settings

    def settings(self):
        return self._settings


class StoreTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls._temporary = tempfile.TemporaryDirectory(prefix="holdfast-settings-")
        cls.addClassCleanup(cls._temporary.cleanup)
        cls.work = Path(cls._temporary.name)

    def refused(self, settings, *expected):
        """The daemon ends by itself, and its last words hold all of `expected`."""
        arguments = [word for key, value in {"listen": "127.0.0.1:0", **settings}.items() for word in ("-D", f"{key}={value}")]
        done = subprocess.run([DAEMON, *arguments], capture_output=True, text=True, timeout=120,
                              env={"no_proxy": "127.0.0.1", "PATH": "/usr/bin"})
        text = [line for line in done.stderr.splitlines() if line.startswith("holdfastd: ")]
        self.assertNotEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(text), 1, done.stderr)
        for words in expected:
            self.assertIn(words, text[0])
        return text[0]

    def metrics(self, settings):
        """{line without its value: value} of a daemon that has started on this store."""
        with tempfile.TemporaryDirectory(dir=self.work) as work:
            daemon = Holdfastd(work, place=Settings(settings))
            try:
                daemon.start()
                code, text = http.call("GET", f"{daemon.url}/metrics")
                self.assertEqual(code, 200)
                return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                        for line in text.splitlines() if not line.startswith("#")}
            finally:
                daemon.stop()

    def check_metrics(self, scheme, metrics):
        """The probe alone makes 19 creates, of which 2 are done."""
        def of(call, status):
            return metrics[f'holdfast_store_calls_total{{store="{scheme}",call="{call}",status="{status}"}}']
        self.assertGreaterEqual(of("create", "OK"), 3)
        self.assertGreaterEqual(of("create", "EXISTS"), 16)
        self.assertGreaterEqual(of("read", "OK"), 2)
        self.assertGreaterEqual(of("list", "OK"), 2)
        self.assertGreaterEqual(of("remove", "OK"), 2)
        labels = f'store="{scheme}",call="create"'
        ended = sum(value for name, value in metrics.items() if name.startswith(f"holdfast_store_calls_total{{{labels}"))
        self.assertEqual(metrics[f"holdfast_store_call_seconds_count{{{labels}}}"], ended)
        self.assertEqual(metrics[f'holdfast_store_call_seconds_bucket{{{labels},le="+Inf"}}'], ended)
        self.assertGreater(metrics[f"holdfast_store_call_seconds_sum{{{labels}}}"], 0)
        self.assertGreaterEqual(metrics[f'holdfast_store_requests_total{{store="{scheme}"}}'], ended)
        self.assertGreater(metrics[f'holdfast_store_sent_bytes_total{{store="{scheme}"}}'], 0)
        self.assertGreater(metrics[f'holdfast_store_read_bytes_total{{store="{scheme}"}}'], 0)


class S3Test(StoreTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = S3(cls.work)
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()

    def settings(self, **changes):
        changes = {key.replace("__", "-").replace("_", "."): value for key, value in changes.items()}
        return {"store": f"s3://{self.server.bucket}/{self.id().rpartition('.')[2]}", "s3.retry-time": "300ms",
                **self.server.settings(), **changes}

    def test_the_metrics_tell_what_was_asked(self):
        metrics = self.metrics(self.settings())
        self.check_metrics("s3", metrics)
        self.assertGreater(metrics['holdfast_store_http_sent_bytes_total{store="s3"}'], 0)
        self.assertEqual(metrics['holdfast_store_throttled_total{store="s3"}'], 0)

    def test_a_wrong_endpoint(self):
        self.refused(self.settings(s3_endpoint=f"http://127.0.0.1:{free_port()}"), "check s3.endpoint")

    def test_an_endpoint_that_has_no_name(self):
        self.refused(self.settings(s3_endpoint="http://no-such-host.invalid"), "check s3.endpoint")

    def test_tls_where_there_is_none(self):
        self.refused(self.settings(s3_endpoint=self.server.endpoint.replace("http:", "https:")), "s3.endpoint")

    def test_an_endpoint_that_is_no_url(self):
        self.refused(self.settings(s3_endpoint="ftp://x"), "s3.endpoint: 'ftp://x'")

    def test_a_bucket_that_is_not_there(self):
        self.refused(self.settings(store="s3://nosuchbucket/x"), "NoSuchBucket", "check the bucket in 'store'")

    def test_a_wrong_access_key(self):
        self.refused(self.settings(s3_access__key="nobody"), "check s3.access-key")

    def test_a_wrong_secret_key(self):
        said = self.refused(self.settings(s3_secret__key="wrong-secret"), "check s3.secret-key")
        self.assertNotIn("wrong-secret", said)

    def test_a_wrong_region(self):
        self.refused(self.settings(s3_region="eu-west-9"), "check s3.region")

    def test_no_credentials(self):
        settings = self.settings(s3_credentials="environment")
        self.refused(settings, "AWS_ACCESS_KEY_ID")


class S3TlsTest(StoreTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        certificate, key = cls.work / "certificate.pem", cls.work / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
                        "-out", certificate], check=True, capture_output=True)
        cls.certificate = certificate
        cls.server = S3(cls.work, tls=(certificate, key))
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()

    def settings(self, **changes):
        return {"store": f"s3://{self.server.bucket}/tls", "s3.retry-time": "300ms", **self.server.settings(), **changes}

    def test_a_certificate_of_an_unknown_authority(self):
        self.refused(self.settings(), "check s3.ca-file")

    def test_the_authority_is_named(self):
        metrics = self.metrics(self.settings(**{"s3.ca-file": str(self.certificate)}))
        self.check_metrics("s3", metrics)

    def test_a_file_of_authorities_that_is_not_there(self):
        self.refused(self.settings(**{"s3.ca-file": "/nonexistent.pem"}), "s3.ca-file")


class BrokenPromises(StoreTest):
    def settings(self, server):
        return {"store": "s3://bucket/store", "s3.endpoint": server.endpoint, "s3.path.style.access": "true",
                "s3.access-key": "a", "s3.secret-key": "b", "s3.retry-time": "300ms"}

    def refused_with(self, fault, *expected):
        with FakeS3(fault) as server:
            return self.refused(self.settings(server), *expected)

    def test_the_fake_itself_is_taken(self):
        with FakeS3("none") as server:
            self.check_metrics("s3", self.metrics(self.settings(server)))

    def test_a_server_that_ignores_the_condition(self):
        self.refused_with("ignores_the_condition", "a second put of one name is not refused", "does not run on such a store")

    def test_a_server_that_lets_racers_through(self):
        self.refused_with("checks_before_it_waits", "more than one is let through", "does not run on such a store")

    def test_a_server_that_knows_no_conditions(self):
        self.refused_with("knows_no_conditions", "does not know conditional puts")

    def test_a_server_whose_lists_are_late(self):
        self.refused_with("lists_late", "a list does not show")

    def test_a_wrong_clock(self):
        self.refused_with("thinks_our_clock_is_wrong", "the clock of this machine is wrong")

    def test_a_bucket_of_another_region(self):
        self.refused_with("is_another_region", "check s3.region and s3.endpoint", "region: eu-west-9")

    def test_keys_that_may_only_read(self):
        self.refused_with("is_read_only", "s3:PutObject")

    def test_no_space(self):
        self.refused_with("is_full", "Storage backend has reached its minimum free drive threshold")

    def test_a_bucket_with_versions_is_taken_with_a_warning(self):
        with FakeS3("keeps_versions") as server, tempfile.TemporaryDirectory(dir=self.work) as work:
            daemon = Holdfastd(work, place=Settings(self.settings(server)))
            try:
                daemon.start()
            finally:
                daemon.stop()
            log = (Path(work) / "holdfastd" / "holdfastd.log").read_text("utf-8")
            self.assertEqual(log.count("bucket_is_versioned"), 1, log)


class HdfsTest(StoreTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = Hdfs(cls.work)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()
        cls.cluster.make_folder("/holdfast", owner="holdfast")

    def settings(self, **changes):
        changes = {key.replace("_", "."): value for key, value in changes.items()}
        return {"store": f"hdfs://test/holdfast/{self.id().rpartition('.')[2]}", "hdfs.namenodes": self.cluster.urls,
                "hdfs.retry-time": "300ms", **changes}

    def admin(self, *arguments):
        """A command of the superuser."""
        self.cluster.run("tools.DFSAdmin", *arguments)

    def test_the_metrics_tell_what_was_asked(self):
        metrics = self.metrics(self.settings())
        self.check_metrics("hdfs", metrics)
        self.assertEqual(metrics['holdfast_store_doubts_total{store="hdfs"}'], 0)

    def test_no_namenodes(self):
        self.refused(self.settings(hdfs_namenodes=""), "hdfs.namenodes: name the NameNodes' HTTP addresses")

    def test_a_namenode_that_is_not_there(self):
        self.refused(self.settings(hdfs_namenodes=f"http://127.0.0.1:{free_port()}"), "hdfs.namenodes")

    def test_the_rpc_port_of_a_namenode(self):
        self.refused(self.settings(hdfs_namenodes=f"http://127.0.0.1:{self.cluster.namenodes[0].rpc}"), "hdfs.namenodes")

    def test_an_address_that_is_no_url(self):
        self.refused(self.settings(hdfs_namenodes="nn1:9870"), "hdfs.namenodes: 'nn1:9870'")

    def test_a_folder_of_somebody_else(self):
        self.refused(self.settings(hdfs_user="stranger"), "hdfs.user")

    def test_a_store_without_a_folder(self):
        self.refused(self.settings(store="hdfs://test"), "is not hdfs://nameservice/folder")

    def test_a_folder_whose_quota_is_used_up(self):
        self.cluster.make_folder("/holdfast/quota", owner="holdfast")
        self.admin("-setSpaceQuota", "1", "/holdfast/quota")
        self.refused(self.settings(store="hdfs://test/holdfast/quota"), "quota")

    def test_safe_mode(self):
        self.admin("-safemode", "enter")
        try:
            self.refused(self.settings(), "safe mode")
        finally:
            self.admin("-safemode", "leave")


if __name__ == "__main__":
    unittest.main()
