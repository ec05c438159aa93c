#!/usr/bin/env python3
"""What Flink's own high availability asks of an API server: the figure beside that of election_away.py.

One Flink cluster of two JobManagers and a TaskManager on a real API server, with Flink's defaults. Counted are requests for
ConfigMaps, in which Flink keeps its leader and its checkpoints, without a job and with one that makes checkpoints.
"""
import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import maven  # noqa: E402
from lib.failover import completed, wait_checkpoints  # noqa: E402
from lib.flink import Flink  # noqa: E402
from lib.kubernetes_ha import KubernetesHa  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="flink_on_kubernetes", description=__doc__.splitlines()[0])
    parser.add_argument("--flink", default="2.3", metavar="VERSION", help="default 2.3")
    parser.add_argument("--seconds", type=int, default=60, help="to count for; default 60")
    parser.add_argument("--interval-ms", type=int, default=10000, help="of the job's checkpoints; default 10000")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


def requests(server):
    """Requests so far, by verb. A watch that is open is none."""
    counts = {}
    for line in server.api().call("GET", "/metrics", timeout=30).splitlines():
        if re.match(r'apiserver_request_total\{.*resource="configmaps"', line) and 'verb="WATCH"' not in line:
            verb = re.search(r'verb="(\w+)"', line)[1]
            counts[verb] = counts.get(verb, 0) + float(line.rsplit(" ", 1)[1])
    return counts


def rate(server, seconds):
    at = time.monotonic()
    before = requests(server)
    time.sleep(seconds)
    after = requests(server)
    passed = time.monotonic() - at
    return {verb: round((count - before.get(verb, 0)) / passed, 3) for verb, count in sorted(after.items())
            if count > before.get(verb, 0)}


def run(args, work, result):
    version = maven.flink_version(args.flink)
    ha = KubernetesHa(work, version)
    server = ha.server.start()
    flink = None
    try:
        idle = rate(server, args.seconds / 2)
        flink = Flink(work, version, ha,
                      {"execution.checkpointing.interval": f"{args.interval_ms} ms"})
        leader = flink.start()
        time.sleep(5)  # what a start costs is not counted
        without = rate(server, args.seconds)
        flink.wait_running(flink.submit(maven.job_jar(), "--name", "counted"))
        wait_checkpoints(leader, 2)
        before = len(completed(leader))
        with_job = rate(server, args.seconds)
        made = len(completed(leader)) - before
    finally:
        if flink:
            flink.stop()
        server.stop()
    own = sum(idle.values())
    result.update(flink=version, interval_ms=args.interval_ms, idle_server=idle, cluster=without, cluster_with_job=with_job,
                  checkpoints=made, per_second=[round(sum(rates.values()) - own, 2) for rates in (without, with_job)])
    print(f"Flink {version}, one cluster: {result['per_second'][0]:.2f} requests a second, {result['per_second'][1]:.2f} with a job "
          f"that made {made} checkpoints in {args.seconds} s: {without}, {with_job}")


def main():
    args = arguments()
    result = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-flink-kubernetes-") as work:
        run(args, Path(work), result)
    if args.json:
        write_json(args.json, result)


if __name__ == "__main__":
    main_guard("flink_on_kubernetes", main)
