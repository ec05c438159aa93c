"""Free ports for the few programs that cannot choose one themselves."""
import socket


def free_port():
    """A port that was free a moment ago. Prefer port 0 in the program's own configuration where it has that."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
