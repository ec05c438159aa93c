#!/usr/bin/env python3
"""The story that orphaned HA metadata tells, with a real Flink and a real API server.

  1. A cluster runs a job. Somebody deletes its Deployment by hand: its processes are gone, its HA ConfigMaps are not.
  2. The same name is started again, and the job is submitted once more: the dead one comes back beside it, and both run.
  3. That cluster is deleted in the same way. `holdfast orphans` tells apart what lives from what is left over, says what
     the next start would do, and removes it after it has made an archive.
     Before that, an API server that asks holdfastd's webhook refuses to start that name at all.
  4. The same name is started again: nothing comes back.
  5. `holdfast orphans undo` brings back every object as it was, and the next start revives the jobs.

Nobody runs pods here: what a kubelet would do with a Deployment, the test does with processes of this machine.
"""
import argparse
import base64
import contextlib
import json
import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import flink, kube, maven  # noqa: E402
from lib.failover import wait_checkpoints  # noqa: E402
from lib.failure import Failure, wait_until  # noqa: E402
from lib.gc import holdfast  # noqa: E402
from lib.kubernetes_ha import KubernetesHa  # noqa: E402
from lib.rig import Rig, main_guard, write_json  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rpc"))
from harness import Daemon  # noqa: E402

CLUSTER = "flink"
NAME = "orders"
LEASE_S = 4
#: Between two looks of `holdfast orphans` here; a person's default is minutes.
MIN_AGE = "2s"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{kube.NAMESPACE}/deployments"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
OPTIONS = {"execution.checkpointing.interval": "500 ms",
           "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION"}


