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
    "tsan": ["-DHF_SANITIZE=thread"],
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
    Suite("tidy", "clang-tidy", "full", None, "tally", 900,
          script("tests/lint/tidy.py", "--jobs", "{jobs}"), ["tests/lint/tidy.py", ".clang-tidy"],
          "clang-tidy finds nothing in any C file, and finds planted mistakes"),
    Suite("unit", "unit", "quick", "release", "criterion", 300,
          ctest("release", "unit"), ["tests/unit/test_journal.c", "tests/unit/test_keyspace.c"],
          "each module does what its header says"),
    Suite("contract", "contract", "quick", "release", "criterion", 300,
          ctest("release", "contract"), ["tests/contract/CMakeLists.txt"],
          "every backend keeps what its port promises"),
    Suite("crash", "crash", "quick", "release", "criterion", 600,
          ctest("release", "crash"), ["tests/crash/CMakeLists.txt", "tests/crash/test_operations.c"],
          "power lost, a kill or a failed call at every call to the file system: what was acknowledged is found again"),
    Suite("contract", "contract, S3", "full", "release", "criterion", 300,
          script("tests/contract/store.py", "--store", "s3"), ["tests/contract/store.py"],
          "the same cases on a real S3 server"),
    Suite("contract", "contract, HDFS", "full", "release", "criterion", 300,
          script("tests/contract/store.py", "--store", "hdfs", "--names", "3000"), ["tests/contract/store.py"],
          "the same cases on a real HDFS"),
    Suite("contract", "contract, HDFS pair", "full", "release", "criterion", 300,
          script("tests/contract/store.py", "--store", "hdfs-ha", "--names", "2000"), ["tests/contract/store.py"],
          "the same cases where the first NameNode of the list is standby"),
    Suite("rpc", "rpc", "quick", "release", "unittest", 300,
          script("tests/rpc/test_protocol.py"), ["tests/rpc/test_protocol.py"],
          "a real daemon answers as docs/protocol.md says, also to requests that are wrong"),
    Suite("bad-input", "bad input", "quick", "release", "unittest", 300,
          script("tests/rpc/test_bad_input.py"), ["tests/rpc/test_bad_input.py"],
          "wrong settings, foreign and damaged stores, a full disk, hostile connections: a clear error, nothing lost"),
    Suite("openapi", "openapi", "quick", "release", "unittest", 300,
          script("tests/rpc/test_openapi.py"), ["tests/rpc/test_openapi.py", "docs/openapi.yaml"],
          "docs/openapi.yaml describes the routes and the answers of the running daemon"),
    Suite("sanitize", "unit, ASan+UBSan", "full", "asan", "criterion", 900,
          ctest("asan", "unit"), ["tests/unit/test_journal.c"],
          "no bad access, no undefined behaviour, no leak in the unit tests"),
    Suite("sanitize", "contract, ASan+UBSan", "full", "asan", "criterion", 900,
          ctest("asan", "contract"), ["tests/contract/CMakeLists.txt"],
          "the same in the backends"),
    Suite("threads", "threads, TSan", "full", "tsan", "ctest", 600,
          ctest("tsan", "threads"), ["tests/threads/CMakeLists.txt"],
          "no data race between the loop and its workers"),
    Suite("fuzz", "fuzz", "full", "fuzz", "tally", 1800,
          script("tests/fuzz/run.py", "--build", "{build}/fuzz", "--seconds", "{fuzz_seconds}", "--jobs", "{jobs}"),
          ["tests/fuzz/run.py", "tests/fuzz/seeds.py"],
          "no input breaks a decoder or the HTTP server; what is accepted is written again byte for byte"),
    Suite("model", "model", "full", None, "tally", 1200,
          script("tests/model/check.py"), ["tests/model/check.py", "docs/model/log.pml", "docs/model/settle.pml"],
          "the rules of the commit protocol hold in every order of events; each deliberate defect is found"),
    Suite("plugin", "plugin", "full", None, "tally", 900,
          script("tests/plugin/jar.py"), ["tests/plugin/jar.py", "flink/pom.xml"],
          "one jar for every line of Flink, for JDK 11, with nothing in it but our own"),
    Suite("plugin", "plugin on five Flinks", "full", "release", "tally", 1800,
          script("tests/plugin/lines.py"), ["tests/plugin/lines.py", "flink/it/pom.xml"],
          "that jar keeps Flink's contracts when answers are lost, late or bad, on 1.20 and 2.0 to 2.3"),
    Suite("e2e", "run, Flink 1.20", "full", "release", "exit", 600,
          ["{root}/run", "--once", "--flink", "1.20", "--json", "{logs}/run-1.20.json"], ["run"],
          "kill -9 of the leading JobManager: takeover, newest checkpoint, retention, no file left"),
    Suite("e2e", "run, Flink 2.3", "full", "release", "exit", 600,
          ["{root}/run", "--once", "--flink", "2.3", "--json", "{logs}/run-2.3.json"], ["run"],
          "the same with the same jar on the newest line"),
    Suite("e2e", "campaign, 5 JobManager kills", "full", "release", "exit", 900,
          script("tests/e2e/campaign.py", "--kills", "5", "--flink", "1.20", "--json", "{logs}/campaign-jobmanager.json"),
          ["tests/e2e/campaign.py"],
          "at random moments: no acknowledged checkpoint lost, no id twice, no file left"),
    Suite("e2e", "campaign, 5 holdfastd kills", "full", "release", "exit", 900,
          script("tests/e2e/campaign.py", "--kills", "5", "--target", "daemon", "--flink", "2.3",
                 "--json", "{logs}/campaign-daemon.json"),
          ["tests/e2e/campaign.py"],
          "no acknowledged write lost, no job restarted"),
    Suite("e2e", "stale leader", "full", "release", "exit", 600,
          script("tests/e2e/stale_leader.py", "--json", "{logs}/stale-leader.json"), ["tests/e2e/stale_leader.py"],
          "a leader woken up after its time gets nothing written"),
    Suite("e2e", "quarantine, Flink 1.20", "full", "release", "exit", 600,
          script("tests/e2e/quarantine.py", "--flink", "1.20", "--json", "{logs}/quarantine-1.20.json"),
          ["tests/e2e/quarantine.py"],
          "an unreadable graph, result or old checkpoint stops no other job"),
    Suite("e2e", "quarantine, Flink 2.3", "full", "release", "exit", 600,
          script("tests/e2e/quarantine.py", "--flink", "2.3", "--json", "{logs}/quarantine-2.3.json"),
          ["tests/e2e/quarantine.py"],
          "the same for execution plans, applications and their results"),
    Suite("replicas", "replicas, 5 kills", "full", "release", "exit", 600,
          script("tests/e2e/replicas.py", "--kills", "5", "--json", "{logs}/replicas-kill.json"), ["tests/e2e/replicas.py"],
          "three replicas on a ZooKeeper ensemble: kill -9 of the leader under load loses no commit and no session"),
    Suite("replicas", "replicas, a leader asleep", "full", "release", "exit", 600,
          script("tests/e2e/replicas.py", "--kills", "2", "--how", "pause", "--session-ms", "2000",
                 "--json", "{logs}/replicas-pause.json"), ["tests/e2e/replicas.py"],
          "one that slept through its lease acknowledges nothing when it wakes"),
    Suite("replicas", "replicas, drills", "full", "release", "exit", 600,
          script("tests/e2e/replicas.py", "--kills", "3", "--how", "drill", "--json", "{logs}/replicas-drill.json"),
          ["tests/e2e/replicas.py", "cli/cmd_drill.c"],
          "`holdfast drill` on three replicas under load: hands over, loses nothing, and measures what the load saw"),
    Suite("drill", "drill of JobManagers", "full", "release", "exit", 600,
          script("tests/e2e/drill.py", "--json", "{logs}/drill.json"), ["tests/e2e/drill.py"],
          "`holdfast drill CLUSTER` on a real Flink: the standby takes over, the job goes on, the report is what the logs say"),
    Suite("metadata-oracle", "metadata, Flink as oracle", "full", "release", "exit", 900,
          script("tests/e2e/metadata_oracle.py", "--flink", "1.20", "--flink", "2.3", "--mode", "rocksdb", "--mode", "changelog",
                 "--mode", "unaligned", "--checkpoints", "8", "--json", "{logs}/metadata-oracle.json"),
          ["tests/e2e/metadata_oracle.py"],
          "what `holdfast metadata show` lists is what Flink itself reads, on checkpoints that real jobs wrote"),
]

