"""What garbage collection costs.

  parse   a large `_metadata`: ours beside Flink's own reader, and ours alone on 1 GB: time and memory
  sweep   a plan for a job's folder of a million files on a disk, beside `find`, and of many objects on S3, beside the bare
          listing of the same prefix: files a second and memory
  discard the files of one checkpoint on S3, by the daemon and, handle by handle, by Flink: requests and time

Wall times are those of this machine at this moment: read the ratios and the memory.
"""
import argparse
import collections
import datetime
import hashlib
import hmac
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / place) for place in ("", "gc", "rpc")]
from lib import maven, s3  # noqa: E402
from lib.fault_proxy import Counting, FaultProxy  # noqa: E402
from lib.failure import wait_until  # noqa: E402
from lib.flink import java  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402
from harness import Daemon, JobManager  # noqa: E402
from test_gc_cli import JOB, metadata  # noqa: E402
from test_metadata_show import large, peak_kib  # noqa: E402

CLI = BUILD / "cli" / "holdfast"
OLD = time.time() - 30 * 86400


def timed(*command):
    """-> (standard output, seconds, MiB at most)"""
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        with subprocess.Popen(list(map(str, command)), stdout=out) as process:
            memory = 0
            while process.poll() is None:
                memory = max(memory, peak_kib(process.pid))
                time.sleep(0.01)
        seconds = time.monotonic() - begin
        if process.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
        out.seek(0)
        return out.read(), round(seconds, 2), round(memory / 1024, 1)


def parse(work, args):
    """65 bytes of `_metadata` for each file."""
    lib = maven.flink_lib(maven.flink_version(args.flink))
    subprocess.run(["javac", "--release", "11", "-nowarn", "-cp", f"{lib}/*", "-d", work,
                    ROOT / "tests/bench/java/io/holdfast/flink/MetadataBench.java"], check=True)
    result = []
    for megabytes, beside in ((args.beside_mb, True), (args.parse_mb, False)):
        path = work / "_metadata"
        large(path, megabytes * 1_000_000 // 65)
        _, seconds, memory = timed(CLI, "metadata", "show", "--summary", path)
        row = {"bytes": path.stat().st_size, "holdfast": {"seconds": seconds, "MiB": memory}}
        if beside:
            text, _, memory = timed(java(), f"-Xmx{args.heap}", "-XX:+UseSerialGC", "-cp", f"{work}:{lib}/*",
                                    "io.holdfast.flink.MetadataBench", path)
            row["flink"] = {"seconds": int(text) / 1000, "MiB": memory}
            row["ratio"] = round(row["flink"]["seconds"] / seconds, 1)
        path.unlink()
        print(f"parse {row}", flush=True)
        result.append(row)
    return result


def fill(folder, files):
    """A job with one checkpoint that names one in ten of `files` files of its folder; all of them are 30 days old."""
    job = folder / JOB
    (job / "shared").mkdir(parents=True)
    named = []
    for number in range(files):
        path = job / "shared" / str(uuid.UUID(int=number))
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.utime(path, (OLD, OLD))
        if number % 10 == 0:
            named.append((str(path), 0))
    (job / "chk-7").mkdir()
    (job / "chk-7" / "_metadata").write_bytes(metadata(7, shared=named))
    os.utime(job / "chk-7" / "_metadata", (OLD, OLD))
    return job


def planned(*arguments):
    text, seconds, memory = timed(CLI, "gc", "plan", *arguments, "-o", "json")
    return len(re.findall('"reason": ?"UNNAMED"', text)), seconds, memory


def sweep_disk(work, files):
    job = fill(work / "disk", files)
    found, bare, _ = timed("find", job, "-type", "f", "-printf", "%s %T@ %p\n")
    going, seconds, memory = planned("--job-folder", job)
    return row_of("disk", files, found.count("\n"), bare, going, seconds, memory)


def row_of(store, files, listed, bare, going, seconds, memory):
    row = {"store": store, "files": files, "may_go": going, "plan_seconds": seconds, "plan_MiB": memory,
           "bare_listing_seconds": bare, "per_second": round(files / seconds), "of_bare_listing": round(bare / seconds, 2)}
    if listed != files + 1 or going != files - files // 10:
        raise SystemExit(f"the counts are wrong: {row}, {listed} listed")
    print(f"sweep {row}", flush=True)
    return row


def signed(server, query):
    """The header of a GET of the bucket, Signature Version 4."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": f"127.0.0.1:{server.port}", "x-amz-content-sha256": empty, "x-amz-date": now}
    names = ";".join(headers)
    canonical = "\n".join(["GET", f"/{server.bucket}", query, *(f"{k}:{v}" for k, v in headers.items()), "", names, empty])
    scope = f"{now[:8]}/{s3.REGION}/s3/aws4_request"
    key = b"AWS4" + server.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    return {**headers, "Authorization": f"AWS4-HMAC-SHA256 Credential={server.access_key}/{scope}, SignedHeaders={names}, "
                                        f"Signature={signature}"}


def bare_listing(server, prefix):
    """Pages of 1,000 keys, one after the other, on one connection: what any sweep has to wait for."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    keys, token = 0, ""
    while True:
        query = f"{token}list-type=2&max-keys=1000&prefix={prefix.replace('/', '%2F')}"
        connection.request("GET", f"/{server.bucket}?{query}", headers=signed(server, query))
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"the listing failed: {answer.status} {text[:300]}")
        keys += text.count("<Key>")
        more = re.search("<NextContinuationToken>([^<]*)<", text)
        if not more:
            return keys
        token = "continuation-token=" + re.sub(r"[^A-Za-z0-9_.~-]", lambda m: f"%{ord(m[0]):02X}", more[1]) + "&"


