"""What no pattern names: maintd's state, socket, config, ballasts; backups, and what a restore has set aside."""

import os
from collections.abc import Iterable
from typing import Self

from maintd import names
from maintd.values import dataclass


@dataclass(frozen=True)
class OwnFiles:
    """Whole directories, files elsewhere, and `sets` of snapshots: /srv/backups/data names those of the set `data`.

    No path has a symbolic link in it.
    """

    directories: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    sets: tuple[str, ...] = ()

    @classmethod
    def at(cls, directories: Iterable[str], files: Iterable[str], sets: Iterable[str] = ()) -> Self:
        return cls(tuple(map(os.path.realpath, directories)), frozenset(map(os.path.realpath, files)), tuple(sets))

    def has(self, path: str) -> bool:
        """Whether `path`, which has no symbolic link in it either, is one of them or lies in one."""
        return (
            path in self.files
            or any(path == own or path.startswith(f"{own}/") for own in self.directories)
            or any(path.startswith(f"{one}.") and _is_of(one, path) for one in self.sets)
            or (names.ASIDE in path and any(part.endswith(names.ASIDE) for part in path.split("/")))
        )


def _is_of(one: str, path: str) -> bool:
    """Whether a path beside a set is one of its snapshots, also one in the making, or lies in it."""
    directory, of = os.path.split(one)
    snapshot = path[len(directory.rstrip("/")) + 1 :].partition("/")[0]
    parsed = names.parse_archive(snapshot.removesuffix(names.TEMPORARY))
    return parsed is not None and parsed.log == of
