#!/usr/bin/env python3
"""The contract of store/blob.h on one store, beside the servers that it needs.

    ./test contract --store s3 [--filter '*/stores_*'] [--verbose]

A store is a row of STORES: the program with its cases, which of its suites, and who starts the servers. Its last
lines are the program's, so that its tests are counted.
"""
import argparse
import contextlib
import getpass
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import hdfs  # noqa: E402
from lib.failure import Failure  # noqa: E402
from lib.httpfs import HttpFs, allow  # noqa: E402
from lib.kerberos import Kdc  # noqa: E402
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


def hdfs_kerberos(work):
    """A NameNode that answers to nobody without a ticket; the program is the principal flink of a keytab."""
    kdc = Kdc(work, ["flink", "hdfs/localhost", "HTTP/localhost"])
    cluster = None
    try:
        kdc.start()
        cluster = hdfs.Hdfs(work, kdc=kdc)
        cluster.start()
        cluster.make_folder("/holdfast", owner="flink")
        token = Path(work) / "token"
        answer = cluster.webhdfs("flink", "GET", "/", "GETDELEGATIONTOKEN&renewer=flink")
        token.write_text(json.loads(answer)["Token"]["urlString"] + "\n", "utf-8")
        environment = {"HOLDFAST_TEST_HDFS_NAMENODES": cluster.urls, "HOLDFAST_TEST_HDFS_PATH": "/holdfast",
                       "no_proxy": "localhost", "KRB5CCNAME": "MEMORY:nobody"}
        yield {**environment, "HOLDFAST_TEST_HDFS_KEYTAB": str(kdc.keytab_of("flink")), "KRB5_CONFIG": str(kdc.config)}
        # A delegation token alone is enough: without a word to the KDC.
        yield {**environment, "HOLDFAST_TEST_HDFS_TOKEN_FILE": str(token), "KRB5_CONFIG": "/dev/null",
               "HOLDFAST_TEST_FILTER": "blob_hdfs/[gprs]*"}
    finally:
        if cluster:
            cluster.stop()
        kdc.stop()


@contextlib.contextmanager
def httpfs(work):
    """The gateway before an HDFS: it knows the old rename only."""
    cluster, gateway = hdfs.Hdfs(work), None
    try:
        allow(cluster)
        cluster.start()
        cluster.make_folder("/holdfast", owner="holdfast")
        gateway = HttpFs(cluster).start().wait_ready()
        yield {"HOLDFAST_TEST_HDFS_NAMENODES": gateway.url, "HOLDFAST_TEST_HDFS_PATH": "/holdfast",
               "HOLDFAST_TEST_HDFS_USER": "holdfast"}
    finally:
        if gateway:
            gateway.stop()
        cluster.stop()


# Name: program, its suites, servers: a context with the environment for the program, or a generator of several, each for a
# run of its own, perhaps of some cases only.
STORES = {
    "memory": ("test_contract", "blob_memory", nothing),
    "file": ("test_contract", "blob_file*", nothing),
    "s3": ("test_contract_s3", "blob_s3", s3_server),
    "oss": ("test_contract_oss", "blob_oss*", oss_server),
    "hdfs": ("test_contract_hdfs", "blob_hdfs", hdfs_of(1)),
    "hdfs-kerberos": ("test_contract_hdfs", "blob_hdfs", hdfs_kerberos),
    "httpfs": ("test_contract_hdfs", "blob_hdfs", httpfs),
    "hdfs-ha": ("test_contract_hdfs", "blob_hdfs", hdfs_of(2)),
}


@contextlib.contextmanager
def several(servers):
    """The environments of a generator, which is closed at the end, or the one of a context."""
    if hasattr(servers, "__enter__"):
        with servers as environment:
            yield [environment]
    else:
        with contextlib.closing(servers):
            yield servers


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
    codes = []
    with tempfile.TemporaryDirectory(prefix=f"holdfast-{args.store}-") as work, several(servers(work)) as environments:
        for environment in environments:
            some = environment.pop("HOLDFAST_TEST_FILTER", None)
            chosen = [*command, "--filter", some] if some and not args.filter else command
            codes.append(subprocess.run(chosen, env={"no_proxy": "127.0.0.1", **os.environ, **environment},
                                        check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    main_guard("contract", main)
