"""How the daemon itself is: its memory, its inbox, its lanes, and whether its main thread still comes round."""

import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from typing import ClassVar

from maintd.awake import STEP, Awake
from maintd.events import Event
from maintd.units import counted, format_size
from maintd.values import dataclass

_PAGE = os.sysconf("SC_PAGE_SIZE")
MEASURED_EVERY = 5.0
_OVER, _OF = 3, 5
"""So many of so many measurements of memory above the limit are too many."""
LONG_INBOX, LONGEST_INBOX = 5_000, 100_000
"""So many things waiting in the inbox are told, and so many are more than it will ever get through."""
_LONG = 30.0
"""Seconds for which the inbox has to be long before that is told: a start with many jobs fills it."""
STUCK, HOPELESS = 60.0, 600.0
"""Seconds beyond its timeout after which a run is told to be stuck, and after which maintd gives up on it."""
QUIET = 21_600.0
"""Seconds after which a run without a timeout is told that has done no step meanwhile."""
SLOW = {"watch": 60.0, "spending": 600.0}
"""Seconds after which a thread is told not to come round: who looks at logs, and who walks what has a budget."""
PATIENCE = 300.0
"""Seconds in which the main thread comes round, whatever it does."""


@dataclass(frozen=True, kw_only=True)
class DaemonStrained(Event):
    """maintd does not keep up: its inbox grows, a run does not end by its timeout, or without one does nothing for six
    hours, a thread waits for a file system, or checks wait for others that hang.

    Told once until that is over.
    """

    name: ClassVar[str] = "daemon.strained"
    level: ClassVar[str] = "error"

    reason: str

    @property
    def msg(self) -> str:
        return self.reason


def memory() -> int:
    """The resident memory of this process, in bytes, without its children's (proc(5), statm)."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE


@dataclass
class Vitals:
    """Used by the main thread once a second; times are those of Awake. `emit` gets what is to be said."""

    emit: Callable[[Event], None]
    _memory: deque[bool] = field(default_factory=lambda: deque(maxlen=_OF))
    _measured: float = 0.0
    _long_since: float | None = None
    _told: set[str] = field(default_factory=set)
    _rounds: dict[str, tuple[int, float]] = field(default_factory=dict)
    _slow: set[str] = field(default_factory=set)
    _scarce: dict[str, float] = field(default_factory=dict)
    _crowded: set[str] = field(default_factory=set)
    _quiet: set[str] = field(default_factory=set)

    def look(self, now: float, waiting: int, overdue: Mapping[str, float], most_memory: int) -> str:
        """Why maintd cannot go on, or nothing.

        `waiting` is how much is in its inbox, `overdue` by how many seconds runs are beyond their timeout.
        """
        self._watch_runs(overdue)
        return (
            self._watch_inbox(now, waiting)
            or next((f"{job} is stuck in its lane" for job, late in overdue.items() if late > HOPELESS), "")
            or self._watch_memory(now, most_memory)
        )

    def look_at_runs(self, quiet: Mapping[str, float]) -> None:
        """Tells which have done nothing for long; `quiet` is for how many seconds those without a timeout have not."""
        found = {job for job, seconds in quiet.items() if seconds > QUIET}
        for job in sorted(found - self._quiet):
            reason = f"its run has done nothing for {quiet[job] / 3600:.0f} h, and holds up its lane; it has no timeout"
            self.emit(DaemonStrained(target=job, reason=reason))
        self._quiet = found

    def look_at_threads(self, now: float, rounds: Mapping[str, int]) -> None:
        """Tells which do not come round; `rounds` is how often each has. To end maintd would not help them."""
        for name, count in rounds.items():
            known, since = self._rounds.get(name, (-1, 0.0))
            if count != known:
                self._rounds[name] = count, now
                self._slow.discard(name)
            elif now - since > SLOW[name] and name not in self._slow:
                self._slow.add(name)
                reason = f"its thread has not come round for {now - since:.0f} s: it waits for a file system, perhaps"
                self.emit(DaemonStrained(target=name, reason=reason))

    def look_at_places(self, now: float, waiting: Mapping[str, Collection[str]]) -> None:
        """Tells where checks have waited for half a minute; `waiting` are their names, by the places they wait for."""
        for place, names in waiting.items():
            since = self._scarce.setdefault(place, now) if names else self._scarce.pop(place, now)
            if names and now - since >= _LONG and place not in self._crowded:
                self._crowded.add(place)
                reason = (
                    f"{counted(len(names), 'check')} late, since all others hang or take long: each waits for {place}"
                )
                self.emit(DaemonStrained(target="checks", reason=reason))
            elif not names:
                self._crowded.discard(place)

    def _watch_inbox(self, now: float, waiting: int) -> str:
        if waiting < LONG_INBOX:
            self._long_since = None
            self._told.discard("")
            return ""
        self._long_since = now if self._long_since is None else self._long_since
        if now - self._long_since >= _LONG and "" not in self._told:
            self._told.add("")
            self.emit(DaemonStrained(target="inbox", reason=f"{counted(waiting, 'thing')} waiting in the inbox"))
        return f"{counted(waiting, 'thing')} waiting in the inbox" if waiting >= LONGEST_INBOX else ""

    def _watch_runs(self, overdue: Mapping[str, float]) -> None:
        stuck = {job for job, late in overdue.items() if late > STUCK}
        for job in sorted(stuck - self._told):
            reason = f"its run should have ended by its timeout {overdue[job]:.0f} s ago, and holds up its lane"
            self.emit(DaemonStrained(target=job, reason=reason))
        self._told = (self._told & {""}) | stuck

    def _watch_memory(self, now: float, most: int) -> str:
        if now - self._measured < MEASURED_EVERY:
            return ""
        self._measured = now
        try:
            used = memory()
        except OSError:  # no descriptor is left: then it is not measured
            return ""
        self._memory.append(used > most)
        is_over = sum(self._memory) >= _OVER
        return f"it has {format_size(used)} of memory, more than max_memory ({format_size(most)})" if is_over else ""


class Pulse:
    """A thread that calls `give_up` if nobody has called `beat` for so long: the main thread hangs.

    It keeps `awake` going, by which that is measured: the time in which all of maintd was stopped does not count.
    """

    def __init__(self, awake: Awake, give_up: Callable[[float], None], patience: float = PATIENCE) -> None:
        self._awake, self._give_up, self._patience = awake, give_up, patience
        self._last = awake.now()
        self._thread = threading.Thread(target=self._work, name="pulse", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._last = self._awake.now()
        self._thread.start()

    def beat(self) -> None:
        self._last = self._awake.now()

    def _work(self) -> None:
        while (silent := self._awake.now() - self._last) < self._patience:
            threading.Event().wait(  # time.sleep fails under libfaketime
                min(self._patience - silent + 0.01, STEP)
            )
            self._awake.step()
        self._give_up(silent)
