"""What must be done while no job of maintd's is at work: under its lock, or while the daemon that holds it pauses."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from maintd import lock
from maintd.cli import reach
from maintd.cli.invocation import Invocation
from maintd.config import Config
from maintd.errors import Locked, MaintdError, Unreachable
from maintd.state import ALL_JOBS

_PAUSE = 3600
_PATIENCE = 60.0
"""Seconds for what the daemon has begun to end."""


@contextmanager
def alone(called: Invocation, config: Config) -> Iterator[None]:
    """No job of maintd's is at work meanwhile: by its lock, or by a pause of the daemon that holds it."""
    try:
        held = lock.take(config.settings.state_dir)
    except Locked as locked:
        with _paused(called, locked):
            yield
        return
    try:
        yield
    finally:
        os.close(held)


@contextmanager
def _paused(called: Invocation, locked: Locked) -> Iterator[None]:
    try:
        was_paused = bool(reach.ask(called, "GET", "/status")["paused_all"])
        if not was_paused:
            reach.ask(called, "POST", "/pause", {"job": ALL_JOBS, "seconds": _PAUSE})
        end = time.monotonic() + _PATIENCE
        while any(job["state"] == "running" for job in reach.ask(called, "GET", "/status")["jobs"]):
            if time.monotonic() > end:
                raise MaintdError("the daemon is at work on something long", hint="try again later: maintd status")
            time.sleep(0.2)
    except Unreachable as error:
        raise Unreachable(f"{locked}, and {error}", hint=error.hint) from error
    try:
        yield
    finally:
        if not was_paused:
            reach.ask(called, "POST", "/resume", {"job": ALL_JOBS})
