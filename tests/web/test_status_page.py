"""The status page in a real Chromium, on a real daemon with real data. --screenshots DIR also writes what it looks like."""
import http.client
import json
import os
import re
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scene import HOSTILE, HOSTILE_HOLDER, HOSTILE_VERSION, Scene  # noqa: E402
from harness import Daemon  # noqa: E402
from lib.leftovers import Leftovers, Storage  # noqa: E402
from lib.webdriver import Browser  # noqa: E402
from lib.zookeeper import ZooKeeper  # noqa: E402
from lib.zookeeper_client import Client  # noqa: E402

FILES = {"/": "text/html", "/ui/app.js": "text/javascript", "/ui/style.css": "text/css", "/ui/icon.svg": "image/svg+xml"}
MANY = int(os.environ.get("HF_MANY_CLUSTERS", "2000"))
WORLD = {}


def setUpModule(third=HOSTILE):
    scratch = tempfile.TemporaryDirectory(prefix="holdfast-web-")
    unittest.addModuleCleanup(scratch.cleanup)
    work = Path(scratch.name)
    zookeeper = WORLD["zookeeper"] = ZooKeeper(work)
    unittest.addModuleCleanup(zookeeper.stop)
    zookeeper.start()
    client = Client(zookeeper.port)
    client.create("/flink", b"")
    for layout in ("1.20", "2.3"):
        for path, data in Leftovers(Storage(work / f"ha-{layout}"), f"nightly-report-{layout.replace('.', '-')}", layout=layout).znodes():
            client.create(path, data)
    client.close()
    flink = WORLD["flink"] = Scene.observe(third)
    unittest.addModuleCleanup(flink.close)
    scene = WORLD["scene"] = Scene(observe_clusters=f"batch/reports={flink.url}", replica_name="holdfast-0", orphans_zookeeper_quorum=f"127.0.0.1:{zookeeper.port}",
                                   orphans_interval="1s", orphans_min__age="1s", log_level="info")
    unittest.addModuleCleanup(scene.remove)
    scene.start().fill().forsake()
    browser = WORLD["browser"] = Browser(work)
    unittest.addModuleCleanup(browser.stop)
    browser.start()


class Case(unittest.TestCase):
    expected = ()  # what the browser may say in its console, besides nothing

    def setUp(self):
        self.scene, self.browser = WORLD["scene"], WORLD["browser"]
        self.browser.open("about:blank")
        self.browser.command("Storage.clearDataForOrigin", origin=self.scene.url, storageTypes="local_storage,session_storage")
        self.browser.screen(1280, 900, dark=False)
        self.browser.console()

    def tearDown(self):
        said = [entry for entry in self.browser.console() if not any(text in entry["message"] for text in self.expected)]
        self.assertEqual(said, [], "the browser's console is not empty")

    def open(self, path="", base=None):
        """The page at a section. Leaves what it shows before, so that nothing of it is taken for the new one."""
        self.browser.open("about:blank")
        self.browser.open(f"{base or self.scene.url}/#/{path}")

    def heading(self, text):
        self.browser.wait_text(text, "h1")

    def one_job(self, name="fraud/card-scoring"):
        manager = self.scene.managers[name]
        return manager, self.scene.jobs[manager][0], f"clusters/{name}/{self.scene.jobs[manager][0]}"


