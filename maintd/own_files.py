"""maintd's own files, which no pattern of a job ever names: its state, its socket, its config."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """Whole directories, and files elsewhere; no path has a symbolic link in it."""

    directories: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()

    @classmethod
    def at(cls, directories: Iterable[str], files: Iterable[str]) -> Self:
        return cls(tuple(map(os.path.realpath, directories)), frozenset(map(os.path.realpath, files)))

    def has(self, path: str) -> bool:
        """Whether `path`, which has no symbolic link in it either, is one of them or lies in one."""
        return path in self.files or any(path == own or path.startswith(f"{own}/") for own in self.directories)
