"""The contract of the election by a Lease of Kubernetes, on a real API server. Run by election.py --election kubernetes."""
import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import yaml

from candidates import Field, now_ms
from lib import kube
from lib.failure import wait_until
from lib.paths import BUILD, ROOT

LEASE_MS = 5000
RENEW_MS = 3500
RETRY_MS = 500
SLACK_MS = 2500  # what may come later on a busy machine
EARLY_MS = 600  # what may come earlier by the rounding of times
LONG_MS = 18000
FAR_MS = 7 * 3600 * 1000

world = argparse.Namespace(build=BUILD, kube=None, work=None, is_part=False)


def setUpModule():
    if world.kube:
        return
    world.temporary = tempfile.TemporaryDirectory(prefix="holdfast-election-")
    world.work = Path(world.temporary.name)
    world.kube = kube.Kube(world.work).start()


def tearDownModule():
    if world.is_part:
        return
    world.kube.stop()
    world.temporary.cleanup()


class KubernetesTest(unittest.TestCase):
    times = (LEASE_MS, RENEW_MS, RETRY_MS)

    def setUp(self):
        self.scope = self.id().rsplit(".", 1)[-1].replace("_", "-")
        self.env = {"HF_TEST_ELECTION": "kubernetes", "HF_TEST_KUBERNETES_CONFIG": str(world.kube.kubeconfig()),
                    **self.timing(*self.times)}
        self.field = Field(world.build / "tests" / "contract" / "candidate", "kubernetes", self.scope, self.env, world.work)
        self.admin = world.kube.api()
        self.addCleanup(self.field.end)

    def long(self):
        """Where nobody must lose its lease on a busy machine, or what is shorter than a lease has to be told from one."""
        return self.timing(LONG_MS, LONG_MS * 2 // 3, 1000)

    @staticmethod
    def timing(lease_ms, renew_ms, retry_ms):
        return {"HF_TEST_KUBERNETES_LEASE_MS": str(lease_ms), "HF_TEST_KUBERNETES_RENEW_MS": str(renew_ms),
                "HF_TEST_KUBERNETES_RETRY_MS": str(retry_ms)}

    def proxy(self):
        proxy = kube.Proxy(world.kube)
        self.addCleanup(proxy.close)
        return proxy

    def behind(self, proxy, name="behind", **more):
        """Settings of a candidate that reaches the API server through a proxy."""
        return {"HF_TEST_KUBERNETES_CONFIG": str(world.kube.kubeconfig(f"{self.scope}-{name}", server=proxy.url, **more))}

    def log(self):
        return (world.work / f"{self.scope}.log").read_text("utf-8", "replace")

    def wait_renewed(self, candidate, by_ms=0):
        until = candidate.valid_until()
        wait_until(lambda: candidate.valid_until() > until + by_ms, 60, "the lease to be renewed", poll=0.01)

    def assert_lost_in_time(self, candidate):
        lost = candidate.wait("lost")
        self.assertLess(lost.ms - candidate.valid_until(lost.ms - 1), SLACK_MS)
        return lost

    def settle(self, was_given_away=False):
        """Every candidate ends in order; the Lease stays, and is nobody's."""
        for candidate in self.field.living():
            candidate.close()
        if not was_given_away:
            self.field.check_one_leader()
        self.assertEqual(self.admin.holder(self.scope), "")


class Cases(KubernetesTest):
    def test_the_cases_of_every_election(self):
        env = {**os.environ, **self.env, **self.timing(9000, 6000, 200)}
        done = subprocess.run([world.build / "tests" / "contract" / "test_election", "-j2"], env=env,
                              capture_output=True, text=True, timeout=280, check=False)
        found = re.search(r"Tested: (\d+) \| Passing: (\d+)", done.stderr)
        self.assertTrue(found and done.returncode == 0 and int(found[1]) > 0 and found[1] == found[2],
                        "\n".join(line for line in done.stderr.splitlines() if "level=info" not in line)[-3000:])


class Holder(KubernetesTest):
    """What becomes of the one that leads."""

    def assert_taken_over(self, before_ms, after_ms, grant):
        """By waiting: not before the lease ran out, and soon after. It was still renewed at before_ms, not at after_ms."""
        self.assertGreater(grant.ms - before_ms, LEASE_MS - RETRY_MS - EARLY_MS)
        self.assertLess(grant.ms - after_ms, LEASE_MS + SLACK_MS)

    def test_killed_another_one_takes_over(self):
        first, *others = self.field.stand(3)
        before_ms = now_ms()
        at_ms = first.kill()
        second = self.field.wait_leader()
        self.assert_taken_over(before_ms, at_ms, second.said("granted")[0])
        second.kill()
        third = self.field.wait_leader()
        self.assertEqual({second, third}, set(others))
        # One change at the first grant after a holder each; none for the first holder there was.
        self.assertEqual(self.admin.lease(self.scope)["spec"]["leaseTransitions"], 2)
        self.settle()

    def test_paused_for_longer_than_its_lease_it_claims_nothing_any_more(self):
        first, second = self.field.stand(2)
        before_ms = now_ms()
        first.signal(signal.SIGSTOP)
        paused_ms = now_ms()
        second.wait("granted")
        grant = second.said("granted")[0]
        self.assertGreaterEqual(grant.ms, first.valid_until())
        self.assert_taken_over(before_ms, paused_ms, grant)
        first.signal(signal.SIGCONT)
        lost = first.wait("lost")
        self.assertFalse(first.claims(lost.ms))
        self.field.wait_leader(knowing=[first, second])
        self.assertTrue(second.leads())
        second.kill()
        self.assertIs(self.field.wait_leader(), first)
        self.settle()

    def test_paused_for_less_it_goes_on(self):
        first = self.field.stand(2, **self.long())[0]
        for _ in range(3):
            first.signal(signal.SIGSTOP)
            time.sleep(1.5)  # what is tested is this very time
            first.signal(signal.SIGCONT)
            self.wait_renewed(first)
        self.assertEqual(first.said("lost"), [])
        self.settle()

    def test_an_orderly_end_hands_over_within_a_moment(self):
        self.field.stand(3, **self.long())
        took = []
        for _ in range(2):
            leaving = self.field.leader()
            at_ms = now_ms()
            leaving.order("resign")
            took.append(self.field.wait_leader(besides=leaving, knowing=[]).said("granted")[0].ms - at_ms)
            self.assertTrue(leaving.wait("lost").text.endswith("resigned"))
        self.assertLess(min(took), SLACK_MS)
        self.settle()

    def test_without_the_right_to_watch_the_end_is_seen_by_asking(self):
        blind = {"HF_TEST_KUBERNETES_CONFIG": str(world.kube.kubeconfig("blind", {"token": world.kube.tokens["blind"]}))}
        first = self.field.add()
        first.wait("granted")
        second = self.field.add(**blind)
        second.wait("leader")
        wait_until(lambda: "election.watch_refused" in self.log(), 60, "the refusal to be logged")
        at_ms = now_ms()
        first.close()
        second.wait("granted")
        self.assertLess(second.said("granted")[0].ms - at_ms, LEASE_MS / 3 * 1.2 + SLACK_MS)
        self.settle()

    def test_deposed_by_one_that_knows_it_dead_it_need_not_be_waited_for(self):
        first, second, third = self.field.stand(3, **self.long())
        at_ms = first.kill()
        third.order(f"depose {first.address}")
        second.order(f"depose {first.address}")
        leader = self.field.wait_leader()
        self.assertLess(leader.said("granted")[0].ms - at_ms, LONG_MS / 2)
        self.settle()

    def test_a_killed_process_of_the_same_address_is_replaced_at_once(self):
        self.field.add("same:1", **self.long()).wait("granted")
        for _ in range(3):
            self.field.living()[0].kill()
            again = self.field.add("same:1", **self.long())
            # What the daemon does when it hears that its own address leads.
            again.wait("leader")
            again.order("depose same:1")
            again.wait("granted", timeout=LONG_MS / 1000 / 2)
        self.settle()

    def test_its_clock_jumping_forward_as_after_a_suspend(self):
        first, second = self.field.stand(2, **self.long())
        at_ms = now_ms()
        first.order(f"skew {10 * LONG_MS}")
        self.assertLess(first.wait("lost").ms - at_ms, 1000 + SLACK_MS)
        # The lease was renewed all the time: it is still the first's.
        first.wait("granted", 2)
        self.assertIs(self.field.wait_leader(), first)
        self.assertEqual(second.said("granted"), [])
        self.settle()

    def test_wall_clocks_hours_apart_change_nothing(self):
        early, late = {"HF_TEST_WALL_SKEW_MS": str(-FAR_MS)}, {"HF_TEST_WALL_SKEW_MS": str(FAR_MS)}
        for number, (leading, standing) in enumerate(((early, late), (late, early)), 1):
            first = self.field.add(**leading)
            self.field.wait_leader()
            second = self.field.add(**standing)
            self.field.wait_leader()
            self.wait_renewed(first, by_ms=LEASE_MS)
            self.assertEqual(second.said("granted"), [])
            before_ms = now_ms()
            at_ms = first.kill()
            self.assertIs(self.field.wait_leader(), second, f"round {number}")
            self.assert_taken_over(before_ms, at_ms, second.said("granted")[0])
            second.close()
        self.settle()


class Memory(KubernetesTest):
    times = (3000, 2000, 400)  # so short that two seconds without memory cost the lease

    def test_allocations_that_fail_cost_time_only(self):
        first, second = self.field.stand(2)
        for chance in (5, 20, 100, 500):
            for one in (first, second):
                one.order(f"starve {chance}")
            time.sleep(2)  # in which it is short of memory
            for one in (first, second):
                one.order("starve 0")
            leader = self.field.wait_leader()
            self.wait_renewed(leader)
        self.assertGreater(len(first.said("lost", "granted") + second.said("lost", "granted")), 1)
        self.settle()


class Hands(KubernetesTest):
    """What people do to the Lease."""

    def test_deleted_its_holder_makes_it_again(self):
        first, second = self.field.stand(2, **self.long())
        for _ in range(3):
            uid = self.admin.lease(self.scope)["metadata"]["uid"]
            self.admin.delete_lease(self.scope)
            made = wait_until(lambda: self.admin.lease(self.scope), LONG_MS / 1000, "the lease to be made again", poll=0.01)
            self.assertNotEqual(made["metadata"]["uid"], uid)
            self.assertIn(first.address, made["spec"]["holderIdentity"])
            self.wait_renewed(first)
        self.assertEqual(first.said("lost") + second.said("granted"), [])
        self.settle()

    def test_deleted_while_its_holder_is_dead_another_one_waits_and_makes_it(self):
        first, second = self.field.stand(2)
        before_ms = now_ms()
        at_ms = first.kill()
        self.admin.delete_lease(self.scope)
        second.wait("granted")
        self.assertGreater(second.said("granted")[0].ms - before_ms, LEASE_MS - RETRY_MS - EARLY_MS)
        self.assertLess(second.said("granted")[0].ms - at_ms, LEASE_MS + SLACK_MS)
        self.settle()

    def test_deleted_while_its_holder_sleeps_it_does_not_bring_it_back(self):
        first, second = self.field.stand(2)
        first.signal(signal.SIGSTOP)
        self.admin.delete_lease(self.scope)
        second.wait("granted")
        first.signal(signal.SIGCONT)
        first.wait("lost")
        self.assertIs(self.field.wait_leader(), second)
        self.wait_renewed(second, by_ms=RENEW_MS)
        self.assertIn(second.address, self.admin.holder(self.scope))
        self.settle()

    def test_stolen_its_holder_stops_at_once(self):
        first, second = self.field.stand(2)
        at_ms = now_ms()
        self.admin.patch_lease(self.scope, holderIdentity="a-thief", leaseDurationSeconds=2, renewTime="2100-01-01T00:00:00.000000Z")
        patched_ms = now_ms()
        lost = first.wait("lost")
        self.assertLess(lost.ms - patched_ms, SLACK_MS)
        self.assertIn("a-thief", lost.text)
        wait_until(lambda: first.knows() == second.knows() == "", 60, "nobody known to lead")
        # The thief does not renew it; that its renewTime is in another century does not matter.
        leader = self.field.wait_leader()
        grant = leader.said("granted")[-1]
        self.assertGreater(grant.ms - at_ms, 2000 - EARLY_MS)
        self.assertLess(grant.ms - patched_ms, 2000 + SLACK_MS)
        self.settle()

    def test_held_by_a_stranger_that_renews_it_is_left_to_it(self):
        first, second = self.field.stand(2, **self.timing(9000, 6000, 500))
        self.admin.patch_lease(self.scope, holderIdentity="a-thief")
        first.wait("lost")
        for number in range(9):
            time.sleep(1.2)  # as a holder renews, and together longer than a lease
            self.admin.patch_lease(self.scope, renewTime=f"2026-01-01T00:00:0{number}.000000Z")
        self.assertIsNone(self.field.leader())
        self.assertEqual(len(first.said("granted") + second.said("granted")), 1)
        self.admin.patch_lease(self.scope, holderIdentity="")
        self.field.wait_leader()
        self.settle()

    def test_given_up_by_hand_somebody_takes_it_at_once(self):
        first, second = self.field.stand(2)
        at_ms = now_ms()
        self.admin.patch_lease(self.scope, holderIdentity="")
        self.assertRegex(first.wait("lost").text, "given up|taken")
        wait_until(lambda: len(first.said("granted") + second.said("granted")) == 2, 60, "a second grant", poll=0.01)
        self.field.wait_leader()
        self.assertLess(self.field.leader().said("granted")[-1].ms - at_ms, SLACK_MS)
        # Its holder cannot know before the others do; the log of the store fences it.
        self.settle(was_given_away=True)

    def test_notes_that_are_added_to_it_stay_and_disturb_nobody(self):
        first, second = self.field.stand(2, **self.long())
        for number in range(10):
            self.admin.call("PATCH", f"{kube.LEASES}/{self.scope}", {"metadata": {"annotations": {"note": str(number)}}},
                            "application/merge-patch+json")
            self.wait_renewed(first)
        self.assertEqual(self.admin.lease(self.scope)["metadata"]["annotations"], {"note": "9"})
        self.assertEqual(first.said("lost") + second.said("granted"), [])
        self.settle()


class Backend(KubernetesTest):
    """What becomes of a leader when the API server does not answer. Not beside other tests."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self._restore)

    @staticmethod
    def _restore():
        world.kube.etcd.resume()
        if world.kube.process.alive():
            world.kube.resume()
        else:
            world.kube.process.start()
        world.kube.wait_ready()

    def test_away_for_a_moment_nothing_happens(self):
        first, second = self.field.stand(2, **self.long())
        for _ in range(3):
            world.kube.pause()
            time.sleep(1)  # what is tested is this very time
            world.kube.resume()
            self.wait_renewed(first)
        self.assertEqual(first.said("lost") + second.said("granted"), [])
        self.settle()

    def away_for_long(self, pause, resume):
        self.field.stand(3)
        first = self.field.leader()
        pause()
        away_ms = now_ms()
        lost = self.assert_lost_in_time(first)
        self.assertLess(lost.ms - away_ms, RENEW_MS + SLACK_MS)
        self.assertIn("was confirmed", lost.text)
        time.sleep((LEASE_MS - RENEW_MS) / 1000 + 1)  # so that the lease has run out for everybody
        self.assertIsNone(self.field.leader())
        resume()
        # It could not renew it, so the others give it a moment.
        self.assertIs(self.field.wait_leader(), first)
        self.settle()

    def test_asleep_for_long_the_lease_ends_and_its_holder_gets_it_back(self):
        self.away_for_long(world.kube.pause, world.kube.resume)

    def test_without_etcd_for_long_as_well(self):
        self.away_for_long(world.kube.etcd.pause, world.kube.etcd.resume)

    def test_dead_for_long_as_well(self):
        self.away_for_long(world.kube.kill, world.kube.restart)

    def test_started_again_within_the_renew_deadline_changes_nothing(self):
        first = self.field.add(**self.timing(30000, 25000, 1000))
        self.field.wait_leader()
        second = self.field.add(**self.timing(30000, 25000, 1000))
        self.field.wait_leader()
        world.kube.kill()
        world.kube.restart()
        self.wait_renewed(first)
        self.assertEqual(first.said("lost") + second.said("granted"), [])
        # The standby sees again what happens, without having to ask.
        first.close()
        second.wait("granted", timeout=25)
        self.settle()

    def test_an_orderly_end_does_not_wait_for_a_server_that_is_away(self):
        first = self.field.stand(1)[0]
        world.kube.pause()
        self.assertLess(first.close(), 20)

    def test_a_holder_that_alone_is_cut_off_loses_it_in_time(self):
        proxy = self.proxy()
        first = self.field.add(**self.behind(proxy))
        first.wait("granted")
        second = self.field.add()
        second.wait("leader")
        proxy.fault("*", 503, watch=None)
        self.assert_lost_in_time(first)
        self.assertIs(self.field.wait_leader(knowing=[second]), second)
        proxy.mend()
        self.field.wait_leader(knowing=[first, second])
        second.kill()
        self.assertIs(self.field.wait_leader(), first)
        self.settle()


class Answers(KubernetesTest):
    """Refusals and lost answers, made by a proxy in front of the real server."""

    def lead(self, proxy, **more):
        first = self.field.add(**self.behind(proxy), **more)
        first.wait("granted")
        second = self.field.add()
        second.wait("leader")
        return first, second

    def test_429_and_5xx_are_tried_again(self):
        proxy = self.proxy()
        first, second = self.lead(proxy, **self.timing(LONG_MS, 12000, RETRY_MS))
        start, before = time.monotonic(), sum(method == "PUT" for _, method, *_ in proxy.requests)
        for code in (429, 500, 502, 503, 504):
            fault = proxy.fault("PUT", code, count=2)
            wait_until(lambda one=fault: one.left == 0, 60, f"two answers of {code}", poll=0.01)
            self.wait_renewed(first)
        # Each retry period, not as fast as it can.
        calls = sum(method == "PUT" for _, method, *_ in proxy.requests) - before
        self.assertLess(calls, (time.monotonic() - start) / (RETRY_MS / 1000) + 3)
        self.assertEqual(first.said("lost") + second.said("granted"), [])
        self.settle()

    def test_retry_after_is_respected(self):
        proxy = self.proxy()
        first, second = self.lead(proxy, **self.timing(LONG_MS, 12000, RETRY_MS))
        for code in (429, 503):
            fault = proxy.fault("PUT", code, retry_after=2, count=1)
            wait_until(lambda one=fault: one.hits, 60, f"an answer of {code}", poll=0.01)
            self.wait_renewed(first)
            # The first of them is the one that was refused.
            calls = [at for at, method, *_ in proxy.requests if method == "PUT" and at >= fault.hits[0]]
            self.assertGreater(calls[1] - calls[0], 1.8)
        self.assertEqual(first.said("lost") + second.said("granted"), [])
        self.settle()

    def test_retry_after_of_an_hour_ends_no_later_than_the_lease(self):
        proxy = self.proxy()
        first, second = self.lead(proxy)
        proxy.fault("PUT", 429, retry_after=3600, count=1)
        self.assert_lost_in_time(first)
        self.assertIs(self.field.wait_leader(knowing=[second]), second)
        self.settle()

    def test_a_renewal_whose_answer_was_lost_is_found_by_reading(self):
        proxy = self.proxy()
        first, second = self.lead(proxy, **self.timing(LONG_MS, 12000, RETRY_MS))
        for _ in range(5):
            fault = proxy.fault("PUT", lose_answer=True, count=1)
            wait_until(lambda one=fault: one.left == 0, 60, "an answer to be lost", poll=0.01)
            self.wait_renewed(first)
        self.assertEqual(first.said("lost") + second.said("granted"), [])
        self.settle()

    def test_a_claim_whose_answer_was_lost_is_no_claim_until_it_was_read(self):
        proxy = self.proxy()
        lost = proxy.fault("POST", lose_answer=True, count=1)
        reads = proxy.fault("GET", 503, count=0)
        first = self.field.add(**self.behind(proxy))
        wait_until(lambda: lost.left == 0, 60, "the claim", poll=0.01)
        first.wait("granted")
        self.assertEqual(reads.hits, [])
        methods = [method for _, method, path, _ in proxy.requests if "watch=1" not in path]
        # Looked, claimed, looked again, renewed; and only then it led.
        self.assertEqual(methods[:4], ["GET", "POST", "GET", "PUT"])
        self.settle()

    def test_a_release_whose_answer_was_lost_is_made_sure_of(self):
        proxy = self.proxy()
        first, second = self.lead(proxy, **self.long())
        proxy.fault("PUT", lose_answer=True, count=2)
        first.close()
        second.wait("granted", timeout=LONG_MS / 1000 * 0.8)
        self.settle()

    def test_a_watch_that_is_refused_is_opened_again(self):
        proxy = self.proxy()
        first = self.field.add()
        first.wait("granted")
        faults = [proxy.fault("GET", code, watch=True, count=1) for code in (500, 410)]
        second = self.field.add(**self.behind(proxy))
        second.wait("leader")
        wait_until(lambda: all(fault.left == 0 for fault in faults), 60, "two refusals", poll=0.01)
        wait_until(lambda: sum("watch=1" in path for _, _, path, _ in proxy.requests) >= 3, 60, "a third watch", poll=0.01)
        at_ms = now_ms()
        first.close()
        second.wait("granted")
        self.assertLess(second.said("granted")[0].ms - at_ms, LEASE_MS / 3 * 1.2 + SLACK_MS)
        self.settle()


class Access(KubernetesTest):
    def account(self, token):
        """As a pod has it."""
        folder = world.kube.account_folder(world.work / f"account-{self.scope}", token)
        return folder, {"HF_TEST_KUBERNETES_CONFIG": "", "HF_TEST_KUBERNETES_ACCOUNT": str(folder),
                        "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(world.kube.port)}

    def test_a_pod_with_the_role_of_the_manual(self):
        text = (ROOT / "docs" / "election.md").read_text("utf-8")
        objects = [thing for block in re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)
                   for thing in yaml.safe_load_all(block) if isinstance(thing, dict) and "kind" in thing]
        self.assertEqual({thing["kind"] for thing in objects}, {"ServiceAccount", "Role", "RoleBinding"})
        self.admin.apply(objects)
        _, env = self.account(world.kube.account_token("holdfast"))
        env["HF_TEST_KUBERNETES_LEASE"] = "holdfast"
        env.update(self.long())
        first = self.field.add(**env)
        first.wait("granted")
        second = self.field.add(**env)
        second.wait("leader")
        at_ms = now_ms()
        first.close()
        second.wait("granted")
        self.assertLess(second.said("granted")[0].ms - at_ms, SLACK_MS)  # so it may watch
        self.assertNotIn("election.watch_refused", self.log())
        second.close()
        self.field.check_one_leader()
        # And no other Lease.
        with self.assertRaises(kube.Refused) as refused:
            world.kube.api(token=world.kube.account_token("holdfast")).patch_lease("another", holderIdentity="x")
        self.assertEqual(refused.exception.code, 403)

    def test_a_refused_token_is_read_again_from_its_file(self):
        folder, env = self.account("one-that-has-run-out")
        first = self.field.add(**env)
        wait_until(lambda: "HTTP 401" in self.log(), 60, "the refusal to be logged")
        self.assertEqual(first.said("granted"), [])
        kube.replace_text(folder / "token", world.kube.tokens["replica"])
        first.wait("granted")
        self.assertNotIn("one-that-has-run-out", self.log())
        self.settle()

    def test_a_token_that_changes_while_it_leads(self):
        proxy = self.proxy()
        token = world.work / f"token-{self.scope}"
        kube.replace_text(token, world.kube.tokens["blind"])
        first = self.field.add(**self.behind(proxy, user={"tokenFile": str(token)}))
        first.wait("granted")
        kube.replace_text(token, world.kube.tokens["replica"])
        fault = proxy.fault("PUT", 401, count=1)
        wait_until(lambda: fault.left == 0, 60, "the token to be refused", poll=0.01)
        self.wait_renewed(first)
        last = [authorization for _, method, _, authorization in proxy.requests if method == "PUT"][-1]
        self.assertEqual(last, f"Bearer {world.kube.tokens['replica']}")
        self.assertEqual(first.said("lost"), [])
        self.settle()

    def test_certificates_as_files_and_in_the_kubeconfig(self):
        certificate, key = world.kube.client_certificate
        files = world.kube.kubeconfig("files", {"client-certificate": str(certificate), "client-key": str(key)})
        inside = world.kube.kubeconfig(
            "inside", {"client-certificate-data": kube.base64_of(certificate), "client-key-data": kube.base64_of(key)},
            cluster={"certificate-authority": "", "certificate-authority-data": kube.base64_of(world.kube.authority.certificate)})
        for path in (files, inside):
            one = self.field.add(HF_TEST_KUBERNETES_CONFIG=str(path))
            one.wait("granted")
            one.close()
        self.settle()

    def test_a_server_that_is_not_trusted_gets_nothing(self):
        other = kube.Authority(world.work / "other-pki", "other-ca")
        proxy = self.proxy()
        path = world.kube.kubeconfig("untrusting", server=proxy.url, cluster={"certificate-authority": str(other.certificate)})
        one = self.field.add(HF_TEST_KUBERNETES_CONFIG=str(path))
        wait_until(lambda: "certificate" in self.log(), 60, "the reason to be logged")
        self.assertEqual(one.said("granted"), [])
        self.assertEqual(proxy.requests, [])
        one.close()

    def test_without_rights_it_says_which_are_missing(self):
        path = world.kube.kubeconfig("nobody", {"token": world.kube.tokens["nobody"]})
        one = self.field.add(HF_TEST_KUBERNETES_CONFIG=str(path))
        wait_until(lambda: "its Role needs get, create, update and watch" in self.log(), 60, "the reason to be logged")
        self.assertIn("forbidden", self.log())
        self.assertNotIn(world.kube.tokens["nobody"], self.log())
        self.assertEqual(one.said("granted"), [])
        one.close()

    def test_a_namespace_that_is_not_there_is_said(self):
        path = world.kube.kubeconfig("lost", {"token": world.kube.tokens["admin"]})
        one = self.field.add(HF_TEST_KUBERNETES_CONFIG=str(path), HF_TEST_KUBERNETES_NAMESPACE="nowhere")
        wait_until(lambda: "namespaces" in self.log() and "nowhere" in self.log(), 60, "the reason to be logged")
        self.assertEqual(one.said("granted"), [])
        one.close()


class Load(KubernetesTest):
    SECONDS = 20

    def rate(self, proxy):
        before = len(proxy.requests)
        start = time.monotonic()
        time.sleep(self.SECONDS)
        return (len(proxy.requests) - before) / (time.monotonic() - start)

    def test_three_idle_candidates_ask_less_than_once_a_second(self):
        proxy = self.proxy()
        for _ in range(3):
            self.field.add(**self.behind(proxy), **self.timing(15000, 10000, 2000)).wait("leader")
        self.field.wait_leader()
        rate = self.rate(proxy)
        if rate > 1.0:  # a machine that was busy elsewhere costs reconnections
            rate = self.rate(proxy)
        print(f"{rate:.2f} requests per second from a leader and two standbys, default times", file=sys.stderr)
        self.assertGreater(rate, 0.3)
        self.assertLessEqual(rate, 1.0)
        self.settle()


# ------------------------------------------------------------------------------------------- all of them at once

BESIDE_EACH_OTHER = (Cases, Holder, Hands, Answers, Access, Memory, Load)


def run_class(case):
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    return unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful()


def run_part(case, output):
    """In a process of its own, which never returns from here."""
    good = False
    try:
        with open(output, "wb") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        world.is_part = True
        good = run_class(case)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0 if good else 1)


def run_all():
    """What leaves the server alone is run side by side: it is mostly waiting. True when all is well."""
    parts = {}
    good = True
    try:
        setUpModule()
        for case in BESIDE_EACH_OTHER:
            output = world.work / f"{case.__name__}.out"
            pid = os.fork()
            if pid == 0:
                run_part(case, output)
            parts[pid] = output
        while parts:
            pid, status = os.wait()
            if pid in parts:
                print(parts.pop(pid).read_text("utf-8", "replace"), file=sys.stderr, flush=True)
                good = status == 0 and good
        return run_class(Backend) and good
    finally:
        for pid in parts:
            os.kill(pid, signal.SIGKILL)
        if world.kube:
            tearDownModule()