class Files(unittest.TestCase):
    """What is served, without a browser."""

    def get(self, path, method="GET", **headers):
        return WORLD["scene"].daemon.call(method, path, headers=headers)

    def test_each_file_with_a_policy_and_a_validator(self):
        for path, kind in FILES.items():
            with self.subTest(path):
                code, body, headers = self.get(path)
                self.assertEqual(code, 200)
                self.assertEqual(headers["Content-Type"], kind + "; charset=utf-8")
                self.assertEqual(int(headers["Content-Length"]), len(body))
                policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
                self.assertEqual({name: policy[name] for name in ("default-src", "script-src", "style-src", "connect-src", "frame-ancestors",
                                                                  "base-uri", "form-action", "require-trusted-types-for")},
                                 {"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
                                  "frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'", "require-trusted-types-for": "'script'"})
                self.assertNotIn("unsafe", headers["Content-Security-Policy"])
                self.assertEqual((headers["X-Content-Type-Options"], headers["Referrer-Policy"], headers["X-Frame-Options"], headers["Cache-Control"]),
                                 ("nosniff", "no-referrer", "DENY", "no-cache"))
                tag = headers["ETag"]
                for sent, same in ((tag, True), (f'"other", W/{tag}', True), ("*", True), ('"other"', False), (tag.strip('"'), False)):
                    code, again, more = self.get(path, **{"If-None-Match": sent})
                    self.assertEqual((code, again), (304, b"") if same else (200, body), sent)
                    self.assertEqual(more["ETag"], tag)
                self.assertEqual(self.get(path, "HEAD")[:2], (200, b""))
                self.assertEqual(self.get(path, "POST")[0], 405)

    def test_a_connection_goes_on_after_a_304(self):
        tag = self.get("/")[2]["ETag"]
        connection = http.client.HTTPConnection("127.0.0.1", WORLD["scene"].daemon.port, timeout=60)
        try:
            for _ in range(3):
                connection.request("GET", "/", headers={"If-None-Match": tag})
                answer = connection.getresponse()
                self.assertEqual((answer.status, answer.read(), answer.getheader("Content-Length")), (304, b"", None))
                connection.request("GET", "/healthz")
                self.assertEqual(json.loads(connection.getresponse().read())["status"], "OK")
        finally:
            connection.close()

    def test_no_other_path_is_a_file(self):
        for path in ("/index.html", "/ui", "/ui/", "/ui/index.html", "/ui/embed.cmake", "/ui/../ui/app.js", "/ui/app.js/", "//", "/ui/%2e%2e/app.js"):
            self.assertEqual(self.get(path)[0], 404, path)

    def test_the_page_names_no_other_host(self):
        for path in FILES:
            text = self.get(path)[1].decode()
            self.assertEqual(set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)) - {"http://www.w3.org"}, set(), path)

    def test_lists_are_searched_and_the_end_of_the_trail_is_given(self):
        names = lambda query: [f"{each['namespace']}/{each['cluster']}" for each in self.get("/v1/clusters?" + query)[1]["clusters"]]  # noqa: E731
        self.assertEqual(names("match=RANK"), ["analytics/page-ranking"])
        self.assertEqual(names("match=payments%20l"), ["payments/ledger"])
        self.assertEqual(names("match=no-such"), [])
        first = self.get("/v1/clusters?match=payments&limit=1")[1]
        self.assertEqual([each["cluster"] for each in first["clusters"]], ["ledger"])
        second = self.get("/v1/clusters?match=payments&limit=1&after=" + urllib.parse.quote(first["next"]))[1]
        self.assertEqual(([each["cluster"] for each in second["clusters"]], "next" in second), (["settlement"], False))
        self.assertEqual([each["cluster"] for each in self.get("/v1/leaders?match=settle")[1]["leaders"]], ["settlement"])
        audit = self.get("/v1/audit")[1]["audit"]
        self.assertGreaterEqual(len(audit), 1)
        self.assertEqual(self.get("/v1/audit?newest=1")[1]["audit"], audit[-1:])
        self.assertEqual(self.get("/v1/audit?newest=5000")[1]["audit"], audit)

    def test_checkpoints_are_remembered_beyond_what_is_retained(self):
        manager, job = WORLD["scene"].managers["payments/settlement"], WORLD["scene"].jobs[WORLD["scene"].managers["payments/settlement"]][0]
        answer = self.get(f"{manager.base}/jobs/{job}/checkpoints?recent=true")[1]
        self.assertEqual([each["id"] for each in answer["recent"]], list(range(1, 31)))
        self.assertEqual([each["id"] for each in answer["checkpoints"]], [28, 29, 30])
        self.assertNotIn("recent", self.get(f"{manager.base}/jobs/{job}/checkpoints")[1])


