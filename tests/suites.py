#!/usr/bin/env python3
"""Builds, runs the suites of table.py, and says what passed. Called by ./test."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import table

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
LOGS = os.path.join(BUILD, "test-logs")
CI = os.environ.get("CI") == "true"
BUILD_TIMEOUT_S = 1200
HEARTBEAT_S = 30
TAIL_LINES = 60
#: So many rows of a run may be tried again (docs/decisions/0015); more of them are no accident of the machine.
SECOND_TRIES = 3


def places():
    """What stands in braces in a command of the table."""
    return {"root": ROOT, "build": BUILD, "logs": LOGS, "jobs": str(os.cpu_count() or 1),
            "fuzz_seconds": os.environ.get("HF_FUZZ_SECONDS", "60" if CI else "20")}


class Result:
    def __init__(self, name, passed, failed, seconds, note="", processor_s=0.0):
        self.name, self.passed, self.failed, self.seconds, self.note = name, passed, failed, seconds, note
        self.processor_s = processor_s
        self.second_try = False


class StallWatch:
    """How long at most this machine let a thread of ours wait that wanted to run, in seconds: what a lease of a few
    seconds has to bear beside its test."""

    STEP_S = 0.05

    def __init__(self):
        self._worst = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            before = time.monotonic()
            time.sleep(self.STEP_S)
            self._worst = max(self._worst, time.monotonic() - before - self.STEP_S)

    def take(self):
        worst, self._worst = self._worst, 0.0
        return worst


def processor_s():
    """Processor time of all that ran and has ended, in seconds: what a slower or busier machine has to find."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def say(text):
    print(text, flush=True)


def stop_group(process):
    """Ends a suite and what it started: politely first, so that it can stop its own servers."""
    for number, patience_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def run_logged(what, command, log, timeout_s, echo=False):
    """Runs a command into a log file; returns (exit code or None when it timed out, seconds)."""
    start = time.monotonic()
    with open(log, "wb") as out:
        try:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL,
                                       stdout=None if echo else out, stderr=None if echo else subprocess.STDOUT,
                                       start_new_session=True)
        except OSError as error:
            out.write(f"cannot start {command[0]}: {error.strerror}\n".encode())
            return 127, 0.0
        try:
            while True:
                try:
                    code = process.wait(HEARTBEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    passed_s = time.monotonic() - start
                    if passed_s > timeout_s:
                        out.write(f"\nstopped: no end after {timeout_s} s\n".encode())
                        stop_group(process)
                        return None, passed_s
                    if not echo:
                        say(f"    {what}: {passed_s:.0f} s so far")
        except BaseException:
            stop_group(process)
            raise
    return code, time.monotonic() - start


#: What tells of a test that passed, in the words of each framework.
PASSED_LINE = re.compile(r"(\.\.\. |^)ok$|^\d*:?\s*\[PASS\]|\.+ +Passed +[\d.]+ sec$")
#: The name of a test that failed.
FAILED_NAME = re.compile(r"^(?:ERROR|FAIL): (\w+)|^\d*:?\s*\[FAIL\] (\S+?):?(?: |$)|^(?:not ok|FAILED:?) (.{1,80})", re.M)


def tail(log):
    """The end of a log without the tests that passed: what an output that is cut short still has to show."""
    with open(log, errors="replace") as lines:
        kept = [line.rstrip() for line in lines if not PASSED_LINE.search(line.rstrip())]
    for line in kept[-TAIL_LINES:]:
        say("    | " + line)
    say(f"    log: {log}")


def failed_names(text):
    """The tests that failed, as far as the framework names them."""
    return list(dict.fromkeys(next(filter(None, found)) for found in FAILED_NAME.findall(text)))


def count_tests(how, text, code):
    """(passed, failed) as the suite's own output tells. No test at all is a failure."""
    passed = failed = 0
    if how == "criterion":
        for tested, good in re.findall(r"Synthesis: Tested: (\d+) \| Passing: (\d+)", text):
            passed += int(good)
            failed += int(tested) - int(good) if int(tested) else 1
        # A program that died has no synthesis; ctest's own verdict counts it.
        broken = len(re.findall(r"^\s*\d+/\d+ Test +#\d+:.*(?:\*\*\*|Not Run)", text, re.M))
        failed = max(failed, broken)
    elif how == "tally":
        found = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.M)
        if found:
            passed, failed = int(found[-1][0]), int(found[-1][1])
    elif how == "ctest":
        found = re.findall(r"(\d+) tests failed out of (\d+)", text)
        if found:
            failed = int(found[-1][0])
            passed = int(found[-1][1]) - failed
    elif how == "unittest":
        for ran, verdict in re.findall(r"^Ran (\d+) tests? in [^\n]*\n+((?:OK|FAILED)[^\n]*)", text, re.M):
            bad = sum(int(n) for n in re.findall(r"(?:failures|errors|unexpected successes)=(\d+)", verdict))
            skipped = sum(int(n) for n in re.findall(r"skipped=(\d+)", verdict))
            failed += bad
            passed += int(ran) - bad - skipped
    elif how == "exit":
        passed = 1 if code == 0 else 0
    else:
        raise ValueError(how)
    if code != 0 or passed + failed == 0:
        failed = max(failed, 1)
    return passed, failed


