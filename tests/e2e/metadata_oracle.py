#!/usr/bin/env python3
"""Holds `holdfast metadata show` against Flink's own reader, on checkpoints that real jobs have just written.

For each Flink line and each way to keep state a job runs on a real cluster and makes checkpoints; each `_metadata` is then
read by Flink (Checkpoints.loadCheckpointMetadata, every handle that can be reached) and by ours. The lists of files, with
size and owner, must be the same.
"""
import argparse
import collections
import concurrent.futures
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import checkpoints, maven  # noqa: E402
from lib.failover import wait_checkpoints  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.flink import JOB_TIMEOUT, java  # noqa: E402
from lib.paths import BUILD  # noqa: E402
from lib.rig import Rig, main_guard, write_json  # noqa: E402

_ROCKSDB = {"state.backend.type": "rocksdb", "execution.checkpointing.incremental": "true"}
#: Name -> settings, arguments of the job.
MODES = {
    "heap": ({}, ["--state-bytes", 2_000_000]),
    "rocksdb": (_ROCKSDB, ["--state-bytes", 2_000_000, "--keys", 2000, "--rate", 1000]),
    "filemerging": ({**_ROCKSDB, "execution.checkpointing.file-merging.enabled": "true"},
                    ["--state-bytes", 2_000_000, "--keys", 2000, "--rate", 1000]),
    # As many numbers as there can be: buffers are under way at every checkpoint.
    "unaligned": ({"execution.checkpointing.unaligned.enabled": "true",
                   "execution.checkpointing.aligned-checkpoint-timeout": "0 ms"},
                  ["--state-bytes", 3_000_000, "--keys", 50, "--rate", 100_000_000]),
    "changelog": ({**_ROCKSDB, "state.changelog.enabled": "true", "state.changelog.storage": "filesystem",
                   "state.changelog.periodic-materialize.interval": "1 s",
                   "state.changelog.dstl.dfs.base-path": "file:{work}/changelog"},
                  ["--state-bytes", 500_000, "--keys", 500, "--rate", 1000]),
}


def arguments():
    parser = argparse.ArgumentParser(prog="metadata_oracle", description=__doc__.splitlines()[0])
    parser.add_argument("--flink", action="append", metavar="VERSION", help="a line; default 1.20, 2.1 and 2.3")
    parser.add_argument("--mode", action="append", choices=sorted(MODES), help="default: all of them")
    parser.add_argument("--checkpoints", type=int, default=15, help="of each line and mode, at least; default 15")
    parser.add_argument("--json", metavar="FILE", help="write the counts to FILE")
    return parser.parse_args()


def ours(folder):
    """{(owner, kind, size, path)} as our reader has it; paths beside `_metadata` in full."""
    done = subprocess.run([BUILD / "cli" / "holdfast", "metadata", "show", "-o", "json", folder], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"ours cannot read {folder}: {done.stderr.strip()}")
    found = set()
    for operator in json.loads(done.stdout)["operators"]:
        for handle in operator["state"]:
            if handle["kind"] == "inline":
                continue
            path = handle["path"]
            if handle["kind"] == "relative":
                path = f"file:{folder}/{path}"
            found.add((handle["owner"], "segment" if handle["kind"] == "segment" else "file", handle["size"],
                       path.replace("file:///", "file:/")))
    return found


def theirs(side, version):
    """{name of the checkpoint: the same set} as Flink has it."""
    done = subprocess.run([java(), "-Xmx256m", "-cp", f"{maven.job_jar()}:{maven.flink_lib(version)}/*",
                           "io.holdfast.testjob.MetadataOracle", side, "--roles"], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise Failure(f"Flink's reader failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
    result = collections.defaultdict(set)
    for line in done.stdout.splitlines():
        name, _, text = line.partition("\t")
        if text.startswith("!"):
            raise Failure(f"Flink cannot read {name} in {side}: {text}")
        result[name] |= set()
        if text:
            owner, kind, size, path = text.split(" ", 3)
            result[name].add((owner, kind, int(size), path.replace("file:///", "file:/")))
    return result


def write_checkpoints(version, mode, count, options, work):
    settings = {"execution.checkpointing.interval": "200 ms", "execution.checkpointing.num-retained": "3",
                **{key: value.replace("{work}", str(work)) for key, value in options[0].items()}}
    with Rig("metadata-oracle", version, "holdfast", work / "rig", settings, managed="128m", quiet=True) as rig:
        cluster = rig.flink
        cluster.start_jobmanager()
        cluster.start_taskmanager()
        leader = cluster.wait_leader()
        cluster.wait_slots(1)
        job = cluster.submit(maven.job_jar(), "--name", mode, *options[1])
        watcher = checkpoints.MetadataWatcher(cluster.checkpoint_folder(job), work / "metadata").start()
        cluster.wait_running(job)
        wait_checkpoints(leader, count)
        wait_until(lambda: len(watcher.inodes) >= count, JOB_TIMEOUT, f"{count} _metadata to be caught")
        watcher.stop()
    return len(watcher.inodes)


def compare(version, mode, count, rig_work):
    """How many checkpoints were the same, and what was in them."""
    work = Path(rig_work) / f"{version}-{mode}"
    work.mkdir(parents=True)
    write_checkpoints(version, mode, count, MODES[mode], work)
    flink = theirs(work / "metadata", version)
    kinds = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        mine = dict(zip(flink, pool.map(lambda name: ours(work / "metadata" / name), flink)))
    for name, files in flink.items():
        if mine[name] != files:
            only_ours, only_theirs = sorted(mine[name] - files)[:3], sorted(files - mine[name])[:3]
            raise Failure(f"Flink {version}, {mode}, {name}: only ours {only_ours}, only Flink's {only_theirs}")
        kinds.update(f"{owner} {kind}" for owner, kind, _, _ in files)
    if len(flink) < count:
        raise Failure(f"Flink {version}, {mode}: only {len(flink)} of {count} checkpoints were caught")
    return {"checkpoints": len(flink), "references": dict(sorted(kinds.items()))}


def main():
    import tempfile
    args = arguments()
    result = {"checkpoints": 0, "compared": {}}
    with tempfile.TemporaryDirectory(prefix="holdfast-oracle-") as work:
        for line in args.flink or ["1.20", "2.1", "2.3"]:
            version = maven.flink_version(line)
            for mode in args.mode or MODES:
                counts = compare(version, mode, args.checkpoints, work)
                result["compared"][f"{version} {mode}"] = counts
                result["checkpoints"] += counts["checkpoints"]
                print(f"  Flink {version}, {mode}: {counts['checkpoints']} the same, {counts['references']}", flush=True)
    if args.json:
        write_json(args.json, result)
    print(f"metadata_oracle: {result['checkpoints']} checkpoints read as Flink reads them")
    return 0


if __name__ == "__main__":
    main_guard("metadata_oracle", main)
