"""docs/openapi.yaml against a running daemon: the same routes, and answers of the shapes it promises."""
import os
import re
import sys
import unittest
from pathlib import Path

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import ROOT, Daemon, JobManager  # noqa: E402

JOB = "0123456789abcdef" * 2
OCTETS = {"Content-Type": "application/octet-stream"}
METHODS = ("GET", "PUT", "POST", "DELETE")


def routes_of_source():
    """The routes table of rpc/rpc.c, with its two macros written out."""
    text = Path(ROOT, "rpc/rpc.c").read_text("utf-8")
    text = text[text.index("routes[] = {"):text.index("hf_rpc_routes")]
    text = text.replace("\\", " ").replace("CLUSTER", '"/v1/clusters/{ns}/{cluster}"')
    found = set()
    kinds = [""]
    for line in re.split(r"(?=#define )|(?=\{\s*\")|(?=PAYLOADS\(\"|RESULTS\(\")", text):
        macro = re.match(r"#define (PAYLOADS|RESULTS)\(kind\)", line)
        if macro:
            kinds = re.findall(macro[1] + r'\("([^"]+)"\)', text)
        row = re.match(r'\{\s*"(GET|PUT|POST|DELETE)",((?:\s*"[^"]*"|\s*kind)+)', line)
        for kind in kinds if row and " kind" in row[2] else [""] if row else []:
            found.add((row[1], "".join(part or kind for part in re.findall(r'"([^"]*)"|kind', row[2]))))
    return found


class Checker:
    """The part of JSON Schema that the file uses."""

    def __init__(self, test):
        self.test = test

    def check(self, schema, value, where):
        if value is None and schema.get("nullable"):
            return
        kind = schema.get("type")
        types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
        if kind:
            self.test.assertIsInstance(value, types[kind], where)
        for name in schema.get("required", []):
            self.test.assertIn(name, value, where)
        if kind == "object":
            for name, inner in value.items():
                known = schema.get("properties", {}).get(name)
                if known:
                    self.check(known, inner, f"{where}.{name}")
                elif isinstance(schema.get("additionalProperties"), dict):
                    self.check(schema["additionalProperties"], inner, f"{where}.{name}")
        if kind == "array":
            for number, inner in enumerate(value):
                self.check(schema["items"], inner, f"{where}[{number}]")


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.paths = yaml.safe_load(Path(ROOT, "docs/openapi.yaml").read_text("utf-8"))["paths"]
        cls.daemon = Daemon().start()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.remove()

    def described(self):
        return {(method.upper(), path) for path, methods in self.paths.items() for method in methods}

    def test_it_describes_the_routes_table(self):
        self.assertEqual(self.described(), routes_of_source())

    def test_the_daemon_knows_each_path_and_no_other_method_on_it(self):
        for path, methods in self.paths.items():
            concrete = path.format(ns="n", cluster="c", sid="a" * 32, component="x", job=JOB, id=JOB)
            for method in METHODS:
                if path.endswith("/leader/watch") and method == "GET":
                    continue  # never ends
                code, answer, _ = self.daemon.call(method, concrete)
                message = answer.get("message", "") if isinstance(answer, dict) else ""
                if method.lower() in methods:
                    self.assertNotIn("no such path", message, f"{method} {path}")
                    self.assertNotEqual(code, 405, f"{method} {path}")
                elif not path.endswith("/leader/watch"):  # also a component's name
                    self.assertEqual(code, 405, f"{method} {path} is not described and answered {code}")

    def test_answers_have_the_shape_that_is_described(self):
        jm = JobManager(self.daemon, cluster="shape").wait_granted()
        base = "/v1/clusters/{ns}/{cluster}"
        calls = [
            ("POST", base + "/sessions/{sid}/renew", {}), ("GET", base + "/leader", None),
            ("PUT", base + "/leader/{component}", {"leader_session": jm.leader_session, "address": "a"}),
            ("DELETE", base + "/leader/{component}", None),
            ("PUT", base + "/graphs/{id}", b"graph"), ("GET", base + "/graphs", None),
            ("GET", base + "/graphs/{id}/info", None), ("POST", base + "/graphs/{id}/quarantine", {"reason": "r"}),
            ("POST", base + "/jobs/{job}/checkpoints",
             {"id": 1, "pointer": "file:/p", "started_ms": 1, "completed_ms": 2, "size": 3, "num_retained": 1, "reserve": 4,
              "properties": {"type": "CHECKPOINT", "discard_on": ["subsumed"]}}),
            ("GET", base + "/jobs/{job}/checkpoints", None), ("GET", base + "/jobs", None), ("GET", base + "/jobs/{job}", None),
            ("POST", base + "/jobs/{job}/counter/reserve", {"count": 1}), ("POST", base + "/jobs/{job}/counter/raise", {"to": 9}),
            ("POST", base + "/jobs/{job}/discards/done", {"ids": []}), ("GET", base, None), ("GET", "/v1/clusters", None),
            ("GET", "/v1/leaders", None), ("GET", "/v1/status", None), ("GET", "/healthz", None), ("GET", "/readyz", None),
            ("DELETE", base + "/jobs/{job}", None), ("GET", "/v1/trash", None),
            ("GET", "/v1/gc", None), ("GET", "/v1/gc/jobs", None),
            ("PUT", base + "/results/{id}", {"result": {}}), ("GET", base + "/results", None), ("GET", base + "/results/{id}", None),
            ("POST", base + "/results/{id}/clean", {"keep": True}), ("DELETE", base + "/graphs/{id}", None), ("DELETE", base, None),
            ("DELETE", base + "/sessions/{sid}", None)]
        checker = Checker(self)
        for method, path, body in calls:
            concrete = path.format(ns="default", cluster="shape", sid=jm.sid, component="x", job=JOB, id=JOB)
            headers = {"Holdfast-Session": jm.sid, "Holdfast-Fence": str(jm.fence)}
            headers.update(OCTETS if isinstance(body, bytes) else {})
            code, answer, _ = self.daemon.call(method, concrete, body, headers)
            self.assertEqual(code, 200, f"{method} {path}: {answer}")
            schema = self.paths[path][method.lower()]["responses"]["200"]["content"]["application/json"]["schema"]
            checker.check(schema, answer, f"{method} {path}")

    def test_the_metrics_are_prometheus_text(self):
        code, text, headers = self.daemon.call("GET", "/metrics")
        self.assertEqual(code, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        for line in text.decode().splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) holdfast_\w+ .+|holdfast_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? \d+(\.\d+)?)$')


if __name__ == "__main__":
    unittest.main()
