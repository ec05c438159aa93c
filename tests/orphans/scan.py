#!/usr/bin/env python3
"""How long a look at many HA objects takes, in how many requests and how much memory, on a real API server and a real ZooKeeper."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from base import CLI  # noqa: E402
from lib import kube  # noqa: E402
from lib.leftovers import Leftovers, Storage  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402
from lib.zookeeper import ZooKeeper  # noqa: E402
from lib.zookeeper_client import Client  # noqa: E402

MEMORY_MIB_MAX = 96
LAYOUTS = ("1.20", "2.2")


def look(name, access, state, result):
    """Twice, as it is done: the second one judges with what the first one saw. Nothing is listed, as people choose as well."""
    for which in ("first", "second"):
        start = time.monotonic()
        command = [CLI, "orphans", "list", "-o", "json", "--state-dir", state, "--no-rest", "--older-than", "9999d", *access]
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as child:
            said = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{name}: the scan ended with {child.returncode}")
        took = time.monotonic() - start
        result[f"{name}_{which}"] = {**json.loads(said)["scan"], "seconds": round(took, 2),
                                     "mib": round(usage.ru_maxrss / 1024, 1)}
        print(name, which, result[f"{name}_{which}"], flush=True)


def on_kubernetes(work, storage, count, result):
    server = kube.Kube(work).start()
    try:
        api = server.api()
        lefts = [Leftovers(storage, f"app-{number:05d}", LAYOUTS[number % 2]) for number in range(count // 2)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda left: left.put(api, kube.NAMESPACE), lefts))
        config = server.kubeconfig("admin", {"token": server.tokens["admin"]})
        look("kubernetes", ["--kubeconfig", config, "-A"], work / "state-kubernetes", result)
    finally:
        server.stop()


def on_zookeeper(work, storage, count, result):
    server = ZooKeeper(work).start()
    try:
        made = 0
        with Client(server.port) as client:
            client.create("/flink")
            number = 0
            while made < count:
                for path, data in Leftovers(storage, f"app-{number:05d}", LAYOUTS[number % 2]).znodes():
                    client.create(path, data)
                    made += 1
                number += 1
        look("zookeeper", ["--zookeeper", f"127.0.0.1:{server.port}", "--standalone"], work / "state-zookeeper", result)
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(prog="scan", description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=10000, help="of each kind; default 10000")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    result = {"objects": args.objects}
    with tempfile.TemporaryDirectory(prefix="holdfast-scan-") as folder:
        work = Path(folder)
        storage = Storage(work / "ha")
        on_zookeeper(work, storage, args.objects, result)
        on_kubernetes(work, storage, args.objects, result)
    if args.json:
        write_json(args.json, result)
    most = max(each["mib"] for each in result.values() if isinstance(each, dict))
    if args.objects <= 10000 and most > MEMORY_MIB_MAX:
        raise SystemExit(f"a scan took {most} MiB, and {MEMORY_MIB_MAX} MiB are the limit")


if __name__ == "__main__":
    main_guard("scan", main)
