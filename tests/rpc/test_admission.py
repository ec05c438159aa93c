"""The admission webhook and GET /v1/orphans, without anything to look at; with a real API server: tests/e2e/orphan_story.py."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Daemon  # noqa: E402


def review(**request):
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "1", "operation": "CREATE", "namespace": "default", "kind": {"kind": "Deployment"}, "object": {}, **request}}


class Webhook(unittest.TestCase):
    def test_what_nothing_is_known_of_is_allowed(self):
        with Daemon() as daemon:
            for request in ({}, {"operation": "DELETE"}, {"object": {"metadata": {"name": "c"}}}, {"object": None},
                            {"kind": {"kind": "FlinkDeployment"}, "object": {"metadata": {"name": "c"}}}):
                code, answer, _ = daemon.call("POST", "/admission", review(**request))
                self.assertEqual(code, 200, answer)
                self.assertEqual(answer, {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                                          "response": {"uid": "1", "allowed": True}})

    def test_what_is_no_review_is_refused(self):
        with Daemon() as daemon:
            for body in ({}, {"request": {}}, {"request": {"uid": "1"}}, {"request": "x"}, review(uid=7)):
                self.assertEqual(daemon.call("POST", "/admission", body)[0], 400, body)

    def test_nothing_is_looked_at_unless_asked_for(self):
        with Daemon() as daemon:
            code, answer, _ = daemon.call("GET", "/v1/orphans")
            self.assertEqual((code, answer["enabled"], answer["clusters"], answer["looked_ms"]), (200, False, [], 0))

    def test_an_api_server_that_is_not_there_is_told_of_and_harms_nothing(self):
        with Daemon(orphans_kubernetes="true", orphans_kubernetes_kubeconfig="/nowhere", orphans_interval="1s",
                    admission_policy="refuse") as daemon:
            while "error" not in daemon.call("GET", "/v1/orphans")[1]:
                pass
            self.assertIn("/nowhere", daemon.call("GET", "/v1/orphans")[1]["error"])
            answer = daemon.call("POST", "/admission", review(object={"metadata": {"name": "c", "labels": {"component": "jobmanager"}}}))[1]
            self.assertTrue(answer["response"]["allowed"])
            metrics = daemon.call("GET", "/metrics")[1].decode()
            self.assertIn('holdfast_admissions_total{answer="allowed"} 1\n', metrics)
            self.assertNotIn("holdfast_orphans_failures_total 0\n", metrics)

    def test_wrong_settings(self):
        for settings, text in (({"orphans_policy": "wipe"}, "none of report, quarantine, clean"),
                               ({"orphans_policy": "clean"}, "orphans.state-dir"), ({"orphans_policy": "quarantine"}, "orphans.state-dir"),
                               ({"admission_policy": "maybe"}, "none of off, warn, refuse"),
                               ({"admission_policy": "warn"}, "needs orphans.kubernetes")):
            daemon = Daemon(**settings)
            try:
                code, log = daemon.start(expect_failure=True)
                self.assertEqual(code, 2)
                self.assertIn(text, log)
            finally:
                daemon.remove()


if __name__ == "__main__":
    unittest.main()