class Content(Case):
    def test_the_overview_says_who_leads(self):
        self.open()
        self.heading("holdfast-0 leads")
        text = self.browser.wait_text("payments/ledger")
        status = self.scene.daemon.call("GET", "/v1/status")[1]
        for expected in (f"127.0.0.1:{self.scene.daemon.port}", str(status["clusters"]), "jm-ledger-1:6123", "Garbage", "election standalone",
                         "/restore"):
            self.assertIn(expected, text)
        self.browser.wait_text("of 2 clusters on Flink’s own HA")

    def test_what_is_wrong_comes_first_and_goes_when_it_is_over(self):
        scene = Scene()
        self.addCleanup(scene.remove)
        scene.start()
        self.open(base=scene.url)
        self.browser.wait_text("nothing is wrong")
        scene.forsake()
        text = self.browser.wait_text("critical", "#alerts")
        alert, = scene.daemon.call("GET", "/v1/alerts")[1]["alerts"]
        for expected in (alert["title"], alert["text"], "orders/returns"):
            self.assertIn(expected, text)
        self.assertIn("1 without a leader", self.browser.text("#facts"))
        scene.manager("orders", "returns", "jm-returns-1:6123")
        self.browser.wait_text("nothing is wrong")
        self.assertEqual(self.browser.text("#alerts"), "")

    def test_a_cluster_and_its_jobs(self):
        manager, job, _ = self.one_job("payments/ledger")
        self.open("clusters/payments/ledger")
        text = self.browser.wait_text(job)
        for expected in ("led by jm-ledger-1:6123", manager.leader_session, "pekko.tcp://flink@jm-ledger-1:6123/user/rpc/dispatcher_0",
                         "s3://flink-state/ha/payments/ledger", "2.3.0", *self.scene.jobs[manager]):
            self.assertIn(expected, text)

    def test_a_job_has_its_checkpoints_over_time(self):
        _, job, path = self.one_job("payments/settlement")
        self.open(path)
        text = self.browser.wait_text("Retained checkpoints")
        for expected in (job, "checkpoint 30", f"s3://flink-state/checkpoints/{job}/chk-28", "27 deletions left"):
            self.assertIn(expected, text)
        plots = self.browser.run("return [...document.querySelectorAll('#plots svg')].map(s => [s.getAttribute('aria-label'), s.querySelectorAll('.dot').length])")
        self.assertEqual([(label.split(" of ")[0], dots) for label, dots in plots], [("Size", 30), ("Duration", 30)])
        self.assertIn("the newest: ", plots[0][0])
        heights = self.browser.run("return [...document.querySelectorAll('#plots svg:first-child .dot')].map(d => +d.getAttribute('cy'))")
        self.assertGreater(len(set(heights)), 5, "the plot is flat")

    def test_orphans_with_their_reasons(self):
        self.open("orphans")
        self.browser.wait_text("nightly-report-2-3")

        def differs():
            """What is not on the page; a look of the daemon may have come in between."""
            found = self.scene.daemon.call("GET", "/v1/orphans")[1]["clusters"]
            self.assertEqual(len(found), 2)
            text = self.browser.text("#orphans")
            return [expected for cluster in found for expected in (
                cluster["cluster"], cluster["verdict"], *(reason["text"] for reason in cluster["reasons"]),
                *(job["text"] for job in cluster["jobs"])) if expected not in text]
        end = time.monotonic() + 120
        while missing := differs():
            self.assertLess(time.monotonic(), end, missing)
            time.sleep(0.1)

    def test_observed_clusters_their_jobs_and_what_to_restore_from(self):
        self.open("observed")
        self.assertIn(WORLD["flink"].url, self.browser.wait_text("1 of 3"))
        self.open("observed/batch/reports")
        text = self.browser.wait_text("savepoint 13")
        for expected in ("daily-aggregates", "late-events", HOSTILE, "running", "finished", "failed", "Flink 1.20.5"):
            self.assertIn(expected, text)
        self.open(f"observed/batch/reports/{2:032x}")
        text = self.browser.wait_text("the job was stopped with this savepoint")
        for expected in ("late-events", "s3://flink-state/savepoints/savepoint-0002-7d1f0c", "sync savepoint"):
            self.assertIn(expected, text)
        self.open(f"observed/batch/reports/{1:032x}")
        self.browser.wait("its points", "return document.querySelectorAll('#plots svg')[0]?.querySelectorAll('.dot').length === 40")
        with WORLD["flink"].lock:
            WORLD["flink"].jobs[f"{1:032x}"].complete()
        self.browser.wait_text("41", "#checkpoints")
        self.assertIsNone(self.browser.run("return window.harmed ?? null"))

    def test_an_alert_leads_to_what_it_is_about(self):
        self.open()
        for where, expected in (("batch/reports", "Restore from"), ("orders/returns", "no leader")):
            self.browser.wait("the alert", "const a = [...document.querySelectorAll('#alerts a')].find(a => a.innerText === arguments[0]); if (a) a.click(); return !!a", where)
            self.browser.wait("its page", "return document.querySelector('main').innerText.includes(arguments[0]) && !document.querySelector('#alerts')", expected)
            self.browser.run("history.back()")
            self.browser.wait_text("critical", "#alerts")

    def test_garbage_and_audit(self):
        self.open("garbage")
        text = self.browser.wait_text("Trash")
        for expected in ("Deletions left", "payments/ledger", "/restore"):
            self.assertIn(expected, text)
        self.open("audit")
        text = self.browser.wait_text("anonymous", "#audit")
        self.assertRegex(text, r"POST /v1/trash/[0-9a-f]{32}/restore")

    def test_what_is_under_way_has_a_bar(self):
        """Too short to be met with files of this test: the daemon's answers are replaced on the way to the page."""
        self.open("garbage")
        self.browser.wait_text("Nothing.")
        self.browser.run("""
            const ask = window.fetch;
            window.done = 250;
            window.fetch = async (path, options) => {
              const answer = await ask(path, options), body = path === '/v1/gc' ? await answer.json() : null;
              if (!body) return answer;
              body.now = { namespace: 'payments', cluster: 'ledger', job: '0'.repeat(32), what: 'sweep', took_ms: 4200, planned: 1000, done: window.done };
              return new Response(JSON.stringify(body), { status: 200 });
            };""")
        self.browser.wait_text("250 of 1,000 files", "#busy")
        bar = "return [...document.querySelectorAll('progress')].map(p => [p.value, p.max, p.getAttribute('aria-label')])"
        self.assertEqual(self.browser.run(bar), [[250, 1000, "Sweeping"]])
        self.browser.run("window.done = 990")
        self.browser.wait_text("990 of 1,000 files", "#busy")
        self.assertEqual(self.browser.run(bar), [[990, 1000, "Sweeping"]])

    def test_texts_from_clusters_are_text(self):
        manager, job = self.scene.attack()
        base = f"clusters/default/{urllib.parse.quote(HOSTILE, safe='')}"
        for path, expected in (("clusters", (HOSTILE, HOSTILE_HOLDER, HOSTILE_VERSION)),
                               (base, (HOSTILE, HOSTILE_HOLDER, HOSTILE_VERSION, "javascript:window.harmed=4", "<b>dispatcher", "<iframe src=")),
                               (f"{base}/{job}", (job, "</p><script>window.harmed=6</script>"))):
            self.open(path)
            self.browser.wait_text(expected[0], "main")
            text = self.browser.text("main")
            for each in expected:
                self.assertIn(each, text)
            made, harmed, links = self.browser.run(
                "return [document.querySelectorAll('main img, main script, main iframe, main b, main [onload], main [onerror]').length, "
                "window.harmed ?? null, [...document.querySelectorAll('a')].filter(a => a.origin !== location.origin).length]")
            self.assertEqual((made, harmed, links), (0, None, 0), path)
        manager.stream.close()
        del self.scene.managers[f"default/{HOSTILE}"]

    def test_nothing_is_asked_of_another_host(self):
        for path in ("", "clusters", self.one_job()[2], "orphans", "garbage", "audit"):
            self.open(path)
            self.browser.wait("what it shows", "return document.querySelector('main h1') !== null")
            asked = self.browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
            self.assertGreater(len(asked), 3)
            self.assertEqual([url for url in asked if not url.startswith(self.scene.url + "/")], [])