def sweep_s3(work, files):
    server = s3.S3(work).start()
    try:
        bucket = server.work / "store" / server.bucket
        job = fill(bucket / "ck", files)
        path = job / "chk-7" / "_metadata"
        # The references are URIs of the bucket.
        path.write_bytes(metadata(7, shared=[(f"s3://{server.bucket}/ck/{JOB}/shared/{uuid.UUID(int=n)}", 0)
                                             for n in range(0, files, 10)]).replace(b"file:s3:", b"s3:"))
        os.utime(path, (OLD, OLD))
        settings = work / "holdfast.yaml"
        settings.write_text("".join(f"{key}: {value}\n" for key, value in server.settings().items()))
        begin = time.monotonic()
        listed = bare_listing(server, f"ck/{JOB}/")
        bare = round(time.monotonic() - begin, 2)
        going, seconds, memory = planned("--job-folder", f"s3://{server.bucket}/ck/{JOB}", "--config", settings)
        return row_of("s3", files, listed, bare, going, seconds, memory)
    finally:
        server.stop()


def counted(plan):
    return {"requests": len(plan.seen), "by_method": dict(sorted(collections.Counter(method for method, _ in plan.seen).items()))}


def touch(folder, files):
    folder.mkdir(parents=True)
    for number in range(files):
        path = folder / str(uuid.UUID(int=number))
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.utime(path, (OLD, OLD))


