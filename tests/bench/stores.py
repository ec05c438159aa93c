"""What a commit costs on each store, and how long a restart takes.

  commits    one completed checkpoint through the plugin, at 1, 16 and 64 jobs: throughput and latency; the daemon's
             creates and HTTP requests for each commit, and how long a create took
  recovery   kill -9 of a daemon that knows many jobs, started again until it serves: from the log alone, and from a
             snapshot with a log after it

The servers run on this machine and share its cores with the clients: read the counts and the ratios first.
"""
import argparse
import json
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import bench  # noqa: E402
from lib import http, places  # noqa: E402
from lib.failure import wait_until  # noqa: E402
from lib.holdfastd import Holdfastd  # noqa: E402
from lib.load import Connection, Manager  # noqa: E402

FILLERS = 64


class Place:
    """One started place, with further settings for the daemon."""

    def __init__(self, place, settings):
        self.place = place
        self.more = settings

    def settings(self):
        return {**self.place.settings(), **self.more}


def metrics(daemon):
    """{name: value}, summed over all labels but the call and the status."""
    code, text = http.call("GET", f"{daemon.url}/metrics")
    assert code == 200, text
    found = {}
    for line in text.splitlines():
        match = re.match(r'holdfast_store_(\w+)\{store="\w+"(?:,call="(\w+)")?(?:,status="(\w+)")?\} (\S+)$', line)
        if match:
            found[match[1], match[2], match[3]] = float(match[4])
    return found


def started(work, place, settings=None):
    work = Path(work)
    work.mkdir(parents=True)
    return Holdfastd(work, place=Place(place, settings or {})).start()


def bench_commits(name, work, classes, seconds):
    result = {}
    for jobs in (1, 16, 64):
        folder = work / f"commits-{jobs}"
        place = places.place(name, folder)
        place.start()
        daemon = started(folder / "daemon", place)
        try:
            before, status = metrics(daemon), daemon.get("/v1/status")
            figures = bench.commits(classes, folder, "holdfast", daemon.url, [daemon.process.pid], jobs, 0, 3, seconds)
            after, now = metrics(daemon), daemon.get("/v1/status")
        finally:
            daemon.stop()
            place.stop()
        delta = {key: after[key] - before.get(key, 0) for key in after}
        creates = delta["call_seconds_count", "create", None]
        # Each commit is a transaction, and there are few others. With those of the warming up, as the creates.
        commits = max(1, now["txns_written"] - status["txns_written"])
        figures.update(
            creates_per_commit=round(creates / commits, 3),
            http_requests_per_commit=round(delta.get(("requests_total", None, None), 0) / commits, 3),
            create_mean_ms=round(1000 * delta["call_seconds_sum", "create", None] / max(1, creates), 2),
            commits_per_record=round(commits / max(1, now["records_written"] - status["records_written"]), 2))
        result[str(jobs)] = figures
        print(f"{name:5} {jobs:3} job(s): {figures['per_second']:7.0f} commits/s  p50 {figures['p50_ms']:6.2f} ms  "
              f"p99 {figures['p99_ms']:7.2f} ms  {figures['creates_per_commit']:.3f} creates and "
              f"{figures['http_requests_per_commit']:.3f} HTTP requests a commit, a create takes "
              f"{figures['create_mean_ms']:.2f} ms; {figures['server_cpu_us']} us CPU a commit", flush=True)
    return result


def fill(daemon, cluster, count):
    """One checkpoint for each of count jobs of a cluster, through FILLERS connections."""
    manager = Manager([daemon.url.removeprefix("http://")], cluster, ttl_ms=60000).start()
    numbers = iter(range(count))
    lock = threading.Lock()
    failed = []

    def run():
        connection = Connection(manager.endpoints)
        while not failed:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            job = f"{number:032x}"
            body = {"id": 1, "pointer": f"s3://checkpoints/{job}/chk-1", "started_ms": 1, "completed_ms": 2, "size": 1000,
                    "inline": None, "num_retained": 1, "discarded": [], "reserve": 0,
                    "properties": {"type": "CHECKPOINT", "sharing": "FORWARD_BACKWARD", "format": None,
                                   "post_action": None, "forced": False, "unclaimed": False, "discard_on": []}}
            try:
                connection.call("POST", f"{manager.base}/jobs/{job}/checkpoints", body, manager.headers())
            except Exception as error:  # pylint: disable=broad-except
                failed.append(repr(error))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(FILLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager.stop()
    if failed:
        sys.exit(f"bench: filling failed: {failed[0]}")


def recovered(daemon):
    """kill -9, start; (ms until it serves, what it knows)."""
    daemon.kill()
    at = time.monotonic()
    daemon.restart()
    daemon.wait_ready(300)
    return round((time.monotonic() - at) * 1000), daemon.get("/v1/status")


def bench_recovery(name, work, count):
    """Without snapshots everything is replayed; then with them on the same store."""
    folder = work / "recovery"
    place = places.place(name, folder)
    place.start()
    daemon = None
    result = {"jobs": count}
    try:
        daemon = started(folder / "daemon", place, {"store.snapshot-records": "100000000", "store.snapshot-bytes": "64GiB"})
        at = time.monotonic()
        fill(daemon, "many", count)
        result["filled_s"] = round(time.monotonic() - at, 1)
        result["records"] = daemon.get("/v1/status")["records_written"]
        result["from_log_ms"], status = recovered(daemon)
        result["entries"], result["state_bytes"] = status["entries"], status["bytes"]
        daemon.stop()
        daemon = started(folder / "daemon-2", place, {"store.snapshot-records": "10"})
        fill(daemon, "more", 200)
        wait_until(lambda: daemon.get("/v1/status")["snapshots"] > 0, 120, "a snapshot")
        result["from_snapshot_ms"], status = recovered(daemon)
        assert status["entries"] >= result["entries"], status
    finally:
        if daemon:
            daemon.stop()
        place.stop()
    print(f"{name:5} {count} jobs, {result['entries']} entries, {result['state_bytes'] >> 20} MiB: serving after "
          f"{result['from_log_ms']} ms from {result['records']} records of the log, after {result['from_snapshot_ms']} ms "
          f"from a snapshot", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(prog="bench stores", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=places.PLACES, action="append", help="default: all")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--seconds", type=int, default=6, help="measured time of each point (default 6)")
    parser.add_argument("--jobs", type=int, default=100000, help="to recover; 0: none (default 100000)")
    options = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as work:
        classes = bench.java_classes(Path(work))
        for name in options.store or places.PLACES:
            folder = Path(work) / name
            folder.mkdir()
            result[name] = {"load": os.getloadavg()[0], "commits": bench_commits(name, folder, classes, options.seconds)}
            if options.jobs:
                result[name]["recovery"] = bench_recovery(name, folder, options.jobs)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
