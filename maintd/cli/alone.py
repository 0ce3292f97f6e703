"""What must be done while no job of maintd's is at work: under its lock, or while the daemon that holds it pauses."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from maintd import lock
from maintd.cli import reach
from maintd.cli.invocation import Invocation
from maintd.config import Config
from maintd.errors import Locked, MaintdError, Unreachable
from maintd.state import ALL_JOBS

_PAUSE = 3600
"""Seconds that the daemon is paused for what may be killed; what is at work begins that anew after a sixth of it."""
_PATIENCE = 60.0
"""Seconds for what the daemon has begun to end."""


class Hold:
    """What keeps jobs from work: until when the pause lasts that was begun for it, "" if none was."""

    def __init__(self, called: Invocation, until: str = "") -> None:
        self.until = until
        self._called, self._is_over = called, threading.Event()

    @contextmanager
    def renewed(self, told: Callable[[str], None]) -> Iterator[None]:
        """Lets the pause last as long as the block, in a thread, and tells until when, by and by."""
        told(self.until)
        if not self.until:
            yield
            return
        renewing = threading.Thread(target=self._renew, args=(told,), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._is_over.set()
            renewing.join()

    def _renew(self, told: Callable[[str], None]) -> None:
        while not self._is_over.wait(_PAUSE / 6):
            with suppress(MaintdError, OSError):  # a daemon that is started anew knows of its pause, and is asked again
                if reach.ask(self._called, "GET", "/status")["paused_all_until"] != self.until:
                    return  # somebody has ended it, or begun another one
                reach.ask(self._called, "POST", "/pause", {"job": ALL_JOBS, "seconds": _PAUSE})
                self.until = str(reach.ask(self._called, "GET", "/status")["paused_all_until"])
                told(self.until)


@contextmanager
def alone(called: Invocation, config: Config, left: str = "") -> Iterator[Hold]:
    """No job of maintd's is at work meanwhile: by its lock, or by a pause of the daemon that holds it.

    `left` is the one that was begun for something that was cut
    off: it ends with what is done now.
    """
    try:
        held = lock.take(config.settings.state_dir)
    except Locked as locked:
        with _paused(called, locked, left) as hold:
            yield hold
        return
    try:
        yield Hold(called)
    finally:
        os.close(held)


@contextmanager
def _paused(called: Invocation, locked: Locked, left: str) -> Iterator[Hold]:
    try:
        before = reach.ask(called, "GET", "/status")
        was_paused = bool(before["paused_all"])
        is_left = was_paused and bool(left) and before["paused_all_until"] == left
        if not was_paused:
            reach.ask(called, "POST", "/pause", {"job": ALL_JOBS, "seconds": _PAUSE})
        end = time.monotonic() + _PATIENCE
        while _is_at_work(found := reach.ask(called, "GET", "/status")):
            if time.monotonic() > end:
                raise MaintdError("the daemon is at work on something long", hint="try again later: maintd status")
            time.sleep(0.2)
    except Unreachable as error:
        raise Unreachable(f"{locked}, and {error}", hint=error.hint) from error
    is_done, hold = False, Hold(called, "" if was_paused else str(found["paused_all_until"]))
    try:
        yield hold
        is_done = True
    finally:
        if not was_paused or (is_left and is_done):
            reach.ask(called, "POST", "/resume", {"job": ALL_JOBS, "until": hold.until or found["paused_all_until"]})


def _is_at_work(status: Mapping[str, Any]) -> bool:
    return any(job["state"] == "running" for job in status["jobs"])
