"""Which of several jobs owns a log: the first in file order whose patterns name it."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from maintd.matching import Prefix, split

_FRESH = 60.0
"""Seconds for which resolved patterns are believed: a link among the directories may be pointed elsewhere."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Files, by glob patterns, that one job alone may rotate; `archives` is where it puts them, if that is fixed.

    `olddir` is the same as it was given, which may be relative to each file's directory.
    """

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    archives: str | None = None
    olddir: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    rank: int
    prefix: Prefix
    excluded: tuple[Prefix, ...]


class Claims:
    """The claims of all jobs by name, in file order. They are asked for and resolved once for many questions."""

    def __init__(self, claims: Sequence[tuple[str, Callable[[], Claim | None]]]) -> None:
        self._claims = tuple(claims)
        self._ranks = {name: rank for rank, (name, _) in enumerate(self._claims)}
        self._by_root: dict[str, list[_Entry]] = {}
        self._resolved_at = -_FRESH

    def owners(self, paths: Iterable[str], before: str) -> dict[str, str]:
        """Those of the paths (resolved) that a job earlier than `before` claims, with its name."""
        own = self._ranks.get(before, len(self._claims))
        if own == 0:
            return {}
        if time.monotonic() - self._resolved_at >= _FRESH:  # by two threads at once it is done twice
            self._by_root, self._resolved_at = self._resolved(), time.monotonic()
        found: dict[str, str] = {}
        for path in paths:
            ranks = [entry.rank for entry in self._entries(path) if entry.rank < own and _names(entry, path)]
            if ranks:
                found[path] = self._claims[min(ranks)][0]
        return found

    def renew(self) -> None:
        """A job has read anew what it claims: whoever asks next is to know it too."""
        self._resolved_at = -_FRESH

    def responsible(self, path: str) -> str:
        """The job that looks after a log: its owner; if no job claims it any more, the first that claims any."""
        first = self._claims[0][0] if self._claims else ""
        return self.owners([path], before="").get(path, first)

    def _resolved(self) -> dict[str, list[_Entry]]:
        by_root: dict[str, list[_Entry]] = defaultdict(list)
        for rank, (_, claimed) in enumerate(self._claims):
            claim = claimed() or Claim(())
            excluded = tuple(split(pattern) for pattern in claim.exclude)
            for prefix in map(split, claim.paths):
                by_root[prefix.root].append(_Entry(rank, prefix, excluded))
        return by_root

    def _entries(self, path: str) -> Iterable[_Entry]:
        """What could name the path: a pattern's root is one of the directories above it."""
        directory = os.path.dirname(path)
        while True:
            yield from self._by_root.get(directory, ())
            if directory == "/":
                return
            directory = os.path.dirname(directory)


def _names(entry: _Entry, path: str) -> bool:
    return entry.prefix.is_match(path) and not any(prefix.is_match(path) for prefix in entry.excluded)
