"""One test's whole world: a folder, a coordinator, a Flink; everything ends with the block that opened it."""
import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from . import maven, places
from .failure import Failure
from .flink import Flink
from .holdfastd import Holdfastd
from .zookeeper import ZooKeeper


class Rig:
    """with Rig(...) as rig: rig.ha and rig.flink run. The folder is kept when the block fails, or on request."""

    def __init__(self, name, flink, ha="holdfast", work=None, options=None, ha_options=None, quiet=False, store="file",
                 **flink_kw):
        self.name = name
        self.version = maven.flink_version(flink)
        self.quiet = quiet
        #: "holdfast", "zookeeper", or a class of the same shape as Holdfastd.
        self._ha_kind = {"holdfast": Holdfastd, "zookeeper": ZooKeeper}.get(ha, ha)
        self._keep = work is not None
        self._given = work
        self._options = options
        self._ha_options = ha_options or {}
        self._flink_kw = flink_kw
        self._begin = time.monotonic()
        self._store = store  # a name of places.py
        self.work = self.place = self.ha = self.flink = None
        self.on_exit = []

    def say(self, text):
        if not self.quiet:
            print(f"[{time.monotonic() - self._begin:6.1f} s] {text}", flush=True)

    def __enter__(self):
        # A polite end from outside is an end like Ctrl-C: through the clean-up. SIGINT is set as well, because a
        # shell starts its background jobs with SIGINT ignored, and Python leaves it so.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._given:
            self.work = Path(self._given).absolute()
            if self.work.exists() and any(self.work.iterdir()):
                raise Failure(f"the working folder {self.work} is not empty")
            self.work.mkdir(parents=True, exist_ok=True)
        else:
            self.work = Path(tempfile.mkdtemp(prefix=f"holdfast-{self.name}-"))
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _start(self):
        self.say(f"Flink {self.version}: jars (downloaded on first use)")
        maven.flink_lib(self.version)
        maven.job_jar()
        if self._ha_kind is not ZooKeeper:
            maven.plugin_jar()
        self.say(f"starting {self._ha_kind.kind}; "
                 f"everything of this run is in {self.work}")
        self.place = places.place(self._store, self.work)
        self.place.start()
        if self._ha_kind is not ZooKeeper:
            self._ha_options = {"place": self.place, **self._ha_options}
        self.ha = self._ha_kind(self.work, **self._ha_options)
        self.ha.start()
        self.flink = Flink(self.work, self.version, self.ha, self._options, place=self.place, **self._flink_kw)

    def __exit__(self, kind, error, _trace):
        # A second Ctrl-C must not leave half of the processes behind.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for action in reversed(self.on_exit):
                action()
            if self.flink:
                self.flink.stop()
            if self.ha:
                self.ha.stop()
            if self.place:
                self.place.stop()
        finally:
            signal.signal(signal.SIGINT, previous)
        failed = kind is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit))
        if self._keep or failed:
            self.say(f"logs: {self.work}/logs and the other folders in {self.work}")
        else:
            shutil.rmtree(self.work, ignore_errors=True)


def write_json(path, result):
    """The report, whole or not at all."""
    text = json.dumps(result, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    scratch = f"{path}.{os.getpid()}"
    with open(scratch, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(scratch, path)


@contextlib.contextmanager
def reported(path, result):
    """The block fills the report, which goes to `path`, when one is given, however the block ends."""
    result["ok"] = False
    try:
        yield
        result["ok"] = True
    except (Failure, KeyboardInterrupt) as failure:
        result["error"] = str(failure) or "stopped"
        raise
    finally:
        if path:
            write_json(path, result)


class Parser(argparse.ArgumentParser):
    """Of a script with a rig: --flink, --json and --work."""

    def __init__(self, prog, description, report="what was seen"):
        super().__init__(prog=prog, description=description.splitlines()[0])
        self.add_argument("--flink", metavar="VERSION", default="1.20",
                          help=f"Flink line ({', '.join(maven.FLINK_LINES)}) or full version; default 1.20")
        self.add_argument("--json", metavar="FILE", help=f"write {report} to FILE")
        self.add_argument("--work", metavar="DIR", help="work in DIR and keep it; default: a temporary folder")

    def parse_args(self, *arguments):
        args = super().parse_args(*arguments)
        try:
            maven.flink_version(args.flink)
        except Failure as failure:
            self.error(str(failure))
        return args


def main_guard(name, body):
    """Runs body() and turns its end into an exit code: 0 held, 1 did not, 130 interrupted. One line says why."""
    try:
        sys.exit(body())
    except Failure as failure:
        print(f"{name}: FAILED: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        sys.exit(130)
