"""What garbage collection costs.

  parse   a large `_metadata`: ours beside Flink's own reader, and ours alone on 1 GB: time and memory
  sweep   a plan for a job's folder of a million files on a disk, beside `find`, and of many objects on S3, beside the bare
          listing of the same prefix: files a second and memory

Wall times are those of this machine at this moment: read the ratios and the memory.
"""
import argparse
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
from lib.flink import java  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402
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


def main():
    parser = argparse.ArgumentParser(prog="gc", description=__doc__.splitlines()[0])
    parser.add_argument("--flink", default="2.3", metavar="VERSION", help="whose reader is the peer; default 2.3")
    parser.add_argument("--parse-mb", type=int, default=1000, help="the large _metadata; default 1000")
    parser.add_argument("--beside-mb", type=int, default=100, help="the one that Flink reads too; default 100")
    parser.add_argument("--heap", default="3g", help="of Flink's reader; default 3g")
    parser.add_argument("--files", type=int, default=1_000_000, help="on the disk; default 1000000")
    parser.add_argument("--objects", type=int, default=100_000, help="on S3; default 100000")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-gc-") as work:
        work = Path(work)
        result = {"parse": parse(work, args), "sweep": [sweep_disk(work, args.files), sweep_s3(work, args.objects)]}
    if args.json:
        write_json(args.json, result)


if __name__ == "__main__":
    main_guard("gc", main)