def build(folder):
    """Configures and builds one folder of table.BUILDS; returns a Result, which counts no tests unless it failed."""
    path = os.path.join(BUILD, folder)
    log = os.path.join(LOGS, f"build-{folder}.log")
    say(f"==> build {folder}")
    configure = ["cmake", "-S", ROOT, "-B", path, "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                 f"-DHF_WERROR={'ON' if CI else 'OFF'}", *table.BUILDS[folder]]
    seconds, before = 0.0, processor_s()
    for command in (configure, ["cmake", "--build", path, "--parallel", places()["jobs"]]):
        code, took = run_logged(f"build {folder}", command, log, BUILD_TIMEOUT_S)
        seconds += took
        if code != 0:
            tail(log)
            return Result(f"build {folder}", 0, 1, seconds, log)
    say(f"    built in {seconds:.0f} s")
    return Result(f"build {folder}", 0, 0, seconds, "", processor_s() - before)


def run_suite(suite, extra=(), echo=False, stalls=None, again=False):
    missing = [path for path in suite.files if not os.path.exists(os.path.join(ROOT, path))]
    if missing:
        say(f"==> {suite.row}: FAILED: no such file: {', '.join(missing)}")
        return Result(suite.row, 0, 1, 0.0, "missing: " + ", ".join(missing))
    say(f"==> {suite.row}: {'a second try' if again else suite.proves}")
    log = os.path.join(LOGS, re.sub(r"[^a-z0-9.]+", "-", suite.row.lower()) + ("-again" if again else "") + ".log")
    command = [part.format(**places()) for part in suite.command] + list(extra)
    before = processor_s()
    if stalls:
        stalls.take()
    code, seconds = run_logged(suite.row, command, log, suite.timeout, echo)
    if code == 127 and not echo:
        tail(log)
        return Result(suite.row, 0, 1, seconds, log)
    with open(log, errors="replace") as file:
        text = file.read()
    passed, failed = count_tests("exit" if echo else suite.count, text, code)
    if failed:
        say(f"    FAILED: {'timed out' if code is None else f'exit code {code}'}"
            f"{'' if passed + failed > 1 or code else ', no test ran'}"
            f"{': ' if failed_names(text) else ''}{', '.join(failed_names(text)[:8])}")
        if stalls:
            say(f"    the machine stood still for {stalls.take():.1f} s at most meanwhile")
        if not echo:
            tail(log)
    else:
        say(f"    {passed} passed in {seconds:.0f} s")
    return Result(suite.row, passed, failed, seconds, log if failed else "", processor_s() - before)


def run_all(suites, extra=(), echo=False):
    results, built, stalls, tries = [], {}, StallWatch(), 0
    for suite in suites:
        folder = suite.build
        if folder and folder not in built:
            built[folder] = build(folder)
            results.append(built[folder])
        if folder and built[folder].failed:
            say(f"==> {suite.row}: FAILED: build {folder} is broken")
            results.append(Result(suite.row, 0, 1, 0.0, "not built"))
            continue
        result = run_suite(suite, extra, echo, stalls)
        if (result.failed and CI and tries < SECOND_TRIES
                and not {suite.name, suite.row} & table.FIRST_TRY_ONLY):
            tries += 1
            first, result = result, run_suite(suite, extra, echo, stalls, again=True)
            result.second_try = True
            result.seconds += first.seconds
            result.processor_s += first.processor_s
            result.note = f"second try; the first: {first.note}" + (f"; the second: {result.note}" if result.note else "")
        results.append(result)
    return results


def report(results):
    say("")
    say(f"{'suite':34} {'passed':>7} {'failed':>7} {'seconds':>8} {'processor':>9}")
    for result in results:
        say(f"{result.name:34} {result.passed:7} {result.failed:7} {result.seconds:8.1f} {result.processor_s:9.1f}"
            + (f"  {result.note}" if result.note else ""))
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    say(f"{'all':34} {passed:7} {failed:7} {sum(r.seconds for r in results):8.1f} "
        f"{sum(r.processor_s for r in results):9.1f}")
    again = [result.name for result in results if result.second_try and not result.failed]
    if again:
        say(f"UNSTEADY, passed only when tried again, to be looked into: {', '.join(again)}")
    say(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def is_tool(arguments):
    """A name of TOOLS. Of those that are names of suites as well, the suites are meant when nothing follows."""
    return arguments[0] in table.TOOLS and (arguments[0] not in ("contract", "election") or
                                            arguments[1:2] in (["--store"], ["--election"]))


def choose(arguments):
    """(suites, arguments for the one script) for a command line."""
    if not arguments:
        return table.SUITES, []
    if arguments[:2] == ["contract", "--election"]:
        arguments = ["election", *arguments[1:]]
    if is_tool(arguments):
        return [table.TOOLS[arguments[0]]], arguments[1:]
    if arguments[0] == "fuzz" and "--seconds" in arguments:
        at = arguments.index("--seconds")
        if at + 1 >= len(arguments) or not arguments[at + 1].isdigit():
            sys.exit("test: --seconds needs a number")
        os.environ["HF_FUZZ_SECONDS"] = arguments[at + 1]
        arguments = arguments[:at] + arguments[at + 2:]
    chosen = []
    for name in arguments:
        found = [s for s in table.SUITES if s.name == name or (name == "quick" and s.tier == "quick")]
        if not found:
            names = sorted({s.name for s in table.SUITES} | set(table.TOOLS))
            sys.exit(f"test: no suite named {name}; there are: quick {' '.join(names)}")
        chosen += [s for s in found if s not in chosen]
    return chosen, []


def main():
    arguments = sys.argv[1:]
    if arguments in (["--list"], ["--help"], ["-h"]):
        for suite in table.SUITES + list(table.TOOLS.values()):
            say(f"{suite.name:10} {suite.tier:6} {suite.row:30} {suite.proves}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(LOGS, exist_ok=True)
    unknown = table.FIRST_TRY_ONLY - {word for suite in table.SUITES for word in (suite.name, suite.row)}
    if unknown:
        sys.exit(f"test: FIRST_TRY_ONLY of table.py names what is no suite: {', '.join(sorted(unknown))}")
    suites, extra = choose(arguments)
    # The output of most tools is for a reader; of one whose tests are counted it goes to the log.
    echo = bool(arguments) and is_tool(arguments) and suites[0].count == "exit"
    try:
        return report(run_all(suites, extra, echo))
    except KeyboardInterrupt:
        say("test: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
