#!/usr/bin/env python3
"""The status page beside two real Flink clusters on a real S3 server: what it shows is what Flink says, before and after a failover.

    real_flink.py [--flink VERSION] [--screenshots DIR] [--json FILE]

The first cluster runs the given Flink, the second one Flink 2.3. The leading JobManager of the first one is killed under the
open page, which must show the standby and newer checkpoints without being loaded again.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink, maven  # noqa: E402
from lib.failover import wait_checkpoints  # noqa: E402
from lib.failure import require, wait_until  # noqa: E402
from lib.holdfastd import Holdfastd  # noqa: E402
from lib.rig import Parser, Rig, main_guard, reported  # noqa: E402
from lib.webdriver import Browser  # noqa: E402

OPTIONS = {"execution.checkpointing.interval": "1 s", "state.checkpoints.num-retained": "5",
           "execution.checkpointing.num-retained": "5"}
BEFORE = 20  # checkpoints of each job before the failover
BOUND_S = 180


class Observing(Holdfastd):
    """A daemon that looks at the clusters on it by REST as well."""

    def __init__(self, work, flink_options=None, place=None):
        super().__init__(work, flink_options, place)
        own = place.settings
        place.settings = lambda: {**own(), "observe.known": "true", "replica.name": "holdfast-0", "alerts.checkpoint-age": "1min"}


def arguments():
    parser = Parser("real_flink", __doc__, "what was compared")
    parser.add_argument("--screenshots", metavar="DIR", help="write pictures of the page to DIR")
    return parser.parse_args()


def clusters(rig):
    """Name: a running cluster, its leader and its job."""
    second = flink.Flink(rig.work / "second", maven.flink_version("2.3"), rig.ha, {**OPTIONS, "high-availability.cluster-id": "clicks"},
                         place=rig.place)
    rig.on_exit.append(second.stop)
    found = {}
    for name, cluster in (("orders", rig.flink), ("clicks", second)):
        cluster.cluster_id = name
        rig.say(f"starting Flink {cluster.version} as {name}")
        leader = cluster.start()
        job = cluster.submit(maven.job_jar(), "--name", name, "--state-bytes", "3000000")
        cluster.wait_running(job)
        found[name] = (cluster, leader, job)
    return found


def newest(cluster, job):
    """The id of the newest completed checkpoint, as Flink's REST interface tells it."""
    latest = cluster.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]
    return latest["id"] if latest else 0


def ids_shown(browser):
    """The ids in the list of retained checkpoints."""
    return browser.run("return [...document.querySelectorAll('main td')].map(e => e.innerText).filter(t => /^[0-9]+$/.test(t)).map(Number)")


def compare(rig, browser, name, cluster, job):
    """The open page of the job comes to show what Flink has completed."""
    wanted = newest(cluster, job)
    wait_until(lambda: max(ids_shown(browser), default=0) >= wanted, BOUND_S,
               lambda: f"checkpoint {wanted} of {name} on the page, which has {ids_shown(browser)}")
    rig.say(f"{name}: the page has checkpoint {max(ids_shown(browser))}, Flink had {wanted} when it was asked")
    return wanted


def run(args, result):
    with Rig("page", args.flink, Observing, args.work, {**OPTIONS, "high-availability.cluster-id": "orders"}, store="s3") as rig:
        found = clusters(rig)
        folder = Path(args.screenshots).resolve() if args.screenshots else rig.work / "screenshots"
        folder.mkdir(parents=True, exist_ok=True)
        for _, leader, _ in found.values():
            wait_checkpoints(leader, BEFORE)
        paths = {name: rig.ha.cluster_path(name).removeprefix("/v1/clusters/") for name in found}
        with Browser(rig.work) as browser:
            browser.screen(1280, 890, dark=False)
            browser.open(f"{rig.ha.url}/")
            for name, (cluster, _, _) in found.items():
                browser.wait_text(paths[name], "main")
                browser.wait_text(cluster.version, "main")
            cluster, leader, job = found["orders"]
            browser.open(f"{rig.ha.url}/#/clusters/{paths['orders']}/{job}")
            result["before"] = compare(rig, browser, "orders", cluster, job)
            browser.run("window.stayed = true")
            rig.say("killing the leading JobManager of orders")
            leader.kill()
            cluster.wait_leader()
            cluster.wait_running(job)
            wait_checkpoints(cluster.leader(), BEFORE)
            result["after"] = compare(rig, browser, "orders", cluster, job)
            require(result["after"] > result["before"], f"no newer checkpoint after the failover: {result}")
            require(browser.run("return window.stayed === true"), "the page was loaded anew")
            pictures(rig, browser, folder, paths, {name: job for name, (_, _, job) in found.items()})
            worst = [entry for entry in browser.console() if entry["level"] == "SEVERE"]
            require(not worst, f"the console: {worst[:2]}")
        for name, (cluster, _, job) in found.items():
            cluster.cancel(job)
            errors = cluster.task_errors()
            require(not errors, f"{name} lost state: {errors[:1]}")


def pictures(rig, browser, folder, paths, jobs):
    for name, place, size, phone, dark in (
            ("flink-overview", "", (1280, 890), False, False),
            ("flink-job", f"clusters/{paths['orders']}/{jobs['orders']}", (1280, 860), False, False),
            ("flink-job-dark", f"clusters/{paths['orders']}/{jobs['orders']}", (1280, 860), False, True),
            ("flink-observed", f"observed/{paths['clicks']}/{jobs['clicks']}", (1280, 890), False, False),
            ("flink-phone", "", (390, 844), True, False)):
        browser.screen(*size, phone=phone, dark=dark)
        browser.open("about:blank")
        browser.open(f"{rig.ha.url}/#/{place}")
        browser.wait(name, "return document.querySelector('main h1') !== null")
        browser.screenshot(folder / f"{name}.png")
        require((folder / f"{name}.png").stat().st_size > 10_000, f"{name}.png has nothing on it")
    rig.say(f"pictures: {folder}")


def main():
    args = arguments()
    result = {"flink_versions": [maven.flink_version(args.flink), maven.flink_version("2.3")]}
    with reported(args.json, result):
        run(args, result)
    print("status page: everything held")
    return 0


if __name__ == "__main__":
    main_guard("real_flink", main)
