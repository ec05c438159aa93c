"""Candidates of an election as processes, what they said, and that never two of them led."""
import os
import subprocess
import threading
import time
from collections import namedtuple

from lib.failure import Failure, wait_until

Word = namedtuple("Word", "ms what text")


def now_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Candidate:
    """tests/contract/candidate.c."""

    def __init__(self, binary, election, scope, address, env, log):
        self.address = address
        self.words = []
        self.killed_ms = None
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", str(binary), election, scope, address], env={**os.environ, **env},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True, bufsize=1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.child.stdout:
            ms, what, text = (line.rstrip("\n") + "  ").split(" ", 2)
            self.words.append(Word(int(ms), what, text.strip()))

    def order(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def said(self, *whats):
        return [word for word in list(self.words) if word.what in whats]

    def leads(self):
        last = self.said("granted", "lost")
        return bool(last) and last[-1].what == "granted"

    def knows(self):
        """Who leads as it was told last."""
        last = self.said("leader")
        return last[-1].text if last else ""

    def valid_until(self, before_ms=None):
        """What it claimed last, or had claimed at a moment."""
        last = [word for word in self.said("valid") if before_ms is None or word.ms <= before_ms]
        return int(last[-1].text) if last else 0

    def claims(self, at_ms):
        """Whether it acted as the leader then, had it acted."""
        if self.killed_ms is not None and at_ms >= self.killed_ms:
            return False
        reign = [word for word in self.said("granted", "lost", "closing") if word.ms <= at_ms]
        return bool(reign) and reign[-1].what == "granted" and self.valid_until(at_ms) > at_ms

    def wait(self, what, count=1, timeout=60):
        return wait_until(lambda: self.said(what)[count - 1:count], timeout,
                          lambda: f"{self.address} to say {what!r} {count} times, said {self.words[-6:]}", poll=0.01)[0]

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        self.child.kill()
        self.child.wait()
        self._reader.join(60)
        self.killed_ms = now_ms()
        return self.killed_ms

    def close(self, timeout=60):
        """An orderly end. Returns how long it took in seconds."""
        start = time.monotonic()
        if self.child.poll() is None:
            self.order("close")
        code = self.child.wait(timeout)
        self._reader.join(60)
        if code != 0:
            raise Failure(f"candidate {self.address} ended with {code}")
        return time.monotonic() - start

    def end(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self._reader.join(60)
        self.child.stdout.close()
        self.child.stdin.close()


class Field:
    """All candidates of one test."""

    def __init__(self, binary, election, scope, env, folder):
        self._binary, self._election, self._scope = binary, election, scope
        self._env, self._folder = env, folder
        self.all = []

    def add(self, address=None, scope=None, **env):
        address = address or f"10.0.0.{len(self.all) + 1}:7070"
        log = self._folder / f"{self._scope}.log"
        one = Candidate(self._binary, self._election, scope or self._scope, address, {**self._env, **env}, log)
        self.all.append(one)
        return one

    def stand(self, count, **env):
        """That many, in line in this order; the first leads, and all know."""
        for _ in range(count):
            self.add(**env).wait("leader")
        self.wait_leader()
        return self.all

    def living(self):
        return [one for one in self.all if one.child.poll() is None]

    def leader(self):
        return next((one for one in self.living() if one.leads()), None)

    def wait_leader(self, besides=None, timeout=120, knowing=None):
        """Another one leads than `besides`, and all of `knowing` (else all that live) know who."""
        def led():
            leader = next((one for one in self.living() if one.leads() and one is not besides), None)
            known = self.living() if knowing is None else knowing
            return leader if leader and all(one.knows() == leader.address for one in known) else None
        return wait_until(led, timeout, lambda: f"a leader; they said {[one.words[-3:] for one in self.all]}", poll=0.005)

    def check_one_leader(self):
        """At no grant did somebody else still claim to lead."""
        grants = 0
        for one in self.all:
            for grant in one.said("granted"):
                grants += 1
                rivals = [other for other in self.all if other is not one and other.claims(grant.ms)]
                if rivals:
                    raise Failure(f"{one.address} was granted at {grant.ms}, while {rivals[0].address} claimed to lead until "
                                  f"{rivals[0].valid_until(grant.ms)}: {rivals[0].words[-8:]}")
        if not grants:
            raise Failure("nobody ever led")

    def end(self):
        for one in self.all:
            one.end()
