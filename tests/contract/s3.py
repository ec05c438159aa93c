#!/usr/bin/env python3
"""Runs the cases of the S3 store beside a real server: ./test contract --store s3."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lib.failure import Failure  # noqa: E402
from tests.lib.s3 import S3  # noqa: E402


def main():
    build, arguments = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="holdfast-s3-") as work:
        server = S3(work)
        try:
            server.start()
            return subprocess.run([build / "tests" / "contract" / "test_contract_s3", "-j2", *arguments],
                                  env={**os.environ, **server.environment(), "NO_PROXY": "127.0.0.1"},
                                  check=False).returncode
        except Failure as failure:
            print(f"FAILED: {failure}")
            return 1
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
