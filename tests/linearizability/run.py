#!/usr/bin/env python3
"""Linearizability of real holdfastd: concurrent clients, faults, and porcupine to judge what they were answered.

Brings what the recorder needs (a small disk or an S3 server, a ZooKeeper ensemble) and runs it. README.md tells the rest.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import fault_proxy, golang, s3, zookeeper  # noqa: E402
from lib.failure import Failure  # noqa: E402
from lib.paths import BUILD, CACHE, cache_lock  # noqa: E402
from lib.rig import main_guard, write_json  # noqa: E402

HERE = Path(__file__).resolve().parent
DISK_BYTES = 96 << 20
SESSION_MS = 2000


def arguments():
    parser = argparse.ArgumentParser(prog="linearizability", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="that the clients work; default 1")
    parser.add_argument("--replicas", type=int, default=1, help="more than one: with an election on ZooKeeper; default 1")
    parser.add_argument("--store", choices=("file", "s3"), default="file")
    parser.add_argument("--clusters", type=int, default=4, help="Flink clusters at a time; default 4")
    parser.add_argument("--faults", type=float, default=0.03, help="share of the requests that the proxy harms; default 0.03")
    parser.add_argument("--harm", type=float, default=0, help="with s3: share of the store's requests that a proxy harms; default 0")
    parser.add_argument("--seed", type=int, help="default: a new one, printed")
    parser.add_argument("--calm", action="store_true", help="no faults at all")
    parser.add_argument("--replay", metavar="FILE", help="check a history that an earlier run dumped, and nothing else")
    parser.add_argument("--self-test", action="store_true", help="check that planted errors are found, and nothing else")
    parser.add_argument("--json", metavar="FILE", help="write the counts to FILE")
    parser.add_argument("--work", metavar="DIR", help="work in DIR and keep it; default: a temporary folder, kept on failure")
    return parser.parse_args()


def recorder():
    """The program, built from this folder into the cache of builds. Go keeps what is unchanged."""
    go, environment = golang.go()
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / "linearizability"
    with cache_lock(target.name):
        done = subprocess.run([go, "build", "-o", target, "."], cwd=HERE, env={**os.environ, **environment}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise Failure(f"the recorder cannot be built: {done.stdout.strip()}")
    return target


def own_disk(folder):
    """What runs a command with a small disk at folder, in a mount namespace that ends with it; [] when that is not allowed."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
               f'mount -t tmpfs -o size={DISK_BYTES} holdfast-test "{folder}" && mkdir "{folder}/store" && exec "$0" "$@"']
    tried = subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)
    return command if tried.returncode == 0 else []


def start_election(work, args, command, servers):
    ensemble = zookeeper.Ensemble(work, tick_ms=SESSION_MS // 4).start()
    servers.append(ensemble)
    command += ["-zookeeper", ensemble.quorum]
    return [f"election.zookeeper.session-timeout: {SESSION_MS}ms"], [member.process.pid for member in ensemble.members]


def start_s3(work, args, command, servers, plans):
    server = s3.S3(work).start()
    servers.append(server)
    command += ["-store", f"s3://{server.bucket}/store"]
    quick = {"s3.timeout": "1s", "s3.retry-time": "2s"}
    if args.harm:
        plans.append(fault_proxy.Plan(fault_proxy.S3Dialect, args.seed, args.harm))
        proxy = fault_proxy.FaultProxy(server.port, plans[0])
        servers.append(proxy)
        quick["s3.endpoint"] = proxy.url
        command += ["-store-fails"]
        plans[0].on = True
    return [f"{key}: {value}" for key, value in {**server.settings(), **quick}.items()], [server.process.pid]


def run(args, work, servers):
    command = [recorder(), "-minutes", args.minutes, "-replicas", args.replicas, "-clusters", args.clusters, "-faults", args.faults,
               "-work", work, "-json", work / "counts.json"]
    binary = BUILD / "daemon" / "holdfastd"
    if not binary.exists():
        raise Failure(f"{binary} is not built: run cmake --build {BUILD}")
    command += ["-daemon", shutil.copy(binary, work / "holdfastd")]  # somebody may build while a long run runs
    if args.seed is not None:
        command += ["-seed", args.seed]
    if args.calm:
        command += ["-calm"]
    settings, pids, around, plans = [], [], [], []
    if args.store == "s3":
        settings, pids = start_s3(work, args, command, servers, plans)
    else:
        disk = work / "disk"
        disk.mkdir()
        around = own_disk(disk)
        if around:
            command += ["-disk", disk]
        else:
            print("no disk of its own can be mounted here: it will not be filled", flush=True)
            (disk / "store").mkdir()
        command += ["-store", (disk / "store").as_uri()]
    if args.replicas > 1:
        more_settings, more_pids = start_election(work, args, command, servers)
        settings, pids = settings + more_settings, pids + more_pids
    if settings:
        command += ["-settings", ";".join(settings)]
    if pids:
        command += ["-servers", ",".join(map(str, pids))]
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *around, *map(str, command)], stdin=subprocess.DEVNULL,
                             start_new_session=True, env={**os.environ, "NO_PROXY": "127.0.0.1"})
    try:
        code = child.wait()
    except BaseException:
        child.terminate()
        child.wait()
        raise
    if args.json and (work / "counts.json").exists():
        result = json.loads((work / "counts.json").read_text("utf-8"))
        harm = {"store_requests": plans[0].requests, "store_harm": dict(sorted(plans[0].counts.items()))} if plans else {}
        write_json(args.json, {"store": args.store, "minutes": args.minutes, **harm, **result})
    if code:
        raise Failure(f"logs and histories are in {work}")


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if args.replay or args.self_test:
        return subprocess.run([recorder(), *(["-replay", args.replay] if args.replay else ["-self-test"])], check=False).returncode
    work = Path(args.work or tempfile.mkdtemp(prefix="holdfast-linearizability-")).absolute()
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        raise Failure(f"the working folder {work} is not empty")
    servers = []
    try:
        run(args, work, servers)
    finally:
        for server in reversed(servers):
            server.stop()
    if not args.work:
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    main_guard("linearizability", main)
