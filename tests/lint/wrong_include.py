"""Compiles a copy of the real build rules with an include in the wrong direction."""

import os
import shutil
import subprocess
import tempfile

# Folder of the file, header it includes, whether the compiler must accept that.
CASES = (
    ("store", "base/status.h", True),
    ("store", "rpc/rpc.h", False),
    ("election", "store/txn.h", False),
    ("base", "store/txn.h", False),
    ("loop", "store/txn.h", False),
    ("backends", "rpc/rpc.h", False),
    ("rpc", "daemon/daemon.h", False),
    ("gc", "store/txn.h", False),
    ("collect", "rpc/rpc.h", False),
    ("cli", "rpc/rpc.h", False),
)
FOLDERS = ("base", "store", "election", "gc", "loop", "backends", "collect", "rpc", "alerts", "daemon", "cli")


def findings(root):
    with tempfile.TemporaryDirectory() as tree:
        shutil.copy(os.path.join(root, "CMakeLists.txt"), tree)
        for folder in FOLDERS:
            os.makedirs(os.path.join(tree, folder))
            with open(os.path.join(tree, folder, "empty.c"), "w") as file:
                file.write("extern int hf_empty;\n")
        for header in {case[1] for case in CASES}:
            with open(os.path.join(tree, header), "w") as file:
                file.write("extern int hf_header;\n")
        for number, (folder, header, _) in enumerate(CASES):
            with open(os.path.join(tree, folder, f"case{number}.c"), "w") as file:
                file.write(f'#include "{header}"\n')
        made = subprocess.run(["cmake", "-S", tree, "-B", tree + "/build", "-DHF_TESTS=OFF", "-DHF_PACKAGES=OFF"],
                              capture_output=True, text=True, check=False)
        if made.returncode:
            return ["cmake: " + made.stderr.strip()[-300:]]
        found = []
        for number, (folder, header, good) in enumerate(CASES):
            built = subprocess.run(["make", "-C", tree + "/build", "-f", f"CMakeFiles/hf_{folder}.dir/build.make",
                                    f"CMakeFiles/hf_{folder}.dir/{folder}/case{number}.c.o"],
                                   capture_output=True, text=True, check=False)
            says_missing = "No such file or directory" in built.stdout + built.stderr and header in built.stderr
            if good and built.returncode:
                found.append(f"{folder}/ cannot include {header}: {built.stderr.strip()[-200:]}")
            if not good and not (built.returncode and says_missing):
                found.append(f"{folder}/ can include {header}, or fails for another reason")
        return found
