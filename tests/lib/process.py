"""Child processes that never outlive the test."""
import os
import signal
import subprocess
import time

from .failure import Failure


class Process:
    """One program, its log file, and the signals the tests send it.

    The child runs in a session of its own, so that Ctrl-C reaches the test alone and the test decides the order of
    the end. setpriv makes the kernel kill it when the test itself is killed; that is bound to the thread that starts
    the child, hence: start processes from the main thread only.
    """

    def __init__(self, name, argv, log, env=None):
        self.name = name
        self.argv = [str(arg) for arg in argv]
        self.log = log
        self.env = env
        self.child = None
        self.killed_at = None

    @property
    def pid(self):
        return self.child.pid

    def start(self):
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.argv], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, env={**os.environ, **(self.env or {})}, start_new_session=True)
        return self

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def require_alive(self):
        if not self.alive():
            raise Failure(f"{self.name} ended with exit code {self.child.returncode}; its log: {self.log}")

    def kill(self):
        """kill -9, and the process is really gone on return. The time of the signal is in killed_at."""
        self.require_alive()
        self.killed_at = time.time()
        self.child.kill()
        self.child.wait()

    def pause(self):
        self.require_alive()
        self.child.send_signal(signal.SIGSTOP)

    def resume(self):
        self.child.send_signal(signal.SIGCONT)

    def stop(self, patience=10):
        """Orderly end, forced after `patience` seconds. Fine to call on a process that is gone or never started."""
        if not self.alive():
            return
        self.child.send_signal(signal.SIGCONT)
        self.child.terminate()
        try:
            self.child.wait(patience)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