class Webhook(Daemon):
    """A holdfastd that looks at the API server's clusters, and refuses those that would revive jobs."""

    def __init__(self, server):
        certificate, key = server.authority.sign("webhook", "/CN=holdfast", "IP:127.0.0.1,DNS:localhost")
        access = server.kubeconfig("watcher", {"token": server.tokens["admin"]})
        super().__init__(listen_tls_certificate__file=certificate, listen_tls_key__file=key, orphans_kubernetes="true",
                         orphans_kubernetes_kubeconfig=access, orphans_interval="1s", orphans_min__age=MIN_AGE,
                         admission_policy="refuse")
        self.tls = ssl.create_default_context(cafile=str(server.authority.certificate))
        self.authority = server.authority.certificate

    def register(self, api):
        bundle = base64.b64encode(Path(self.authority).read_bytes()).decode()
        api.call("POST", HOOKS, {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "holdfast"},
            "webhooks": [{"name": "orphans.holdfast.io", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
                          "clientConfig": {"url": f"https://127.0.0.1:{self.port}/admission", "caBundle": bundle},
                          "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                                     "resources": ["deployments"]}]}]})


class Story:
    def __init__(self, rig, result):
        self.rig = rig
        self.flink = rig.flink
        self.server = rig.ha.server
        self.api = self.server.api()
        self.result = result
        self.job = None
        self.archive = None

    # -- the world: what a Deployment's controller and a kubelet would do

    def create(self):
        labels = {"app": CLUSTER, "type": "flink-native-kubernetes", "component": "jobmanager"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "flink-main-container", "image": "flink"}]}}
        return self.api.call("POST", DEPLOYMENTS, {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": CLUSTER, "labels": labels},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}})

    def deploy(self):
        made = self.create()
        self.flink.start_jobmanager()
        self.flink.start_taskmanager()
        leader = self.flink.wait_leader()
        self.flink.wait_slots(1)
        return made["metadata"]["uid"], leader

    def submit(self):
        job = self.flink.submit(maven.job_jar(), "--name", NAME)
        self.flink.wait_running(job)
        return job

    def delete_by_hand(self):
        """kubectl delete deployment: its pods are killed, and nobody tidies up."""
        self.api.call("DELETE", f"{DEPLOYMENTS}/{CLUSTER}")
        for process in [*self.flink.jobmanagers, *self.flink.taskmanagers]:
            if process.alive():
                process.kill()

    def config_maps(self):
        """{name: (data, labels, annotations that Flink needs)} of Flink's HA metadata."""
        found = self.api.call("GET", f"/api/v1/namespaces/{kube.NAMESPACE}/configmaps")["items"]
        return {item["metadata"]["name"]: item for item in found if item["metadata"]["name"].startswith(CLUSTER)}

    def running(self):
        """{id: name} of the jobs that run."""
        return {job["jid"]: job["name"] for job in (self.flink.get("/jobs/overview") or {}).get("jobs", [])
                if job["state"] == "RUNNING"}

    # -- Holdfast

    def orphans(self, verb, *arguments):
        access = self.server.kubeconfig("person", {"token": self.server.tokens["admin"]})
        return holdfast("orphans", verb, *arguments, "--kubeconfig", access, "-n", kube.NAMESPACE, "--min-age", MIN_AGE,
                        "--state-dir", self.rig.work / "state")

    def verdict(self, *more):
        return json.loads(self.orphans("explain", CLUSTER, "-o", "json", *more))

    def expect(self, what, *more):
        """The verdict comes with time: a lease has to run out and another minute by which clocks may differ; then two looks."""
        seen = []

        def look():
            found = self.verdict(*more)
            seen.append(f"{found['verdict']} {[reason['text'] for reason in found['reasons']]}")
            return found["verdict"] == what
        wait_until(look, 180, lambda: f"the verdict {what}, is {seen[-1]}", poll=1)
        self.result["verdicts"].append(what)
        self.rig.say(f"holdfast orphans: {what}")
        return self.verdict(*more)

    # -- the chapters

    def a_cluster_is_deleted_by_hand(self):
        uid, leader = self.deploy()
        self.job = self.submit()
        wait_checkpoints(leader, 2)
        self.expect("live")
        self.delete_by_hand()
        self.rig.say(f"the Deployment {uid} is deleted; job {self.job} should be gone; {len(self.config_maps())} ConfigMaps stay")
        if not self.config_maps():
            raise Failure("Flink left no ConfigMaps: the story does not begin")

    def the_job_runs_twice(self):
        _, leader = self.deploy()
        copy = self.submit()

        def both():
            running = self.running()
            return running if {self.job, copy} <= running.keys() else None
        running = wait_until(both, flink.JOB_TIMEOUT, "the old job to come back beside its copy", poll=0.5)
        mark = leader.lines.mark()
        for job in (self.job, copy):
            leader.lines.wait_for(rf"Completed checkpoint \d+ for job {job}", flink.JOB_TIMEOUT, f"a checkpoint of {job}", mark, leader)
        self.result["running_twice"] = sorted(running.values())
        self.rig.say(f"started again under the same name: {len(running)} jobs run, both called {NAME}: {sorted(running)}")
        self.delete_by_hand()
        return copy

    def it_is_explained_and_removed(self, copy):
        found = self.expect("leftover-would-revive")
        revived = {job["id"] for job in found["jobs"] if job["next_start"] == "revived"}
        if revived != {self.job, copy}:
            raise Failure(f"the next start would revive {revived}, it says; it is {self.job} and {copy}")
        for job in found["jobs"]:
            self.rig.say(job["text"])
        self.result["explained"] = [job["text"] for job in found["jobs"]]
        listed = json.loads(self.orphans("list", "-o", "json"))["clusters"]
        if [cluster["cluster"] for cluster in listed] != [CLUSTER]:
            raise Failure(f"orphans list has {listed}")
        before = self.config_maps()
        dry = self.orphans("clean", CLUSTER, "--dry-run")
        if self.config_maps() != before or "plan" not in dry:
            raise Failure("a dry run changed something, or has no plan")
        done = json.loads(self.orphans("clean", CLUSTER, "--yes", "-o", "json"))
        self.archive = done["archive"]
        left = self.config_maps()
        if left:
            raise Failure(f"{sorted(left)} are still there after the clean-up")
        self.result["cleaned"] = {"objects": done["objects"], "files": done["files"]}
        self.rig.say(f"removed: {done['objects']} object(s) and {done['files']} file(s), archive {self.archive}")
        return before

    def the_webhook_refuses_it(self):
        with Webhook(self.server) as webhook:
            def seen():
                clusters = webhook.call("GET", "/v1/orphans")[1]["clusters"]
                return any(cluster["cluster"] == CLUSTER and cluster["orphan"] for cluster in clusters)
            wait_until(seen, 180, "holdfastd to see that the cluster is left over", poll=0.5)
            webhook.register(self.api)

            def refused():
                # An API server takes a moment to learn of a new webhook; a Deployment that slips through is taken back.
                try:
                    self.create()
                except kube.Refused as answer:
                    return answer
                self.api.call("DELETE", f"{DEPLOYMENTS}/{CLUSTER}")
                return None
            text = str(wait_until(refused, 60, "the API server to refuse the Deployment", poll=0.5))
            if "would be revived" not in text or f"holdfast orphans explain {kube.NAMESPACE}/{CLUSTER}" not in text:
                raise Failure(f"the refusal does not say why: {text}")
            self.result["refused"] = text
            self.rig.say(f"the webhook: {text}")
            self.api.call("DELETE", f"{HOOKS}/holdfast")

            def let():
                with contextlib.suppress(kube.Refused):
                    return self.create()
                return None
            wait_until(let, 60, "the API server to forget the webhook", poll=0.5)
            self.api.call("DELETE", f"{DEPLOYMENTS}/{CLUSTER}")

    def nothing_comes_back(self):
        self.deploy()
        jobs = (self.flink.get("/jobs/overview") or {}).get("jobs")
        if jobs != []:
            raise Failure(f"after the clean-up the next start has jobs: {jobs}")
        self.result["revived_after_clean"] = 0
        self.rig.say("started again under the same name: no job comes back")
        self.delete_by_hand()
        for name in self.config_maps():
            self.api.call("DELETE", f"/api/v1/namespaces/{kube.NAMESPACE}/configmaps/{name}")

    def undo_brings_it_back(self, before, copy):
        self.orphans("undo", self.archive, "--yes")
        after = self.config_maps()
        for name, item in before.items():
            back = after.get(name)
            if back is None or any(back.get(key) != item.get(key) for key in ("data", "binaryData")) \
                    or back["metadata"].get("labels") != item["metadata"].get("labels"):
                raise Failure(f"undo did not bring back {name} as it was")
        self.deploy()
        wait_until(lambda: {self.job, copy} <= self.running().keys(), flink.JOB_TIMEOUT, "what was undone to be revived", poll=0.5)
        self.result["revived_after_undo"] = 2
        self.rig.say("undone: every object is back as it was, and the next start revives both jobs")

    def tell(self):
        self.a_cluster_is_deleted_by_hand()
        copy = self.the_job_runs_twice()
        self.the_webhook_refuses_it()
        before = self.it_is_explained_and_removed(copy)
        self.nothing_comes_back()
        self.undo_brings_it_back(before, copy)


def main():
    parser = argparse.ArgumentParser(prog="orphan_story", description=__doc__.splitlines()[0])
    parser.add_argument("--flink", default="1.20", metavar="VERSION", help="Flink line or full version; default 1.20")
    parser.add_argument("--json", metavar="FILE", help="write what happened to FILE")
    parser.add_argument("--work", metavar="DIR", help="work in DIR and keep it; default: a temporary folder")
    args = parser.parse_args()
    version = maven.flink_version(args.flink)
    result = {"flink_version": version, "verdicts": [], "ok": False}
    try:
        with Rig("orphans", args.flink, KubernetesHa, args.work, OPTIONS, {"version": version, "lease_s": LEASE_S}, slots=4) as rig:
            Story(rig, result).tell()
        result["ok"] = True
    except (Failure, KeyboardInterrupt) as failure:
        result["error"] = str(failure) or "stopped"
        raise
    finally:
        if args.json:
            write_json(args.json, result)
    print(f"orphan_story: Flink {version}: a deleted cluster ran its job twice, was refused, explained, removed, and brought back")
    return 0


if __name__ == "__main__":
    main_guard("orphan_story", main)
