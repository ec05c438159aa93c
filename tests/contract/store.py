#!/usr/bin/env python3
"""The contract of store/blob.h on one store, beside the servers that it needs.

    ./test contract --store s3 [--filter '*/stores_*'] [--verbose]

A store is a row of STORES: the program with its cases, which of its suites, and who starts the servers. Its last
lines are the program's, so that its tests are counted.
"""
import argparse
import contextlib
import getpass
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import hdfs  # noqa: E402
from lib.failure import Failure  # noqa: E402
from lib.oss import OssServer  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import main_guard  # noqa: E402
from lib.s3 import S3  # noqa: E402

JOBS = "4"  # cases at a time: they wait for the server most of their time


@contextlib.contextmanager
def nothing(_work):
    yield {}


@contextlib.contextmanager
def s3_server(work):
    """One of our own, or the one that the environment names."""
    if os.environ.get("HF_TEST_S3_ENDPOINT"):
        yield {}
        return
    server = S3(work)
    try:
        server.start()
        yield server.environment()
    finally:
        server.stop()


@contextlib.contextmanager
def oss_server(_work):
    server = OssServer()
    server.wants_condition = True
    server.start()
    try:
        yield server.environment()
    finally:
        server.stop()
    # Without memory for the answer to its beginning, nobody knows the upload's id.
    left = [key for bucket in server.buckets.values() for key, _ in bucket.uploads.values() if "/oom/" not in key]
    if server.violations or left:
        raise Failure(f"the server was sent what it should not: {server.violations[:5]}, {len(left)} uploads were left")


def hdfs_of(namenodes):
    """One NameNode; or two, of which the first in the list is standby."""
    @contextlib.contextmanager
    def servers(work):
        cluster = hdfs.Hdfs(work, namenodes=namenodes)
        try:
            cluster.start()
            cluster.make_folder("/holdfast")
            urls = [node.url for node in cluster.namenodes]
            yield {"HOLDFAST_TEST_HDFS_NAMENODES": ",".join(reversed(urls)),
                   "HOLDFAST_TEST_HDFS_PATH": "/holdfast", "HOLDFAST_TEST_HDFS_USER": getpass.getuser()}
        finally:
            cluster.stop()
    return servers


# Name: program, its suites, servers (a context with the environment for the program).
STORES = {
    "memory": ("test_contract", "blob_memory", nothing),
    "file": ("test_contract", "blob_file*", nothing),
    "s3": ("test_contract_s3", "blob_s3", s3_server),
    "oss": ("test_contract_oss", "blob_oss*", oss_server),
    "hdfs": ("test_contract_hdfs", "blob_hdfs", hdfs_of(1)),
    "hdfs-ha": ("test_contract_hdfs", "blob_hdfs", hdfs_of(2)),
}


def main():
    parser = argparse.ArgumentParser(prog="contract", description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=STORES, required=True)
    parser.add_argument("--filter", help="of the cases; default: all of the store's")
    parser.add_argument("--names", type=int, metavar="N", help="to list, in whole thousands; default 10000")
    parser.add_argument("--verbose", action="store_true", help="name each case and its time")
    parser.add_argument("--build", metavar="FOLDER", type=Path, default=BUILD)
    args = parser.parse_args()
    name, suites, servers = STORES[args.store]
    program = args.build / "tests" / "contract" / name
    if not program.exists():
        raise Failure(f"{program} is not built")
    if args.names:
        os.environ["HF_TEST_NAMES"] = str(args.names)
    command = [program, "--jobs", JOBS, "--filter", args.filter or f"{suites}/*"] + ["--verbose"] * args.verbose
    with tempfile.TemporaryDirectory(prefix=f"holdfast-{args.store}-") as work, servers(work) as environment:
        return subprocess.run(command, env={"no_proxy": "127.0.0.1", **os.environ, **environment},
                              check=False).returncode


if __name__ == "__main__":
    main_guard("contract", main)