def discard_by_daemon(work, server, files):
    """A checkpoint that another one has subsumed; its own files go."""
    prefix = f"s3://{server.bucket}/daemon/{JOB}"
    job = server.work / "store" / server.bucket / "daemon" / JOB
    touch(job / "shared", files)
    for number, private in ((6, files), (7, 0)):
        (job / f"chk-{number}").mkdir()
        (job / f"chk-{number}" / "_metadata").write_bytes(metadata(
            number, private=[(f"{prefix}/shared/{uuid.UUID(int=n)}", 0) for n in range(private)]).replace(b"file:s3:", b"s3:"))
    plan = Counting()
    proxy = FaultProxy(server.port, plan)
    settings = {key.replace("-", "__").replace(".", "_"): value for key, value in server.settings().items()}
    settings.update(s3_endpoint=proxy.url, gc_discard__grace="0", gc_interval="1h", gc_rate="0")
    try:
        with Daemon(**settings) as daemon:
            manager = JobManager(daemon).wait_granted()
            manager.call("PUT", f"/graphs/{JOB}", b"graph", {"Content-Type": "application/octet-stream"})
            for number in (6, 7):
                begun = int(OLD * 1000) + number
                code, answer, _ = manager.commit(JOB, number, pointer=f"{prefix}/chk-{number}", started_ms=begun, completed_ms=begun + 1)
                assert code == 200, answer
            begin = time.monotonic()
            wait_until(lambda: daemon.call("GET", "/v1/gc")[1]["totals"]["discards_finished"] >= 1, 300, "the discard to be finished", poll=0.02)
            seconds = time.monotonic() - begin
    finally:
        proxy.stop()
    left = len(list((job / "shared").glob("*")))
    assert left == 0, f"{left} files are left"
    return {"seconds_from_commit": round(seconds, 2), **counted(plan)}


def discard_by_flink(work, server, files, version):
    lib = maven.flink_lib(version)
    subprocess.run(["javac", "--release", "11", "-nowarn", "-cp", f"{lib}/*", "-d", work,
                    ROOT / "tests/bench/java/io/holdfast/flink/DiscardBench.java"], check=True)
    plugins = work / "plugins" / "s3"
    plugins.mkdir(parents=True)
    (plugins / "flink-s3-fs.jar").symlink_to(maven.s3_plugin(version))
    folder = server.work / "store" / server.bucket / "flink"
    touch(folder, files)
    plan = Counting()
    proxy = FaultProxy(server.port, plan)
    settings = {**server.flink_settings(), "s3.endpoint": proxy.url}
    try:
        done = subprocess.run([java(), "-Xmx512m", "-cp", f"{work}:{lib}/*", "io.holdfast.flink.DiscardBench",
                               f"s3://{server.bucket}/flink", str(files), *(f"{key}={value}" for key, value in settings.items())],
                              env={**os.environ, "FLINK_PLUGINS_DIR": str(work / "plugins")}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    finally:
        proxy.stop()
    left = len(list(folder.glob("*")))
    assert left == 0, f"{left} files are left"
    return {"seconds": int(done.stdout.splitlines()[-1]) / 1000, **counted(plan)}


def discard(work, args):
    server = s3.S3(work / "discard").start()
    try:
        row = {"files": args.discards, "holdfast": discard_by_daemon(work, server, args.discards),
               "flink": discard_by_flink(work, server, args.discards, maven.flink_version(args.flink))}
    finally:
        server.stop()
    print(f"discard {row}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(prog="gc", description=__doc__.splitlines()[0])
    parser.add_argument("--flink", default="2.3", metavar="VERSION", help="whose reader is the peer; default 2.3")
    parser.add_argument("--parse-mb", type=int, default=1000, help="the large _metadata; default 1000")
    parser.add_argument("--beside-mb", type=int, default=100, help="the one that Flink reads too; default 100")
    parser.add_argument("--heap", default="3g", help="of Flink's reader; default 3g")
    parser.add_argument("--files", type=int, default=1_000_000, help="on the disk; default 1000000")
    parser.add_argument("--objects", type=int, default=100_000, help="on S3; default 100000")
    parser.add_argument("--discards", type=int, default=2000, help="files of the checkpoint that is discarded; default 2000")
    parser.add_argument("--only", choices=("parse", "sweep", "discard"), help="default: all three")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-gc-") as work:
        work = Path(work)
        parts = {"parse": lambda: parse(work, args), "discard": lambda: discard(work, args),
                 "sweep": lambda: [sweep_disk(work, args.files), sweep_s3(work, args.objects)]}
        result = {name: part() for name, part in parts.items() if args.only in (None, name)}
    if args.json:
        write_json(args.json, result)


if __name__ == "__main__":
    main_guard("gc", main)