class Missing(Case):
    expected = ("status of 404",)

    def test_a_cluster_that_is_not_registered(self):
        for path in ("clusters/batch/reports", f"clusters/batch/reports/{1:032x}", "observed/no/such"):
            self.open(path)
            self.browser.wait_text("Not registered here")
        self.open("clusters/batch/reports")
        self.browser.wait("a way on", "const a = document.querySelector('main .note a'); if (a) a.click(); return !!a")
        self.browser.wait_text("daily-aggregates", "#observed")


class Policy(Case):
    expected = ("Content Security Policy", "TrustedHTML", "TrustedScript", "violates the following")

    def test_the_browser_refuses_what_the_policy_forbids(self):
        self.open()
        self.heading("leads")
        refused = self.browser.run("""
            window.refused = [];
            document.addEventListener('securitypolicyviolation', e => window.refused.push(e.effectiveDirective));
            try { document.body.innerHTML += '<b>'; return 'markup from a string'; } catch { /* as it should be */ }
            const script = document.createElement('script');
            try { script.textContent = 'window.harmed = 7'; document.body.append(script); } catch { /* the same */ }
            fetch('http://localhost:9/').catch(() => {});
            const style = document.createElement('style'); style.textContent = 'main { color: red }'; document.head.append(style);
            const image = document.createElement('img'); image.src = 'http://localhost:9/x.png'; document.body.append(image);
            return 'refused'""")
        self.assertEqual(refused, "refused")
        self.browser.wait("refusals", "return ['connect-src', 'img-src', 'style-src-elem'].every(d => window.refused.includes(d))")
        self.assertIsNone(self.browser.run("return window.harmed ?? null"))


