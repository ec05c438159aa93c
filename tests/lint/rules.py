"""What lint.py forbids. One place to read the rules of the house."""

# Folder of C -> our own folders its quoted includes may name.
# The link lines of CMakeLists.txt say the same to the compiler.
MAY_INCLUDE = {
    "base": {"base"},
    "store": {"base", "store"},
    "election": {"base", "election"},
    "gc": {"base", "store", "gc"},
    "alerts": {"base", "alerts"},
    "loop": {"base", "loop"},
    "backends": {"base", "store", "election", "gc", "loop", "backends"},
    "rpc": {"base", "store", "election", "gc", "loop", "rpc"},
    "collect": {"base", "gc", "backends", "collect"},
    "daemon": {"base", "store", "election", "gc", "loop", "backends", "collect", "rpc", "alerts", "daemon"},
    "cli": {"base", "gc", "backends", "collect", "cli"},
}

# Pure folders: event in, effects out. Time, randomness and bytes come with the event.
PURE = {"store", "election", "gc", "alerts"}
IMPURE_HEADERS = ("uv.h", "curl/", "zookeeper", "openssl/", "time.h", "sys/time.h", "unistd.h", "pthread.h",
                  "jansson.h", "llhttp.h", "yaml.h", "sys/socket.h", "fcntl.h")

# Function -> what to use instead.
BANNED = {
    "strcpy": "hf_buf or snprintf", "strcat": "hf_buf or snprintf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "strtok": "a loop over the bytes", "atoi": "a checked number",
    "atol": "a checked number", "atoll": "a checked number", "localtime": "gmtime_r", "gmtime": "gmtime_r",
    "rand": "random bytes of the event", "system": "nothing: no shell", "popen": "nothing: no shell",
    "gets": "fgets", "alloca": "a buffer with a limit",
}

ALLOCATORS = ("malloc", "calloc", "realloc", "free", "strdup", "strndup", "asprintf", "vasprintf")
ALLOCATOR_HOME = "base/memory.c"

FUNCTION_LINES_MAX = 150  # longer ones are listed for discussion, they do not fail

# Written in pieces so that this file is not a finding itself.
MACHINE_PATHS = ("/wo" + "rk/", "/tmp/br" + "ief", "/home/[a-z]", "/ro" + "ot/", "/Us" + "ers/[a-z]")
REGISTRY_HOSTS = r"(?:art" + r"ifactory|nex" + r"us|mir" + r"ror|pro" + r"xy)[a-z0-9-]*\.[a-z0-9.-]+\.[a-z]{2,}\b"

# Checks that the tree is not asked to pass yet.
PENDING = set()
