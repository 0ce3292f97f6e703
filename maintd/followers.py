"""Which jobs a change in a directory may concern: of thousands that only pass through it, those that pass that name."""

from collections import defaultdict
from collections.abc import Set as AbstractSet
from dataclasses import field
from typing import TypeVar

from maintd.growth import Territory
from maintd.inotify import Hint
from maintd.values import dataclass

_Key = TypeVar("_Key")
_Index = defaultdict[_Key, set[str]]


def _index() -> _Index[_Key]:
    return defaultdict(set)


@dataclass
class Followers:
    """Jobs by the directories they watch, by those they look for files in, and by the names on their way there."""

    _watching: _Index[str] = field(default_factory=_index)
    _inside: _Index[str] = field(default_factory=_index)
    _passing: _Index[tuple[str, str]] = field(default_factory=_index)

    def move(self, job: str, before: Territory | None, now: Territory | None) -> frozenset[str]:
        """Takes over where a job's files are now; returns the directories that no job watches any more."""
        none: frozenset[str] = frozenset()
        watched, watches = before.to_watch if before else none, now.to_watch if now else none
        _change(self._watching, job, watched, watches)
        _change(self._inside, job, before.directories if before else none, now.directories if now else none)
        _change(self._passing, job, before.route if before else frozenset(), now.route if now else frozenset())
        return frozenset(directory for directory in watched - watches if directory not in self._watching)

    def of(self, hint: Hint) -> AbstractSet[str]:
        """The jobs that a hint may concern; one without a name is about the directory itself, and concerns all."""
        if not hint.name:
            return self._watching.get(hint.directory, frozenset())
        passing = self._passing.get((hint.directory, hint.name), frozenset[str]())
        return passing | self._inside.get(hint.directory, frozenset())


def _change(index: "_Index[_Key]", job: str, before: AbstractSet[_Key], now: AbstractSet[_Key]) -> None:
    for key in now - before:
        index[key].add(job)
    for key in before - now:
        index[key].discard(job)
        if not index[key]:
            del index[key]
