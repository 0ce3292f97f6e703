"""Waiting for what a descriptor brings, whatever its number, and for the end of a child."""

import contextlib
import os
import select
import subprocess


def await_end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Waits for the end of a child that was not waited for yet; without asking again and again if that can be."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # no descriptor is left, perhaps
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return
    try:
        is_ready(descriptor, seconds)
    finally:
        os.close(descriptor)


def is_ready(descriptor: int, seconds: float) -> bool:
    """Waits until there is something to read, or it is at its end; select(2) takes no descriptor above 1023."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