class Live(Case):
    def test_a_new_checkpoint_appears_without_a_reload(self):
        manager, job, path = self.one_job("orders/inventory-sync")
        self.open(path)
        self.browser.wait_text("checkpoint 30")
        self.browser.run("window.marker = 1")
        for number in (31, 32):
            self.scene.checkpoint(manager, job, number)
            self.browser.wait_text(f"checkpoint {number}", "h1 + p")
            self.browser.wait("its point", f"return document.querySelectorAll('#plots svg')[0].querySelectorAll('.dot').length === {number}")
        self.assertEqual(self.browser.run("return window.marker"), 1)

    def test_what_is_open_and_has_the_focus_stays_so(self):
        manager, job, path = self.one_job("orders/inventory-sync")
        self.open("orphans")
        self.browser.wait_text("nightly-report")
        self.browser.run("document.querySelector('summary').focus(); document.querySelector('details').open = true")
        asked = "return performance.getEntriesByType('resource').filter(e => e.name.endsWith('/v1/orphans')).length"
        before = self.browser.run(asked)
        self.browser.wait("two more looks", f"{asked} >= {before + 2}")
        self.assertEqual(self.browser.run("return [document.activeElement.localName, document.querySelector('details').open]"), ["summary", True])

    def test_the_search_is_kept_while_numbers_change(self):
        self.open("clusters")
        self.browser.wait_text("payments/ledger")
        self.browser.run("document.querySelector('#search').focus()")
        self.browser.keys(*"Payments/")
        self.browser.wait("what was searched", "return [...document.querySelectorAll('#clusters tbody a')].map(a => a.textContent).join() === "
                                               "'payments/ledger,payments/settlement'")
        self.browser.keys(*"xyz")
        self.browser.wait_text("No cluster’s name contains “Payments/xyz”.")
        self.assertEqual(self.browser.run("return [document.activeElement.id, document.activeElement.value]"), ["search", "Payments/xyz"])


class Keyboard(Case):
    def tab_to(self, name, most=60):
        for _ in range(most):
            self.browser.keys("Tab")
            if self.browser.focused() == name:
                self.assertNotEqual(self.browser.run("return getComputedStyle(document.activeElement).outlineStyle"), "none", name)
                return
        self.fail(f"{most} times Tab did not lead to {name!r}")

    def test_everything_is_reached_without_a_mouse(self):
        _, job, _ = self.one_job()
        self.open()
        self.heading("leads")
        self.tab_to("Skip to content", 1)
        self.browser.keys("Enter")
        self.browser.wait("the content has the focus", "return document.activeElement.id === 'main'")
        self.open()
        self.heading("leads")
        self.tab_to("Clusters")
        self.browser.keys("Enter")
        self.heading("Clusters")
        self.browser.wait("the heading has the focus", "return document.activeElement.localName === 'h1'")
        self.browser.keys("Tab", *"scoring")
        self.browser.wait("one is left", "return document.querySelectorAll('#clusters tbody tr').length === 1")
        self.tab_to("fraud/card-scoring")
        self.browser.keys("Enter")
        self.heading("fraud/card-scoring")
        self.tab_to("Job " + job)
        self.browser.keys("Enter")
        self.heading(job)
        self.browser.keys("Shift+Tab")
        self.assertEqual(self.browser.focused(), "fraud/card-scoring")
        self.open()
        self.heading("leads")
        self.tab_to("Colours: System colours. Change")
        self.browser.keys("Space")
        self.browser.wait_text("Light", "#theme")

    def test_it_says_what_it_is_to_those_who_do_not_see_it(self):
        for path in (*Looks.PATHS, self.one_job()[2]):
            self.open(path)
            self.browser.wait("what it shows", "return document.querySelector('main h1') !== null")
            found = self.browser.run("""
                const visible = e => e.getClientRects().length > 0, name = e => (e.getAttribute('aria-label') || e.innerText || '').trim();
                return [document.querySelectorAll('h1').length, document.documentElement.lang, document.title !== '',
                  [...document.querySelectorAll('a, button, summary')].filter(e => visible(e) && !name(e)).length,
                  [...document.querySelectorAll('input')].filter(e => !e.labels.length).length,
                  [...document.querySelectorAll('table')].filter(t => !t.caption || t.querySelectorAll('thead th[scope=col]').length === 0).length,
                  document.querySelectorAll('nav [aria-current=page]').length, document.querySelectorAll('svg:not([aria-label])').length,
                  document.querySelectorAll('[role=status][aria-live=polite]').length]""")
            self.assertEqual(found, [1, "en", True, 0, 0, 0, 1, 0, 1], path)


