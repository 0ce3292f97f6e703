"""What no pattern names: maintd's state, socket, config, ballasts; backups, and what a restore has set aside."""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Self

from maintd import names
from maintd.values import dataclass


@dataclass(frozen=True)
class OwnFiles:
    """The `paths` and all that lies below them, the `config` likewise, and `sets` of snapshots.

    /srv/backups/data names those of the set `data`, and what lies in a snapshot of any other set beside them: that of a
    job that is gone, or was renamed.
    No path has a symbolic link in it.
    """

    paths: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()

    @classmethod
    def at(cls, paths: Iterable[str], config: Iterable[str] = (), sets: Iterable[str] = ()) -> Self:
        return cls(tuple(map(os.path.realpath, paths)), tuple(map(os.path.realpath, config)), tuple(sets))

    def but_config(self) -> Self:
        """Those for whom reads alone: a backup takes the config, which a new machine needs."""
        return replace(self, config=())

    def has(self, path: str) -> bool:
        """Whether `path`, which has no symbolic link in it either, is one of them or lies in one."""
        return (
            any(path == own or path.startswith(f"{own}/") for own in (*self.paths, *self.config))
            or any(_is_of(one, path) for one in self.sets)
            or (names.ASIDE in path and any(part.endswith(names.ASIDE) for part in path.split("/")))
        )


def _is_of(one: str, path: str) -> bool:
    """Whether a path is a snapshot of a set, also one in the making, or lies in one that is beside it."""
    directory, of = os.path.split(one)
    top = directory.rstrip("/") + "/"
    if not path.startswith(top):
        return False
    snapshot, is_within, _ = path[len(top) :].partition("/")
    parsed = names.parse_archive(snapshot.removesuffix(names.TEMPORARY))
    return parsed is not None and (parsed.log == of or bool(is_within and not parsed.suffix))
