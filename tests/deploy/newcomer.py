#!/usr/bin/env python3
"""How long a newcomer waits: from `apt install` and from `helm template` to a Flink cluster whose JobManager was lost without harm.

The two guides are followed to the letter (tests/guides), and each of their steps is timed. What a reader reads and types, and
what he downloads (Flink, images), comes on top. On Kubernetes a stand-in starts the pods; a real node pulls images first.
"""
import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "guides"), str(HERE.parent)]
import follow  # noqa: E402
from lib.failure import require  # noqa: E402
from lib.rig import main_guard, reported  # noqa: E402

#: Path -> guide, and its last step that counts.
PATHS = {"apt install": ("flink-standalone", "4. See that it works"),
         "helm template": ("flink-native-kubernetes", "6. See that it works")}
BOUND_S = 600


def walk(guide, last):
    """The steps up to the last one."""
    steps = follow.follow(guide)
    names = [name for name, _ in steps]
    require(last in names, f"{guide} has no step {last}")
    return steps[:names.index(last) + 1]


def main():
    parser = argparse.ArgumentParser(prog="newcomer", description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the seconds of each step to FILE")
    args = parser.parse_args()
    result = {"bound_s": BOUND_S, "paths": {}}
    with reported(args.json, result):
        for path, (guide, last) in PATHS.items():
            steps = walk(guide, last)
            total = sum(seconds for _, seconds in steps)
            result["paths"][path] = {"guide": guide, "seconds": round(total, 1),
                                     "steps": [{"step": name, "seconds": round(seconds, 1)} for name, seconds in steps]}
            print(f"{path}: {total:.1f} s", *(f"{seconds:8.1f}  {name}" for name, seconds in steps), sep="\n", flush=True)
            require(total < BOUND_S, f"{path} takes {total:.0f} s")


if __name__ == "__main__":
    main_guard("newcomer", main)
