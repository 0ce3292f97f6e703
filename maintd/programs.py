"""Follows the programs of supervisord: their ends by the kernel's word, their states by asking, once a second."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from maintd import lives
from maintd.errors import Denied, Unreachable
from maintd.events import Event, Failure
from maintd.lives import Failed
from maintd.supervisor import Program, Supervisor
from maintd.values import dataclass

PERIOD = 1.0
_STOPS = ("STOPPING", "STOPPED")
_SOON = (0.0, 0.02, 0.08, 0.25)
"""Seconds between the questions what came of a process that has ended: at once, a stop is told from a crash."""
_TAIL = 4000
_MOST_STOPS = 50
_PATIENCE = 3
"""So many times in a row supervisord may not answer before that is told."""


@dataclass(frozen=True)
class Change:
    """What was seen of a program that is otherwise than before; `failed` if it failed, with the end of its log."""

    program: Program
    was: str
    failed: Failed | None = None
    last_lines: str = ""


@dataclass(frozen=True)
class Changes:
    """What one look at supervisord has brought, for the daemon's inbox."""

    found: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class SupervisorFailed(Failure):
    """supervisord does not answer, so that nothing is known of its programs. Told once until it answers."""

    name: ClassVar[str] = "supervisor.failed"
    level: ClassVar[str] = "error"


@dataclass(frozen=True, kw_only=True)
class SupervisorRecovered(Event):
    """supervisord answers again."""

    name: ClassVar[str] = "supervisor.recovered"

    @property
    def msg(self) -> str:
        return "it answers again"


class Programs:
    """One thread that follows; `put` gets what has changed, `emit` what is wrong with supervisord itself.

    `reach` makes a Supervisor to ask, anew for each look.
    """

    def __init__(
        self, reach: Callable[[], Supervisor], put: Callable[[Changes], None], emit: Callable[[Event], None]
    ) -> None:
        self._reach, self._put, self._emit = reach, put, emit
        self._known: dict[str, Program] | None = None
        self._watched: dict[int, int] = {}
        self._ended: set[int] = set()
        self._stopped: Mapping[str, tuple[int, ...]] = {}
        self._since = 0.0
        self._silent = 0
        self._trouble = ""
        self._poll = select.poll()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def known(self) -> list[Program] | None:
        """Its programs as they were seen last; None while supervisord does not answer, or has not been asked."""
        return None if self._known is None or self._silent else list(self._known.values())

    @property
    def stopped(self) -> Mapping[str, tuple[int, ...]]:
        """By program, the last processes of it that somebody has asked supervisord to stop; others have crashed.

        With supervisord itself they are all stopped: so are those counted that end while it does not answer.
        """
        found, known = self._stopped, self._known
        if not self._silent or known is None:
            return found
        return {name: (*found.get(name, ()), program.pid) for name, program in known.items()}

    @property
    def trouble(self) -> str:
        """Why nothing is known of its programs, once that is told; "" while it answers."""
        return self._trouble

    @property
    def alive(self) -> bool:
        return self._thread is None or self._thread.is_alive()

    def start(self, since: float | None = None) -> None:
        """What has failed `since` then (seconds since boot), or from now on, is told also if it was not seen before."""
        if self._thread is None:
            self._since = _since_boot() if since is None else since
            self._thread = threading.Thread(target=self._work, name="programs", daemon=True)
            self._thread.start()

    def recall_silence(self) -> None:
        """Before the start: an earlier maintd has told that supervisord does not answer."""
        self._silent = _PATIENCE
        self._trouble = "it did not answer the maintd before this one, and has not since"

    def stop(self) -> None:
        self._stopping.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._look()
            if self._has_ended(PERIOD):
                for delay in _SOON:
                    time.sleep(delay)
                    self._look()

    def _look(self) -> None:
        supervisor = self._reach()
        try:
            programs = supervisor.all_now()
        except (Unreachable, Denied) as error:
            self._note_silence(supervisor, error)
            return
        followed = _since_boot() - self._since
        if self._silent >= _PATIENCE:
            self._emit(SupervisorRecovered(target=supervisor.url))
        before = self._known or {}
        if self._silent:  # whether they were started again meanwhile, and by whom, nobody can say
            pids = {program.name: program.pid for program in programs}
            for name, program in before.items():
                if pids.get(name) != program.pid:
                    self._note_stop(program)
            before = {name: replace(program, pid=pids.get(name, 0)) for name, program in before.items()}
        self._known = {program.name: program for program in programs}
        self._silent, self._trouble = 0, ""
        in_order = sorted(programs, key=lambda program: -program.stopped_for)  # what failed first comes first
        found = [self._change(supervisor, before.get(program.name), program, followed) for program in in_order]
        self._watch(program.pid for program in programs if program.pid)
        if any(found):
            self._put(Changes(tuple(change for change in found if change)))

    def _note_silence(self, supervisor: Supervisor, error: Unreachable | Denied) -> None:
        self._silent += 1
        if self._silent >= _PATIENCE:
            self._trouble = str(error)
        if self._silent == _PATIENCE:
            told = {"error": type(error).__name__.lower(), "error_msg": str(error), "advice": error.hint}
            self._emit(SupervisorFailed(target=supervisor.url, tried="see how its programs are", **told))

    def _change(self, supervisor: Supervisor, before: Program | None, now: Program, followed: float) -> Change | None:
        if before and now.state in _STOPS:
            self._note_stop(before)
        failed = lives.failure(before, now, followed)
        if not failed and before and now.is_as(before):
            return None
        lines = ""
        if failed:
            with contextlib.suppress(Unreachable, Denied):
                lines = lives.last_lines(supervisor.last_output(now.name, _TAIL))
        return Change(now, before.state if before else "", failed, lines)

    def _note_stop(self, before: Program) -> None:
        stopped = self._stopped.get(before.name, ())
        if before.pid and before.pid not in stopped:
            stopped = (*stopped, before.pid)[-_MOST_STOPS:]
            self._stopped = {**self._stopped, before.name: stopped}  # a new one: others read it in threads of their own

    def _watch(self, pids: Iterable[int]) -> None:
        """Has the kernel tell when one of these processes ends; of those that have ended already it was told."""
        wanted = set(pids)
        self._ended &= wanted
        for pid in self._watched.keys() - wanted:
            self._leave(pid)
        for pid in wanted - self._watched.keys() - self._ended:
            with contextlib.suppress(OSError):
                self._watched[pid] = os.pidfd_open(pid)
                self._poll.register(self._watched[pid], select.POLLIN)

    def _leave(self, pid: int) -> None:
        descriptor = self._watched.pop(pid)
        self._poll.unregister(descriptor)
        os.close(descriptor)

    def _has_ended(self, seconds: float) -> bool:
        """Waits, but no longer than until a process ends; whether one did."""
        ready = {descriptor for descriptor, _ in self._poll.poll(seconds * 1000)}
        ended = [pid for pid, descriptor in self._watched.items() if descriptor in ready]
        for pid in ended:
            self._leave(pid)
            self._ended.add(pid)
        return bool(ended)


def _since_boot() -> float:
    """Seconds, suspension included as in the wall clock by which supervisord goes, but which nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
