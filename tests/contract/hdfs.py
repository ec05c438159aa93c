#!/usr/bin/env python3
"""The contract of store/blob.h on a real HDFS: --kind single (one NameNode) or pair (two; the first in the list is standby).

The last lines are those of the test program, so that its tests are counted.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import hdfs  # noqa: E402
from lib.failure import Failure  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import main_guard  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("single", "pair"), default="single")
    parser.add_argument("--filter", help="of the program's cases")
    parser.add_argument("--program", default=str(BUILD / "tests" / "contract" / "test_contract_hdfs"))
    args = parser.parse_args()
    if not Path(args.program).exists():
        raise Failure(f"{args.program} is not built")
    with tempfile.TemporaryDirectory(prefix="holdfast-hdfs-") as work:
        cluster = hdfs.Hdfs(work, namenodes=2 if args.kind == "pair" else 1)
        try:
            cluster.start()
            cluster.make_folder("/holdfast")
            names = [node.url for node in cluster.namenodes]
            environment = {**os.environ, "HOLDFAST_TEST_HDFS_NAMENODES": ",".join(reversed(names)),
                           "HOLDFAST_TEST_HDFS_PATH": "/holdfast", "HOLDFAST_TEST_HDFS_USER": os.environ.get("USER", "root")}
            command = [args.program, "--jobs", "2"] + (["--filter", args.filter] if args.filter else [])
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            cluster.stop()


if __name__ == "__main__":
    main_guard("hdfs", main)
