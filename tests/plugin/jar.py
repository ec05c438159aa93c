#!/usr/bin/env python3
"""Builds the plugin and looks into the jar: one file for all lines of Flink, nothing but our own in it.

Its last line is "N passed, N failed".
"""

import os
import struct
import sys
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from lib import maven  # noqa: E402
from lib.failure import Failure  # noqa: E402

FACTORY = "io/holdfast/flink/HoldfastHaServicesFactory.class"
JAVA_11 = 55
ADAPTERS = ("V120", "V20", "V23")


def strangers(names):
    """Files that are not ours: a bundled dependency would meet Flink's own copy."""
    return [name for name in names
            if not name.endswith("/") and not name.startswith(("io/holdfast/", "META-INF/"))]


def too_new(jar, names):
    """Classes that a JDK 11 cannot load."""
    found = []
    for name in names:
        if name.endswith(".class"):
            magic, _, major = struct.unpack(">IHH", jar.read(name)[:8])
            if magic != 0xCAFEBABE or major > JAVA_11:
                found.append(f"{name}: class file version {major}")
    return found


def main():
    checks = []
    try:
        path, why = maven.plugin_jar(), ""
    except Failure as failure:
        path, why = None, str(failure)
    checks.append(("the_plugin_builds", path is not None, why))
    if path:
        with zipfile.ZipFile(path) as jar:
            names = jar.namelist()
            alien, new = strangers(names), too_new(jar, names)
        checks += [
            ("the_factory_that_the_manual_names_is_in_it", FACTORY in names, FACTORY),
            ("nothing_is_in_it_but_our_own", not alien, ", ".join(alien[:5])),
            ("jdk_11_can_load_it", not new, ", ".join(new[:5])),
        ]
        for adapter in ADAPTERS:
            name = f"io/holdfast/flink/HaServices{adapter}.class"
            checks.append((f"the_adapter_{adapter}_is_in_it", name in names, name))
    failed = 0
    for name, good, why in checks:
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {name}{'' if good else ': ' + why}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