# Not part of a run of all suites: they take arguments, and their output is for a reader.
TOOLS = {
    "contract": Suite("contract", "contract", "tool", "release", "criterion", 1800,
                      script("tests/contract/store.py"), ["tests/contract/store.py"],
                      "ARGS: --store memory|file|s3|hdfs|hdfs-ha --filter CASES --verbose"),
    "campaign": Suite("campaign", "campaign", "tool", "release", "exit", 4 * 3600,
                      script("tests/e2e/campaign.py"), ["tests/e2e/campaign.py"],
                      "ARGS: --kills N --flink VERSION --target jobmanager|daemon --json FILE"),
    "bench": Suite("bench", "bench", "tool", "release", "exit", 4 * 3600,
                   script("tests/bench/bench.py"), ["tests/bench/bench.py"],
                   "ARGS: --json FILE; commits and sessions, beside Flink's ZooKeeper store"),
    "model": Suite("model", "model", "tool", None, "exit", 4 * 3600,
                   script("tests/model/check.py"), ["tests/model/check.py"],
                   "ARGS: --large --only TEXT --json FILE --table"),
    "fresh": Suite("fresh", "fresh Debian 12", "tool", None, "exit", 3600,
                   script("tests/fresh/debian12.py"), ["tests/fresh/debian12.py"],
                   "ARGS: --json FILE; clone, ./run and ./test quick on a minimal Debian of its own"),
    "replicas": Suite("replicas", "replicas", "tool", "release", "exit", 4 * 3600,
                      script("tests/e2e/replicas.py"), ["tests/e2e/replicas.py"],
                      "ARGS: --kills N --how kill|term|pause --election zookeeper --json FILE"),
    "metadata-oracle": Suite("metadata-oracle", "metadata, Flink as oracle", "tool", "release", "exit", 2 * 3600,
                             script("tests/e2e/metadata_oracle.py"), ["tests/e2e/metadata_oracle.py"],
                             "ARGS: --flink VERSION --mode MODE --checkpoints N --json FILE"),
    "run": Suite("run", "run", "tool", None, "exit", 3600,
                 ["{root}/run", "--once"], ["run"], "ARGS: --flink VERSION --json FILE"),
}
