"""What a run does not try or tell with every file: the place that all of it goes to has failed, or many fail alike."""

import errno
import math
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import field

from maintd.errors import Blind, OutOfReach
from maintd.steps import Action
from maintd.values import dataclass

_MOST = 2
"""So many failures of a kind are told one by one; after so many of a place that has failed nothing is tried there."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOST = (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EACCES, errno.EPERM)
"""What may be the fault of the place, or of the one file: a look at the place tells."""


@dataclass
class GivingUp:
    """The places that have failed in one run; for any of its threads.

    `left` counts what is not tried there, by verb and then by place.
    """

    left: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _told: Counter[str] = field(default_factory=Counter)
    _failures: Counter[str] = field(default_factory=Counter)
    _alike: Counter[tuple[str, object]] = field(default_factory=Counter)
    _untold: dict[tuple[str, object], tuple[Action, Exception]] = field(default_factory=dict)
    _room: dict[str, float] = field(default_factory=dict)
    _said: set[tuple[int, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spares(self, action: Action) -> bool:
        """Whether an action is not to be tried; on a full disk one that is no smaller than what had no room."""
        place = action.common_place
        with self._lock:
            is_over = self._failures[place] >= _MOST
            if not place or not (is_over or (action.in_bytes or 0) >= self._room.get(place, math.inf)):
                return False
            self.left[action.verb][place] += 1
            return True

    def is_first(self, action: Action, done: AbstractSet[int]) -> bool:
        """Whether it is the first of its kind that is left out because of the same step that was not done."""
        missing = action
        while lacking := next((need for need in missing.needs if id(need) not in done), None):
            missing = lacking
        with self._lock:
            is_new = (id(missing), action.verb) not in self._said
            self._said.add((id(missing), action.verb))
        return is_new

    def is_told(self, action: Action, error: Exception) -> bool:
        """Whether the failure of an action is told at once; of many that fail alike only a few are, see `more`."""
        place, reason = action.common_place, _reason(action, error)
        if reason is None or not (place or action.is_one_of_many):
            return True
        is_full = reason in _FULL
        with self._lock:
            if place and (is_full or reason is OutOfReach or (reason is not Blind and _is_lost(place))):
                if is_full:
                    self._room[place] = min(self._room.get(place, math.inf), action.in_bytes or 0)
                else:
                    self._failures[place] += 1
                self._told[place] += 1
                if self._told[place] > _MOST and not is_full:  # it was at work there when the others failed
                    return False
            kind = action.verb, reason
            self._alike[kind] += 1
            is_told = self._alike[kind] <= _MOST
            if not is_told:
                self._untold.setdefault(kind, (action, error))
            return is_told

    def more(self) -> Iterator[tuple[Action, Exception, int]]:
        """Of the failures that were not told, one for each verb and reason, and how many there are besides."""
        for kind, first in self._untold.items():
            yield *first, self._alike[kind] - _MOST - 1


def _reason(action: Action, error: Exception) -> object:
    """What other steps may fail of as well; None for what is the fault of this one."""
    if isinstance(error, OutOfReach | Blind):
        return type(error)
    found = error.errno if isinstance(error, OSError) else None
    return found if found in _LOST or (found in _FULL and action.verb != "delete") else None


def _is_lost(place: str) -> bool:
    """Whether it is the place that has failed: it cannot be looked at, or nothing can be written there."""
    if not place.startswith("/"):
        return False
    try:
        is_read_only = bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return True
    return is_read_only or not os.access(place, os.W_OK)
