"""Ports for the few programs that cannot choose one themselves, and for those that have to come back to theirs."""
import fcntl
import os
import random
import socket
import tempfile
import threading

_FIRST = 10240
_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
_ours = set()
_file = None
_mutex = threading.Lock()


def _candidates():
    """Below those that the kernel hands out for port 0 and for connections: no other program gets one by chance."""
    with open(_RANGE, encoding="ascii") as file:
        low = int(file.read().split()[0])
    return range(_FIRST, low) if low >= _FIRST + 4096 else range(_FIRST, 65536)


def _take(port):
    """Whether it is ours until this process ends: a lock on a byte of one file keeps other tests away from it."""
    global _file
    if _file is None:
        path = os.path.join(tempfile.gettempdir(), f"holdfast-test-ports-{os.getuid()}")
        _file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    """A port that nobody uses, for this test alone. Prefer port 0 in the program's own configuration where it has that."""
    candidates = _candidates()
    with _mutex:
        while True:
            port = random.choice(candidates)
            if port not in _ours and _take(port):
                _ours.add(port)
                return port
