"""What Holdfast costs, beside Flink's own ZooKeeper store in the same run.

  commits   one completed checkpoint in the HA store, at 1, 16 and 64 jobs in closed loops, and at 64 jobs with one
            checkpoint every 200 ms each, which neither side is at its limit with: throughput, latency, records per commit,
            processor time of server and client
  streams   idle JobManager streams: memory and CPU of the daemon for each

Wall times are those of this machine at this moment; read the ratios, the operation counts and the CPU time of the
server, which tells how many commits one core carries when the clients run elsewhere. In the closed loops of many jobs
the clients take most of the machine. --ensemble 3: three ZooKeeper servers, of which a majority has to have each write;
their processor time is that of all three.
"""
import argparse
import http.client
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/rpc"))
from harness import Daemon  # noqa: E402
from lib import maven, zookeeper  # noqa: E402


def java_classes(work):
    """The Flink jars and the plugin, and our bench compiled against them."""
    lib = maven.flink_lib(maven.flink_version("1.20"))
    path = f"{lib}/*:{maven.plugin_jar()}"
    out = work / "classes"
    subprocess.run(["javac", "--release", "11", "-nowarn", "-cp", path, "-d", out,
                    ROOT / "tests/bench/java/io/holdfast/flink/CommitBench.java"], check=True)
    return f"{out}:{path}"


def commits(classes, work, kind, target, servers, jobs, pace_ms, warm, seconds):
    """servers: the process ids whose CPU time is counted while it is measured."""
    folder = tempfile.mkdtemp(prefix=f"{kind}-{jobs}-", dir=work)
    memory_folder = "/dev/shm" if os.path.isdir("/dev/shm") else work
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=memory_folder) as checkpoints, \
            tempfile.TemporaryFile("w+", dir=work) as errors:
        command = ["java", "-Xmx1g", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes,
                   "io.holdfast.flink.CommitBench", kind, target, folder, checkpoints, str(jobs), str(warm), str(seconds),
                   str(pace_ms)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as client:
            killer = threading.Timer(600, client.kill)
            killer.start()
            begin, figures = 0, None
            for line in client.stdout:
                used = sum(map(cpu_seconds, servers))
                if line.startswith("measuring"):
                    begin = used
                elif line.startswith("{"):
                    figures = json.loads(line)
                    figures["server_cpu_us"] = round((used - begin) * 1e6 / figures["commits"], 1)
            killer.cancel()
        errors.seek(0)
        if client.returncode != 0 or figures is None:
            sys.exit(f"bench: {kind}, {jobs} jobs: {errors.read()[-2000:]}")
    return figures


#: Jobs, and milliseconds between two checkpoints of one; 0: the next follows at once.
POINTS = ((1, 0), (16, 0), (64, 0), (64, 200))


def point(daemon, peer, classes, work, jobs, pace_ms, warm, seconds):
    before = daemon.call("GET", "/v1/status")[1]
    ours = commits(classes, work, "holdfast", f"http://127.0.0.1:{daemon.port}", [daemon.process.pid], jobs, pace_ms, warm,
                   seconds)
    after = daemon.call("GET", "/v1/status")[1]
    records = after["records_written"] - before["records_written"]
    transactions = after["txns_written"] - before["txns_written"]
    theirs = commits(classes, work, "zookeeper", peer.quorum, [m.process.pid for m in peer.members], jobs, pace_ms, warm,
                     seconds)
    return {"jobs": jobs, "pace_ms": pace_ms, "holdfast": ours, "zookeeper": theirs,
            "latency_p50_ratio": round(ours["p50_ms"] / theirs["p50_ms"], 3),
            "throughput_ratio": round(ours["per_second"] / theirs["per_second"], 2),
            "server_cpu_ratio": round(ours["server_cpu_us"] / theirs["server_cpu_us"], 3),
            "client_cpu_ratio": round(ours["client_cpu_us"] / theirs["client_cpu_us"], 3),
            "records_per_commit": round(records / max(1, transactions), 3)}


def bench_commits(work, ensemble, warm, seconds):
    classes = java_classes(work)
    result = []
    peer = zookeeper.Ensemble(work, ensemble, tick_ms=2000, java_flags=()).start()
    try:
        with Daemon() as daemon:
            for jobs, pace_ms in POINTS:
                figures = point(daemon, peer, classes, work, jobs, pace_ms, warm, seconds)
                result.append(figures)
                print(f"{jobs:3} job(s)" + (f", each {pace_ms} ms" if pace_ms else "") + ":", flush=True)
                for name in ("holdfast", "zookeeper"):
                    side = figures[name]
                    print(f"    {name:9} {side['per_second']:8.0f}/s  p50 {side['p50_ms']:7.2f} ms  p99 {side['p99_ms']:7.2f} ms"
                          f"  server {side['server_cpu_us']:6.0f} us/commit  client {side['client_cpu_us']:6.0f} us/commit",
                          flush=True)
                print(f"    latency x{figures['latency_p50_ratio']}, throughput x{figures['throughput_ratio']}, server CPU "
                      f"x{figures['server_cpu_ratio']}, {figures['records_per_commit']} records/commit", flush=True)
    finally:
        peer.stop()
    return result


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def bench_streams(count, seconds):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(count, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 200), hard))
    with Daemon() as daemon:
        before = memory(daemon.process.pid)
        streams = []
        for number in range(count):
            sid = os.urandom(16).hex()
            base = f"/v1/clusters/bench/c{number}"
            code, answer, _ = daemon.call("POST", base + "/sessions",
                                          {"session": sid, "holder": "bench", "ttl_ms": 300000})
            assert code == 200, answer
            stream = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
            stream.request("GET", f"{base}/sessions/{sid}/events?contend=true")
            streams.append((stream, stream.getresponse()))
        time.sleep(1)
        start, at = cpu_seconds(daemon.process.pid), time.monotonic()
        time.sleep(seconds)
        used = (cpu_seconds(daemon.process.pid) - start) / (time.monotonic() - at)
        held = memory(daemon.process.pid)
        status = daemon.call("GET", "/v1/status")[1]
        assert status["streams"] == count, status
        result = {"streams": count, "rss_mib": round(held / 2**20, 1),
                  "bytes_per_session": round((held - before) / count), "idle_core_percent": round(used * 100, 1)}
        print(f"{count} sessions with a leadership and an idle stream each: {result['rss_mib']} MiB, "
              f"{result['bytes_per_session']} bytes each (user space, the stored state included), "
              f"{result['idle_core_percent']} % of a core", flush=True)
        for stream, _ in streams:
            stream.close()
    return result


def main():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--seconds", type=int, default=6, help="measured time of each point (default 6)")
    parser.add_argument("--streams", type=int, default=10000)
    parser.add_argument("--ensemble", type=int, default=1, metavar="N", help="ZooKeeper servers (default 1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as work:
        result = {"ensemble": options.ensemble, "load_before": round(os.getloadavg()[0], 1),
                  "commits": bench_commits(Path(work), options.ensemble, 5, options.seconds),
                  "idle": bench_streams(options.streams, options.seconds)}
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
