"""Where things are: the source tree, the build, the cache of downloaded and built jars."""
import contextlib
import fcntl
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HOLDFAST_BUILD", ROOT / "build" / "release"))
FIXTURE = ROOT / "tests" / "fixtures" / "flink"
CACHE = Path(os.environ.get("HOLDFAST_CACHE", Path.home() / ".cache" / "holdfast"))


@contextlib.contextmanager
def cache_lock(name):
    """Holds a file lock in the cache, so that tests started side by side do not build the same thing twice."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
