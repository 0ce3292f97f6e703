"""What a run does not try again with every file, because the place that all of it goes to has failed."""

import errno
import math
import threading
from dataclasses import field

from maintd.errors import OutOfReach
from maintd.steps import Action
from maintd.values import dataclass

_MOST = 2
"""So many failures of a place are told in one run; after so many of one that is out of reach nothing is tried there."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class GivingUp:
    """The places that have failed in one run; for any of its threads. `left` are steps not tried there, by place."""

    left: dict[str, int] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _room: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spares(self, action: Action) -> bool:
        """Whether an action is not to be tried; on a full disk one that is no smaller than what had no room."""
        place = action.common_place
        with self._lock:
            is_over = self._failures.get(place, 0) >= _MOST
            if not place or not (is_over or (action.in_bytes or 0) >= self._room.get(place, math.inf)):
                return False
            self.left[place] = self.left.get(place, 0) + 1
            return True

    def is_told(self, action: Action, error: Exception) -> bool:
        """Whether the failure of an action is news; one of its place is so only a few times."""
        is_full = isinstance(error, OSError) and error.errno in _FULL
        place = action.common_place
        if not place or not (is_full or isinstance(error, OutOfReach)):
            return True
        with self._lock:
            if is_full:
                self._room[place] = min(self._room.get(place, math.inf), action.in_bytes or 0)
            else:
                self._failures[place] = self._failures.get(place, 0) + 1
            self._told[place] = self._told.get(place, 0) + 1
            return self._told[place] <= _MOST