class Looks(Case):
    PATHS = ("", "clusters", "clusters/payments/ledger", "observed", "observed/batch/reports", f"observed/batch/reports/{2:032x}", "orphans", "garbage", "audit")

    def setUp(self):
        super().setUp()
        self.open()
        self.browser.wait_text("critical", "#alerts")

    def test_a_phone_scrolls_in_one_direction_only(self):
        for width in (360, 412, 768):
            self.browser.screen(width, 740, phone=True)
            for path in (*self.PATHS, self.one_job()[2]):
                self.open(path)
                self.browser.wait("what it shows", "return document.querySelector('main h1') !== null")
                wide = self.browser.run("return [document.documentElement.scrollWidth, [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length]")
                self.assertLessEqual(wide[0], width, f"/#/{path} at {width}")
                self.assertEqual(wide[1], 0, f"a table of /#/{path} is too wide at {width}")

    def wait_ground(self, what, dark):
        self.browser.wait(what, "const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);"
                                "return arguments[0] ? r + g + b < 180 : r + g + b > 600", dark)

    def test_light_and_dark_by_the_system_or_by_hand(self):
        self.open()
        self.heading("leads")
        self.wait_ground("light", False)
        self.browser.screen(1280, 900, dark=True)
        self.wait_ground("dark", True)
        for name, dark in (("Light", False), ("Dark", True), ("System colours", True), ("Light", False)):
            self.browser.run("document.querySelector('#theme').click()")
            self.browser.wait_text(name, "#theme")
            self.wait_ground(name, dark)
        self.open()
        self.heading("leads")
        self.wait_ground("what was chosen before", False)

    def test_texts_can_be_read_in_both(self):
        """Contrast of every text that is seen, as WCAG 2 counts it, is at least 4.5."""
        for dark in (False, True):
            self.browser.screen(1280, 900, dark=dark)
            for path in (*self.PATHS, self.one_job()[2]):
                self.open(path)
                self.browser.wait("what it shows", "return document.querySelector('main h1') !== null")
                poor = self.browser.run("""
                    const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
                    const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
                    const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > .99) return c; } return [255, 255, 255, 1]; };
                    const poor = [];
                    for (const e of document.querySelectorAll('body *')) {
                      if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length || e.closest('svg, .skip, .hidden, script, button:disabled')) continue;
                      const a = light(parse(getComputedStyle(e).color)), b = light(ground(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
                      if (ratio < 4.5) poor.push(`${e.localName}.${e.className} ${e.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
                    }
                    return poor""")
                self.assertEqual(poor, [], f"/#/{path} {'dark' if dark else 'light'}")


