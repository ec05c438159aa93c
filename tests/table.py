"""The table of test suites: what there is, when it runs, what it proves.

A suite whose file is missing fails, so a row is added here together with its files.
"""

import collections

# tier: quick (./test quick and ./test) or full (./test only).
# build: the build folder it needs, see BUILDS. count: how its tests are counted, see suites.py.
# files: what must exist. "{name}" in a command: an item of suites.py's places().
Suite = collections.namedtuple("Suite", "name row tier build count timeout command files proves")

# Build folder -> CMake settings beside the common ones.
BUILDS = {
    "release": [],
    "asan": ["-DHF_SANITIZE=address,undefined"],
    "fuzz": ["-DCMAKE_C_COMPILER=clang", "-DHF_SANITIZE=address,undefined,fuzzer-no-link", "-DHF_FUZZ=ON",
             "-DHF_TESTS=OFF"],
}


def ctest(folder, label):
    return ["ctest", "--test-dir", "{build}/" + folder, "-L", label, "--no-tests=error", "-V", "-j", "{jobs}"]


def script(path, *arguments):
    return ["python3", "{root}/" + path, *arguments]


SUITES = [
    Suite("lint", "lint", "quick", "release", "tally", 300,
          script("tests/lint/lint.py", "--self-test"), ["tests/lint/lint.py"],
          "dependencies point one way, no banned call, one format, no dead link; planted violations are found"),
    Suite("unit", "unit", "quick", "release", "criterion", 300,
          ctest("release", "unit"), ["tests/unit/test_journal.c", "tests/unit/test_keyspace.c"],
          "each module does what its header says"),
    Suite("sanitize", "unit, ASan+UBSan", "full", "asan", "criterion", 900,
          ctest("asan", "unit"), ["tests/unit/test_journal.c"],
          "no bad access, no undefined behaviour, no leak in the unit tests"),
    Suite("fuzz", "fuzz", "full", "fuzz", "tally", 1800,
          script("tests/fuzz/run.py", "--build", "{build}/fuzz", "--seconds", "{fuzz_seconds}", "--jobs", "{jobs}"),
          ["tests/fuzz/run.py", "tests/fuzz/seeds.py"],
          "no input breaks a decoder or the HTTP server; what is accepted is written again byte for byte"),
]

# Not part of a run of all suites: they take arguments, and their output is for a reader.
TOOLS = {
    "campaign": Suite("campaign", "campaign", "tool", "release", "exit", 4 * 3600,
                      script("tests/e2e/campaign.py"), ["tests/e2e/campaign.py"],
                      "ARGS: --kills N --flink VERSION --target jobmanager|daemon --json FILE"),
    "run": Suite("run", "run", "tool", None, "exit", 3600,
                 ["{root}/run", "--once"], ["run"], "ARGS: --flink VERSION --json FILE"),
}
