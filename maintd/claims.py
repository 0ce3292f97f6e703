"""Which of several jobs owns a log: the first in file order whose patterns name it."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from maintd import grounds
from maintd.matching import Prefix, has_wildcard, is_match, is_part, split
from maintd.values import dataclass

_FRESH = 60.0
"""Seconds for which resolved patterns are believed: a link among the directories may be pointed elsewhere."""


@dataclass(frozen=True)
class Claim:
    """Files, by glob patterns, that one job alone may rotate; `archives` is where it puts them, if that is fixed.

    `olddir` is the same as it was given, which may be relative to each file's directory.
    """

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    archives: str | None = None
    olddir: str | None = None

    def grounds(self) -> Iterator[tuple[str, str]]:
        """The directories for archives that are known from here, each with that of the logs; "" if it is for any."""
        if self.archives is not None:
            yield grounds.real(self.archives), ""
        elif self.olddir is not None:
            roots = {prefix.root for prefix in map(split, self.paths) if not any(map(has_wildcard, prefix.rest[:-1]))}
            for root in sorted(roots):
                yield grounds.resolve(os.path.join(root, self.olddir)), root


@dataclass(frozen=True)
class _Entry:
    rank: int
    prefix: Prefix
    excluded: tuple[Prefix, ...]
    olddir: str | None = None

    def names(self, path: str) -> bool:
        return self.prefix.is_match(path) and not any(prefix.is_match(path) for prefix in self.excluded)

    def may_keep(self, name: str, folder: str, apart: str) -> bool:
        """Whether archives of a log of this name may come to lie in a folder; of another log than `apart`."""
        assert self.olddir is not None
        if not is_part(name, self.prefix.rest[-1]) and self.prefix.rest[-1] != "**":
            return False
        for origin in _origins(self.prefix, self.olddir, folder):
            log = os.path.join(origin, name)
            if has_wildcard(origin) or (log != apart and self.names(log)):
                return True
        return False


class Claims:
    """The claims of all jobs by name, in file order. They are asked for and resolved once for many questions."""

    def __init__(self, claims: Sequence[tuple[str, Callable[[], Claim | None]]]) -> None:
        self._claims = tuple(claims)
        self._ranks = {name: rank for rank, (name, _) in enumerate(self._claims)}
        self._by_root: dict[str, list[_Entry]] = {}
        self._with_olddir: list[_Entry] = []
        self._resolved_at = -_FRESH

    def owners(self, paths: Iterable[str], before: str) -> dict[str, str]:
        """Those of the paths (resolved) that a job earlier than `before` claims, with its name."""
        own = self._ranks.get(before, len(self._claims))
        if own == 0:
            return {}
        self._refresh()
        found: dict[str, str] = {}
        for path in paths:
            ranks = [entry.rank for entry in self._entries(path) if entry.rank < own and entry.names(path)]
            if ranks:
                found[path] = self._claims[min(ranks)][0]
        return found

    def rival(self, log: str, folder: str) -> str:
        """A job that has, or may have, archives of another log of this name in a folder; "" if there is none.

        Nobody could tell whose are whose, and the one job would delete those of the other.
        """
        self._refresh()
        name = os.path.basename(log)
        beside = os.path.join(folder, name)
        entries = [entry for entry in self._entries(beside) if entry.olddir is None and entry.names(beside)]
        ranks = [entry.rank for entry in (entries if beside != log else [])]
        ranks += [entry.rank for entry in self._with_olddir if entry.may_keep(name, folder, log)]
        own = self._ranks.get(self.owners([log], before="").get(log, ""))
        return next((self._claims[rank][0] for rank in sorted(ranks) if rank != own), "")

    def renew(self) -> None:
        """A job has read anew what it claims: whoever asks next is to know it too."""
        self._resolved_at = -_FRESH

    def responsible(self, path: str) -> str:
        """The job that looks after a log: its owner; if no job claims it any more, the first that claims any."""
        first = self._claims[0][0] if self._claims else ""
        return self.owners([path], before="").get(path, first)

    def _refresh(self) -> None:
        if time.monotonic() - self._resolved_at < _FRESH:
            return
        by_root = self._resolved()  # by two threads at once it is done twice
        self._with_olddir = [entry for entries in by_root.values() for entry in entries if entry.olddir is not None]
        self._by_root, self._resolved_at = by_root, time.monotonic()

    def _resolved(self) -> dict[str, list[_Entry]]:
        by_root: dict[str, list[_Entry]] = defaultdict(list)
        for rank, (_, claimed) in enumerate(self._claims):
            claim = claimed() or Claim(())
            excluded = tuple(split(pattern) for pattern in claim.exclude)
            for prefix in map(split, claim.paths):
                by_root[prefix.root].append(_Entry(rank, prefix, excluded, claim.olddir))
        return by_root

    def _entries(self, path: str) -> Iterable[_Entry]:
        """What could name the path: a pattern's root is one of the directories above it."""
        directory = os.path.dirname(path)
        while True:
            yield from self._by_root.get(directory, ())
            if directory == "/":
                return
            directory = os.path.dirname(directory)


def _origins(prefix: Prefix, olddir: str, folder: str) -> Iterator[str]:
    """The directories of logs whose archives would lie in a folder; with a wildcard, if it may be any that matches."""
    origin = "/".join([prefix.root.rstrip("/"), *prefix.rest[:-1]])
    if olddir.startswith("/"):
        if grounds.resolve(olddir) == folder:
            yield origin
        return
    parts = os.path.normpath(olddir).split("/")
    ups = parts.count("..")  # all of them at its beginning
    tail = "".join(f"/{part}" for part in parts[ups:] if part != ".")
    if not folder.endswith(tail):
        return
    base = folder.removesuffix(tail)
    if not ups:
        yield base
        return
    above, *last = origin.rsplit("/", ups)
    if "**" in prefix.rest:
        yield origin
    elif base == above or (has_wildcard(above) and is_match(base, above)):
        yield "/".join([base, *last])
