"""What a run does not try again with every file, because the place that all of it goes to has failed."""

import errno
import math
import os
import threading
from collections.abc import Set as AbstractSet
from dataclasses import field

from maintd.errors import OutOfReach
from maintd.steps import Action
from maintd.values import dataclass

_MOST = 2
"""So many failures of a place are told in one run; after so many of one that is out of reach nothing is tried there."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOST = (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EACCES)
"""What may be the fault of the place, or of the one file: a look at the place tells."""


@dataclass
class GivingUp:
    """The places that have failed in one run; for any of its threads. `left` counts what is not tried there."""

    left: dict[tuple[str, str], int] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _room: dict[str, float] = field(default_factory=dict)
    _said: set[tuple[int, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spares(self, action: Action) -> bool:
        """Whether an action is not to be tried; on a full disk one that is no smaller than what had no room."""
        place = action.common_place
        with self._lock:
            is_over = self._failures.get(place, 0) >= _MOST
            if not place or not (is_over or (action.in_bytes or 0) >= self._room.get(place, math.inf)):
                return False
            self.left[place, action.verb] = self.left.get((place, action.verb), 0) + 1
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
        """Whether the failure of an action is news; one of its place is so only a few times."""
        is_full = isinstance(error, OSError) and error.errno in _FULL and action.verb != "delete"
        place = action.common_place
        if not place or not (is_full or isinstance(error, OutOfReach) or _is_lost(place, error)):
            return True
        with self._lock:
            if is_full:
                self._room[place] = min(self._room.get(place, math.inf), action.in_bytes or 0)
            else:
                self._failures[place] = self._failures.get(place, 0) + 1
            self._told[place] = self._told.get(place, 0) + 1
            return self._told[place] <= _MOST


def _is_lost(place: str, error: Exception) -> bool:
    """Whether it is the place that has failed: it cannot be looked at, or nothing can be written there."""
    if not (isinstance(error, OSError) and error.errno in _LOST and place.startswith("/")):
        return False
    try:
        is_read_only = bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return True
    return is_read_only or not os.access(place, os.W_OK)
