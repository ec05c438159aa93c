"""A real S3 server for tests: versitygw on a folder, from its Go module; built once and kept."""
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from . import golang
from .failure import Failure, wait_until
from .paths import CACHE, cache_lock
from .ports import free_port
from .process import Process

MODULE = "github.com/versity/versitygw/cmd/versitygw"
VERSION = "v1.8.0"
BUCKET = "holdfast"
REGION = "us-east-1"


def versitygw():
    """The path of the server's program."""
    target = CACHE / f"versitygw-{VERSION}"
    with cache_lock(target.name):
        if not target.is_file():
            go, environment = golang.go((1, 24))
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".versitygw-") as scratch:
                log = CACHE / "versitygw.log"
                with open(log, "wb") as out:
                    done = subprocess.run([go, "install", "-p", "2", "-ldflags", "-s -w", f"{MODULE}@{VERSION}"],
                                          stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                          env={**os.environ, **environment, "GOBIN": scratch, "GOFLAGS": ""}, check=False)
                if done.returncode:
                    raise Failure(f"versitygw cannot be built; see {log}")
                shutil.move(Path(scratch) / "versitygw", target)
    return target


class S3:
    """One server on a folder of its own, with one bucket."""

    access_key = "holdfast"
    secret_key = "holdfast-secret"
    bucket = BUCKET

    def __init__(self, work, tls=None, virtual_domain=None):
        self.work = Path(work) / "s3"
        self.port = free_port()
        self.tls = tls  # (certificate, key)
        self.virtual_domain = virtual_domain  # buckets are served as BUCKET.DOMAIN as well
        self.process = None

    @property
    def endpoint(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self):
        store = self.work / "store"
        self.start_bucket(self.bucket)
        certificate = ["--cert", self.tls[0], "--key", self.tls[1]] if self.tls else []
        domain = ["--virtual-domain", f"{self.virtual_domain}:{self.port}"] if self.virtual_domain else []
        self.process = Process("versitygw", [versitygw(), "--port", f"127.0.0.1:{self.port}", "--region", REGION,
                                             "--keep-alive", "--quiet", *certificate, *domain, "posix", store],
                               self.work / "versitygw.log",
                               {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}).start()
        self.wait_ready()
        return self

    def start_bucket(self, name):
        (self.work / "store" / name).mkdir(parents=True, exist_ok=True)

    def wait_ready(self):
        def serving():
            self.process.require_alive()
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.port), timeout=2):
                    return True
            return False
        wait_until(serving, 120, "versitygw to serve")

    def restart(self):
        self.process.start()
        self.wait_ready()

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process:
            self.process.stop()

    def settings(self):
        """The daemon's settings for this server."""
        return {"s3.endpoint": self.endpoint, "s3.region": REGION, "s3.path.style.access": "true",
                "s3.access-key": self.access_key, "s3.secret-key": self.secret_key}

    def flink_settings(self):
        """The options of Flink's own file systems for this server, which refuses to delete the marker of a folder
        that is not empty."""
        return {"s3.endpoint": self.endpoint, "s3.endpoint.region": REGION, "s3.path.style.access": "true",
                "s3.directory.marker.retention": "keep",
                "s3.access-key": self.access_key, "s3.secret-key": self.secret_key}

    def environment(self):
        """For tests/contract."""
        return {"HF_TEST_S3_ENDPOINT": self.endpoint, "HF_TEST_S3_BUCKET": self.bucket,
                "HF_TEST_S3_ACCESS_KEY": self.access_key, "HF_TEST_S3_SECRET_KEY": self.secret_key}
