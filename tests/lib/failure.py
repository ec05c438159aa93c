"""Failure in one line, and bounded waiting: the only way these tests wait for anything."""
import time


class Failure(Exception):
    """Something did not hold. The text is one line that a person can act on."""


def require(holds, otherwise):
    if not holds:
        raise Failure(otherwise)


def wait_until(predicate, timeout, what, poll=0.05):
    """The first true value of predicate(); a Failure naming `what` when none comes in time.

    `what` may be a callable, so that the message can tell what was seen last.
    """
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            text = what() if callable(what) else what
            raise Failure(f"waited {timeout:.0f} s in vain for {text}")
        time.sleep(poll)
