"""Alerts of a real holdfastd: every channel against a strict fake of its service, or a real mail server; refusals, hanging
receivers, kill -9 between firing and sending, storms."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
from pathlib import Path

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "rpc"))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, HERE)
import services  # noqa: E402
from harness import BOUND_S, CLI, Daemon, JobManager  # noqa: E402
from lib.kube import Authority  # noqa: E402

JOB = "0123456789abcdef" * 2
OCTETS = {"Content-Type": "application/octet-stream"}
ODD = 'ord"ers <at user_id="all"> & \\ 订单'
# Told at once, and again as soon as something changes.
QUICK = {"alerts_patience": "0", "alerts_group__wait": "0", "alerts_group__interval": "0", "alerts_retry__pause": "50ms",
         "alerts_rate": "6000", "alerts_timeout": "60s", "alerts_leader__changes": "15", "session_close__grace": "10ms"}


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-alerts-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.services = services.Services()
        self.addCleanup(self.services.close)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def channels(self, *names):
        """Settings of the channels."""
        settings = {f"alerts_{name}_url__file": self.file(f"{name}.url", self.services.url(name) + "\n") for name in names}
        for name, key, secret in (("dingtalk", "secret", services.DINGTALK_SECRET), ("feishu", "secret", services.FEISHU_SECRET),
                                  ("webhook", "token", services.TOKEN)):
            if name in names:
                settings[f"alerts_{name}_{key}__file"] = self.file(f"{name}.{key}", secret + "\n")
        return settings

    def mail(self, mode, names="DNS:localhost,IP:127.0.0.1", password="mail-password"):
        """A mail server, and the settings for it."""
        ca = Authority(self.folder / "ca")
        server = services.Mail(self.folder, mode, *ca.sign("mail", "/CN=mail", names), "holdfast", "mail-password")
        self.addCleanup(server.close)
        scheme = "smtps" if mode == "tls" else "smtp"
        return server, {"alerts_email_server": f"{scheme}://127.0.0.1:{server.port}", "alerts_email_from": "Holdfast <hf@example.com>",
                        "alerts_email_to": "a@example.com, b@example.com", "alerts_email_user": "holdfast",
                        "alerts_email_password__file": self.file("mail.password", password), "alerts_ca__file": str(ca.certificate)}

    def daemon(self, **settings):
        daemon = Daemon(**{**QUICK, **settings})
        self.addCleanup(daemon.remove)
        return daemon.start()

    @staticmethod
    def lead(daemon, cluster="orders", graph=True):
        """A JobManager that leads a cluster, with a job."""
        manager = JobManager(daemon, urllib.parse.quote(cluster, safe="")).wait_granted()
        if graph:
            code, answer, _ = manager.call("PUT", f"/graphs/{JOB}", b"graph", OCTETS)
            assert code == 200, answer
        return manager

    @staticmethod
    def close(manager):
        code, answer, _ = manager.daemon.call("DELETE", f"{manager.base}/sessions/{manager.sid}")
        assert code == 200, answer

    def told(self, name, count, what="messages"):
        """The first `count` messages of a service."""
        return self.services.wait(lambda s: len(s.messages[name]) >= count and s.messages[name][:count], f"{count} {what} at {name}")

    def cli(self, daemon, *arguments):
        done = subprocess.run([CLI, "--endpoint", f"http://127.0.0.1:{daemon.port}", "alerts", *arguments], capture_output=True,
                              text=True, timeout=200, check=False)
        return done.returncode, done.stdout + done.stderr

    def until(self, condition, what):
        end = time.monotonic() + BOUND_S
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.05)

    def metrics(self, daemon):
        return dict(line.rsplit(" ", 1) for line in daemon.call("GET", "/metrics")[1].decode().splitlines() if line[0] != "#")


class Channels(Case):
    def test_every_channel_hears_that_it_began_and_that_it_is_over(self):
        mail, settings = self.mail("starttls")
        daemon = self.daemon(**self.channels(*services.PATHS), **settings)
        self.close(self.lead(daemon, ODD))
        for name in services.PATHS:
            message = self.told(name, 1)[0]
            self.assertEqual(message.status, "firing")
            text = message.text.replace("＜", "<")
            self.assertTrue(text.startswith(f"[CRITICAL] Holdfast: default/{ODD}: A cluster with jobs has no leader\n"), text)
            self.assertIn("1 job(s) of it have not ended, and no JobManager leads it", text)
        first = mail.wait(lambda mails: mails and mails[0], "a mail")
        headers = dict(first["headers"])
        self.assertEqual((first["from"], first["to"], first["tls"], first["user"], first["defects"]),
                         ("hf@example.com", ["a@example.com", "b@example.com"], True, "holdfast", []))
        self.assertEqual(headers["Subject"], f"[CRITICAL] Holdfast: default/{ODD}: A cluster with jobs has no leader")
        self.assertIn(ODD, first["text"])
        self.assertLessEqual(first["longest"], 78)

        alert = self.told("webhook", 1)[0].body["alerts"][0]
        self.assertEqual((alert["rule"], alert["namespace"], alert["cluster"], alert["severity"]),
                         ("cluster-without-leader", "default", ODD, "critical"))
        code, text = self.cli(daemon, "list")
        self.assertEqual(code, 0)
        self.assertIn("cluster-without-leader", text)
        self.assertEqual(self.metrics(daemon)['holdfast_alerts_firing{severity="critical"}'], "1")

        heir = self.lead(daemon, ODD, graph=False)
        for name in services.PATHS:
            self.assertEqual([message.status for message in self.told(name, 2)], ["firing", "resolved"])
        mail.wait(lambda mails: len(mails) >= 2 and "[RESOLVED]" in mails[1]["text"], "the mail that it is over")
        self.until(lambda: not daemon.call("GET", "/v1/alerts")[1]["alerts"], "an alert is left")
        self.assertTrue(heir.fence)
        metrics = self.metrics(daemon)
        self.assertEqual(metrics['holdfast_alerts_firing{severity="critical"}'], "0")
        for name in (*services.PATHS, "email"):
            self.assertEqual(metrics[f'holdfast_notifications_total{{channel="{name}",outcome="sent"}}'], "2")
            self.assertEqual(metrics[f'holdfast_notifications_total{{channel="{name}",outcome="failed"}}'], "0")
        self.assertEqual(self.services.problems, [])

        self.assertEqual(daemon.stop(), 0)
        shown = subprocess.run([*daemon.command(), "--print-config"], capture_output=True, text=True, timeout=60, check=True).stdout
        for secret in ("ding-token", "wecom-key", "feishu-hook", "slack-token", services.DINGTALK_SECRET, services.FEISHU_SECRET,
                       services.TOKEN, "mail-password"):
            self.assertNotIn(secret, daemon.log_text() + shown)
        self.assertIn("alerts.dingtalk.secret-file", shown)

    def test_mail_over_tls_from_the_start(self):
        mail, settings = self.mail("tls")
        daemon = self.daemon(**settings)
        code, text = self.cli(daemon, "test")
        self.assertEqual(code, 0, text)
        self.assertIn("[TEST]", mail.wait(lambda mails: mails and mails[0], "a mail")["text"])

    def test_mail_is_not_sent_where_it_would_be_read_or_is_refused(self):
        mail, settings = self.mail("plain")
        for change, error in (({}, "email"),  # no STARTTLS there
                              ({"alerts_email_user": "", "alerts_email_password__file": ""}, "STARTTLS|TLS|SSL")):
            daemon = self.daemon(**{**settings, **change})
            code, text = self.cli(daemon, "test", "--channel", "email")
            self.assertEqual(code, 8, text)
            self.assertRegex(text, error)
            daemon.stop()
        self.assertEqual(mail.mails, [])
        daemon = self.daemon(**{**settings, "alerts_email_user": "", "alerts_email_password__file": "",
                                "alerts_email_allow__plaintext": "true"})
        self.assertEqual(self.cli(daemon, "test")[0], 0)
        daemon.stop()
        for more, error in (({"names": "DNS:elsewhere.example"}, "subject name|match|verif"), ({"password": "wrong"}, "[Ll]ogin|535")):
            mail, settings = self.mail("starttls", **more)
            daemon = self.daemon(**settings)
            code, text = self.cli(daemon, "test")
            self.assertEqual(code, 8, text)
            self.assertRegex(text, error)
            self.assertNotIn("wrong", daemon.log_text())
            daemon.stop()
            mail.close()
            os.unlink(self.folder / "smtp-starttls.port")

    def test_a_template_makes_the_body(self):
        template = self.file("template.json", '{"t": "{{title}}", "x": {"s": "{{ status }}", "n": {{firing}}, "all": {{alerts}}}, "q": "{{text}}"}')
        received = []
        judge = self.services.judge
        self.services.judge = lambda name, where, headers, data: (received.append(json.loads(data)), (200, ""))[1]
        self.addCleanup(setattr, self.services, "judge", judge)
        daemon = self.daemon(**self.channels("webhook"), alerts_webhook_template__file=template)
        self.close(self.lead(daemon, ODD))
        self.until(lambda: received, "nothing came")
        self.assertEqual(received[0]["x"]["s"], "firing")
        self.assertEqual(received[0]["x"]["n"], 1)
        self.assertEqual(received[0]["x"]["all"][0]["cluster"], ODD)
        self.assertIn(ODD, received[0]["t"])
        self.assertIn(ODD, received[0]["q"])

    def test_old_checkpoints_are_told_and_a_new_one_ends_it(self):
        daemon = self.daemon(**self.channels("webhook"), alerts_checkpoint__age="1s")
        manager = self.lead(daemon)
        now = int(time.time() * 1000)
        self.assertEqual(manager.commit(JOB, 1, started_ms=now - 100, completed_ms=now)[0], 200)
        message = self.told("webhook", 1)[0]
        alert = message.body["alerts"][0]
        self.assertEqual((alert["rule"], alert["job"], alert["severity"]), ("checkpoint-old", JOB, "warning"))
        self.assertEqual(manager.commit(JOB, 2, started_ms=now, completed_ms=int(time.time() * 1000) + 3600_000)[0], 200)
        self.assertEqual(self.told("webhook", 2)[1].status, "resolved")

    def test_what_is_silenced_is_shown_and_not_told(self):
        daemon = self.daemon(**self.channels("webhook"), alerts_silence="cluster-without-leader@default/te*")
        self.close(self.lead(daemon, "test-1"))
        self.until(lambda: daemon.call("GET", "/v1/alerts")[1]["alerts"], "it is not shown")
        self.close(self.lead(daemon, "live"))
        self.assertEqual([alert["cluster"] for alert in self.told("webhook", 1)[0].body["alerts"]], ["live"])
        alerts = {alert["cluster"]: alert for alert in daemon.call("GET", "/v1/alerts")[1]["alerts"]}
        self.assertEqual((alerts["test-1"]["silenced"], alerts["test-1"]["state"], alerts["test-1"]["told"]), (True, "firing", []))
        self.assertIn("silenced", self.cli(daemon, "list")[1])
        self.assertEqual(len(self.services.messages["webhook"]), 1)


class Trouble(Case):
    def test_what_a_service_refuses_is_sent_again(self):
        daemon = self.daemon(**self.channels(*services.PATHS))
        refusals = {"dingtalk": [(200, {"errcode": 130101, "errmsg": "send too fast"}, {}), (200, "<html>", {})],
                    "wecom": [(200, {"errcode": 45009, "errmsg": "api freq out of limit"}, {}), (200, {}, {})],
                    "feishu": [(200, {"code": 9499, "msg": "Too Many Requests"}, {}), "cut"],
                    "slack": [(429, "rate_limited", {"Retry-After": "1"}), (500, "server_error", {})],
                    "webhook": ["cut", (503, "", {})]}
        for name, list_ in refusals.items():
            self.services.ill[name].extend(list_)
        self.close(self.lead(daemon))
        for name in services.PATHS:
            self.assertEqual(self.told(name, 1)[0].status, "firing")
        self.until(lambda: all(channel["sent"] == 1 for channel in daemon.call("GET", "/v1/alerts")[1]["channels"]), "not noted")
        for channel in daemon.call("GET", "/v1/alerts")[1]["channels"]:
            self.assertEqual((channel["failed"], channel["sent"], channel["error"]), (2, 1, ""), channel)
        log = daemon.log_text()
        for text in ("errcode 130101: send too fast", "errcode 45009", "code 9499: Too Many Requests", "HTTP 429: rate_limited"):
            self.assertIn(text, log)
        self.assertEqual(self.services.problems, [])

    def test_hanging_services_hold_up_nothing(self):
        free = threading.Event()
        self.addCleanup(free.set)
        self.services.ill["webhook"].extend([free] * 1000)
        mail = services.Mail(self.folder, "hang")
        self.addCleanup(mail.close)
        daemon = self.daemon(**self.channels("webhook", "slack"), alerts_timeout="120s", alerts_email_server=f"smtp://127.0.0.1:{mail.port}",
                             alerts_email_from="a@b.c", alerts_email_to="d@e.f")
        self.close(self.lead(daemon))
        self.services.wait(lambda s: s.tries["webhook"] == 1, "a request that hangs")
        self.told("slack", 1)
        # Both hang for as long as this test takes; everybody else is answered.
        managers = [self.lead(daemon, f"other-{number}") for number in range(5)]
        for manager in managers:
            self.assertEqual(manager.commit(JOB, 1)[0], 200)
        self.close(managers[0])
        self.told("slack", 2)
        self.assertEqual(self.services.tries["webhook"], 1)
        self.assertFalse(free.is_set())
        self.assertEqual(daemon.stop(), 0)

    def test_a_try_has_an_end(self):
        free = threading.Event()
        self.addCleanup(free.set)
        self.services.ill["webhook"].append(free)
        daemon = self.daemon(**self.channels("webhook"), alerts_timeout="500ms")
        self.close(self.lead(daemon))
        self.assertEqual(self.told("webhook", 1)[0].status, "firing")
        self.assertRegex(daemon.log_text(), r"alerts.not_sent .*no answer after \d+ ms")

    def test_killed_between_firing_and_sending(self):
        free = threading.Event()
        self.addCleanup(free.set)
        self.services.ill["webhook"].append(free)
        daemon = self.daemon(**self.channels("webhook"), alerts_timeout="120s")
        self.close(self.lead(daemon))
        self.services.wait(lambda s: s.tries["webhook"] == 1, "a request that hangs")
        daemon.kill()
        daemon.start()
        # The successor tells it, once: it notes that down, and whoever comes after it knows.
        self.assertEqual(self.told("webhook", 1)[0].status, "firing")
        for how in ("kill", "stop"):
            self.until(lambda: self.noted(daemon), "it is not noted down")
            getattr(daemon, how)()
            daemon.start()
        self.until(lambda: self.noted(daemon) == ["webhook"], "what was told is forgotten")
        heir = self.lead(daemon, graph=False)
        self.assertEqual([message.status for message in self.told("webhook", 2)], ["firing", "resolved"])
        self.assertTrue(heir.fence)
        self.until(lambda: not daemon.call("GET", "/v1/alerts")[1]["alerts"], "an alert is left")
        self.until(lambda: daemon.call("GET", "/v1/alerts")[1]["noted"], "it is not noted down")
        daemon.kill()
        daemon.start()
        # What is over is over for the next one as well: another alert is the next message.
        self.close(self.lead(daemon, "another"))
        self.assertEqual(self.told("webhook", 3)[2].body["alerts"][0]["cluster"], "another")
        self.assertEqual(self.services.tries["webhook"], 4)

    @staticmethod
    def noted(daemon):
        answer = daemon.call("GET", "/v1/alerts")[1]
        return answer["noted"] and answer["alerts"] and answer["alerts"][0]["told"]

    def test_many_clusters_at_once_are_a_few_messages(self):
        clusters = [f"cluster-{number}" for number in range(60)]
        daemon = self.daemon(**{**self.channels("webhook", "wecom", "slack"), "alerts_group__wait": "3s", "alerts_rate": "12"})
        managers = [self.lead(daemon, cluster) for cluster in clusters]
        for manager in managers:
            self.close(manager)

        def all_told(name):
            return lambda s: sum(int(message.text.split(" firing,")[0].rsplit(" ", 1)[1]) if " firing," in message.text else 1
                                 for message in s.messages[name] if message.status == "firing") >= len(clusters)
        for name in ("webhook", "wecom", "slack"):
            self.services.wait(all_told(name), f"all at {name}", 120)
            self.assertLessEqual(len(self.services.messages[name]), 12)
        # Lists are cut, and say so.
        self.assertRegex(self.services.messages["wecom"][-1].text, r"\.\.\. and \d+ more")
        self.assertEqual(self.services.problems, [])
        self.assertEqual(len(daemon.call("GET", "/v1/alerts")[1]["alerts"]), len(clusters))


class Settings(Case):
    def test_holdfast_alerts_test(self):
        daemon = self.daemon(**self.channels("dingtalk", "slack"))
        code, text = self.cli(daemon, "test")
        self.assertEqual((code, text.count("yes")), (0, 2), text)
        self.assertEqual([self.services.messages[name][0].status for name in ("dingtalk", "slack")], ["test", "test"])
        code, text = self.cli(daemon, "test", "--channel", "slack", "-o", "json")
        self.assertEqual((code, json.loads(text)["sent"]), (0, 1))
        self.services.ill["dingtalk"].append((200, {"errcode": 310000, "errmsg": "keywords not in content"}, {}))
        code, text = self.cli(daemon, "test")
        self.assertEqual(code, 8)
        self.assertIn("errcode 310000: keywords not in content", text)
        self.assertEqual(self.cli(daemon, "test", "--channel", "feishu")[0], 4)  # not set
        self.assertEqual(self.cli(daemon, "test", "--channel", "pigeon")[0], 2)
        self.assertEqual(self.cli(daemon, "test", "--channel", "x" * 40)[0], 2)
        self.assertEqual(self.cli(daemon, "again")[0], 2)
        # A secret that was replaced is used without a restart.
        self.file("dingtalk.secret", "SECanother\n")
        code, text = self.cli(daemon, "test", "--channel", "dingtalk")
        self.assertEqual(code, 8)
        self.assertIn("sign not match", text)

    def test_without_channels_nothing_is_told_or_written(self):
        daemon = self.daemon()
        revision = daemon.call("GET", "/v1/status")[1]["revision"]
        self.assertEqual(daemon.call("GET", "/v1/alerts")[1]["channels"], [])
        self.assertEqual(self.cli(daemon, "test")[0], 4)
        self.close(self.lead(daemon))
        self.until(lambda: daemon.call("GET", "/v1/alerts")[1]["alerts"], "it is not shown")
        self.assertEqual(daemon.call("GET", "/v1/status")[1]["revision"], revision + 4)  # session, grant, graph, end

    def test_settings_that_cannot_work_stop_the_start(self):
        url, empty = self.file("url", self.services.url("webhook")), self.file("empty", "\n")
        template = self.file("template", '{"x": "{{nothing}}"}')
        for settings, error in (
                ({"alerts_silence": "no-such-rule"}, "names no rule"), ({"alerts_silence": "orphans-found@default"}, "NAMESPACE/CLUSTER"),
                ({"alerts_severity": "loud"}, "none of info, warning, critical"),
                ({"alerts_slack_url__file": "/nowhere/at/all"}, "alerts.slack.url-file: /nowhere/at/all: No such file"),
                ({"alerts_slack_url__file": empty}, "does not hold one line"),
                ({"alerts_slack_url__file": self.file("no-url", "slack.example.com")}, "does not hold an http"),
                ({"alerts_webhook_url__file": url, "alerts_webhook_template__file": template}, r"'\{\{nothing\}\}\"\}' is none of"),
                ({"alerts_webhook_template__file": template}, "need alerts.webhook.url-file"),
                ({"alerts_dingtalk_secret__file": url}, "needs alerts.dingtalk.url-file"),
                ({"alerts_email_server": "mail.example.com:25"}, "begins with neither smtp:// nor smtps://"),
                ({"alerts_email_server": "smtp://u:p@mail.example.com:25"}, "alerts.email.user"),
                ({"alerts_email_server": "smtp://mail.example.com"}, "needs alerts.email.from and alerts.email.to"),
                ({"alerts_ca__file": "/nowhere/ca.pem"}, "alerts.ca-file")):
            with self.subTest(settings=settings):
                daemon = Daemon(**settings)
                self.addCleanup(daemon.remove)
                code, log = daemon.start(expect_failure=True)
                self.assertEqual(code, 2, log)
                self.assertRegex(log, error)


if __name__ == "__main__":
    unittest.main()