class Away(Case):
    expected = ("net::ERR_",)

    def test_a_daemon_that_is_killed_and_comes_back(self):
        scene = Scene()
        self.addCleanup(scene.remove)
        scene.start()
        manager = scene.manager("default", "c", "jm")
        job = scene.job(manager, 64)
        self.open(f"clusters/default/c/{job}", base=scene.url)
        self.browser.wait_text("checkpoint 30")
        self.browser.run("window.marker = 1")
        scene.daemon.kill()
        text = self.browser.wait_text("Connection lost", "#banner")
        self.assertRegex(text, r"Last seen (.* ago|just now), at \d\d:\d\d:\d\d\.")
        self.assertEqual(self.browser.text("#live"), "Connection lost")
        self.assertIn("Connection lost", self.browser.run("return document.title"))
        self.assertIn(job, self.browser.text("main"), "what was known is gone")
        scene.daemon.start()
        self.browser.wait("live again", "return document.querySelector('#banner').innerText === ''")
        self.assertEqual(self.browser.text("#live"), "Connected again")
        scene.checkpoint(manager, job, 31)
        self.browser.wait_text("checkpoint 31")
        self.assertEqual(self.browser.run("return window.marker"), 1)
        points = self.browser.run("return document.querySelectorAll('#plots svg')[0].querySelectorAll('.dot').length")
        self.assertEqual(points, 31, "what the page had seen before the restart is forgotten")


class Replicas(Case):
    expected = ("net::ERR_", "status of 421", "status of 503")

    def test_a_standby_names_the_leader_and_takes_over_on_the_page(self):
        with tempfile.TemporaryDirectory(prefix="holdfast-web-store-") as store:
            settings = {"election": "zookeeper", "election_zookeeper_quorum": f"127.0.0.1:{WORLD['zookeeper'].port}", "store": store}
            first = Daemon(replica_name="holdfast-a", **settings)
            self.addCleanup(first.remove)
            first.start()
            self.wait_leading(first)
            second = Daemon(replica_name="holdfast-b", **settings)
            self.addCleanup(second.remove)
            second.start()
            base = f"http://127.0.0.1:{second.port}"
            self.open(base=base)
            self.heading("holdfast-b stands by")
            leader = f"127.0.0.1:{first.port}"
            self.assertIn(f"Open the page of {leader}, which leads", self.browser.text("#banner"))
            self.assertEqual(self.browser.run("return document.querySelector('#banner a').href"), f"http://{leader}/#/")
            self.open("clusters", base=base)
            self.browser.wait_text("Only the leader knows this", "main")
            self.browser.run("window.marker = 1")
            first.kill()
            self.browser.wait_text("0 clusters registered", "main")
            self.browser.wait("no banner", "return document.querySelector('#banner').innerText === ''")
            self.assertEqual((self.browser.run("return window.marker"), self.browser.text("#replica").split()[0]), (1, "leads"))
            second.stop()

    def wait_leading(self, daemon):
        end = time.monotonic() + 120
        while daemon.call("GET", "/v1/status")[1]["leads_since_ms"] == 0:
            self.assertLess(time.monotonic(), end, "it does not lead")
            time.sleep(0.05)


class Credentials(Case):
    expected = ("status of 401", "status of 403")

    def daemon(self, **settings):
        folder = tempfile.TemporaryDirectory(prefix="holdfast-web-access-")
        self.addCleanup(folder.cleanup)
        access = Path(folder.name) / "access"
        access.write_text("reader read-only * token a-token-of-a-reader\nops admin * token a-token-of-an-admin\n", "utf-8")
        daemon = Daemon(security_access__file=access, **settings)
        daemon.headers = {"Authorization": "Bearer a-token-of-an-admin"}
        self.addCleanup(daemon.remove)
        return daemon.start()

    def test_its_files_want_credentials_as_well(self):
        daemon = self.daemon()
        for path in FILES:
            self.assertEqual(daemon.call("GET", path, headers={"Authorization": "Bearer no-such-token-here"})[0], 401, path)
            self.assertEqual(daemon.call("GET", path)[0], 200, path)
        daemon.headers = {}
        self.assertEqual([daemon.call("GET", path)[0] for path in FILES], [401] * len(FILES))

    def test_opened_they_give_away_nothing_and_ask_for_a_token(self):
        daemon = self.daemon(status__page_open="true")
        admin, daemon.headers = daemon.headers, {}
        self.assertEqual([daemon.call("GET", path)[0] for path in FILES], [200] * len(FILES))
        for path in ("/v1/status", "/v1/clusters", "/v1/orphans", "/v1/audit", "/metrics", "/readyz", "/ui/none", "/ui"):
            self.assertEqual(daemon.call("GET", path)[0], 401, path)
        daemon.headers = admin
        base = f"http://127.0.0.1:{daemon.port}"
        self.open(base=base)
        self.heading("Who are you?")
        self.assertEqual(self.browser.text("#replica"), "")
        self.browser.run("document.querySelector('#token').focus()")
        self.browser.keys(*"wrong-token-is-wrong", "Enter")
        self.browser.wait_text("This token is not known here.")
        self.browser.run("const t = document.querySelector('#token'); t.value = ''; t.focus()")
        self.browser.keys(*"a-token-of-a-reader", "Enter")
        self.heading("holdfast leads")
        self.assertEqual(self.browser.run("return [sessionStorage.getItem('token'), localStorage.length, document.cookie, location.href]"),
                         ["a-token-of-a-reader", 0, "", base + "/#/"])
        self.browser.run("location.hash = '#/audit'")
        self.browser.wait_text("Your role may not see this.")
        self.browser.run("location.reload()")
        self.browser.wait_text("Your role may not see this.")
        self.browser.run("document.querySelector('#foot button').click()")
        self.heading("Who are you?")
        self.assertIsNone(self.browser.run("return sessionStorage.getItem('token')"))


class Many(Case):
    def register(self, daemon, numbers):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
        for number in numbers:
            connection.request("POST", f"/v1/clusters/tenant-{number % 100:02}/job-{number:05}/sessions", json.dumps(
                {"session": os.urandom(16).hex(), "holder": f"jm-{number}:6123", "ttl_ms": 300000}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
        connection.close()

    def test_a_long_list_is_turned_by_pages_and_searched(self):
        daemon = Daemon()
        self.addCleanup(daemon.remove)
        daemon.start()
        threads = [threading.Thread(target=self.register, args=(daemon, range(start, MANY, 16))) for start in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.open("clusters", base=f"http://127.0.0.1:{daemon.port}")
        self.browser.wait_text(f"{MANY:,} clusters registered")
        rows = "return [...document.querySelectorAll('#clusters tbody tr td:first-child')].map(e => e.innerText)"
        first = self.browser.wait("50 rows", f"const found = (() => {{ {rows} }})(); return found.length === 50 && found")
        self.assertEqual(first, sorted(first))
        self.browser.run("document.querySelectorAll('.pager button')[1].click()")
        self.browser.wait_text("Page 2", ".pager")
        second = self.browser.wait("other rows", f"const found = (() => {{ {rows} }})(); return found[0] !== arguments[0] && found", first[0])
        self.assertEqual(len(set(first + second)), 100)
        self.assertGreater(second[0], first[-1])
        self.browser.run("document.querySelectorAll('.pager button')[0].click()")
        self.browser.wait("the first page", f"const found = (() => {{ {rows} }})(); return found[0] === arguments[0]", first[0])
        self.browser.run("document.querySelector('#search').focus()")
        self.browser.keys(*f"job-{MANY - 1:05}")
        self.browser.wait("the one that was meant", f"const found = (() => {{ {rows} }})(); return found.length === 1 && found[0] === arguments[0]",
                          f"tenant-{(MANY - 1) % 100:02}/job-{MANY - 1:05}")
        slowest = self.browser.run("return Math.max(...performance.getEntriesByType('resource').map(e => e.duration))")
        print(f"{MANY} clusters: the slowest answer to the page took {slowest:.0f} ms", file=sys.stderr)


def screenshots(folder):
    """What the documents show."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    setUpModule("clicks-backfill")
    try:
        scene, browser = WORLD["scene"], WORLD["browser"]
        browser.open(scene.url)
        browser.wait_text("critical", "#alerts")
        manager = scene.managers["fraud/card-scoring"]
        job = f"clusters/fraud/card-scoring/{scene.jobs[manager][0]}"
        for name, path, size, phone, dark in (("overview", "", (1280, 890), False, False), ("job-dark", job, (1280, 860), False, True),
                                              ("orphans", "orphans", (1280, 590), False, False), ("observed", f"observed/batch/reports/{2:032x}", (1280, 890), False, False),
                                              ("phone", "", (390, 844), True, False), ("phone-dark", job, (390, 844), True, True)):
            browser.screen(*size, phone=phone, dark=dark)
            browser.open("about:blank")
            browser.open(f"{scene.url}/#/{path}")
            browser.wait(name, "return document.querySelector('main h1') !== null")
            browser.screenshot(folder / f"{name}.png")
    finally:
        unittest.doModuleCleanups()


if __name__ == "__main__":
    if "--screenshots" in sys.argv:
        screenshots(sys.argv[sys.argv.index("--screenshots") + 1])
    else:
        unittest.main()
