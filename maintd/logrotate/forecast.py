"""What lies in the directories of logs at each point of a plan that is being made: as it is, and as the plan leaves it.

Stanzas may name what others rename, and the archive of one log may be another's log: so each log is planned on what
those before it leave behind.
"""

import bisect
import os
from dataclasses import replace

from maintd.steps import Seen


class Forecast:
    """Files by their paths, without links on the way. Each directory is listed once, when it is asked for."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._seen: dict[str, Seen | None] = {}

    def beginning_with(self, folder: str, stem: str) -> list[str]:
        """The names in a directory that begin so, sorted."""
        names = self._listed(folder)
        start = bisect.bisect_left(names, stem)
        end = start
        while end < len(names) and names[end].startswith(stem):
            end += 1
        return names[start:end]

    def has(self, path: str) -> bool:
        folder, name = os.path.split(path)
        names = self._listed(folder)
        index = bisect.bisect_left(names, name)
        return index < len(names) and names[index] == name

    def seen(self, path: str) -> Seen | None:
        """The file as it is now, under the path that it will have; None if the plan makes it, or it is gone."""
        if path not in self._seen:
            try:
                self._seen[path] = Seen.of(path, os.lstat(path))
            except OSError:
                self._seen[path] = None
        return self._seen[path]

    def know(self, seen: Seen) -> None:
        """A file was looked at: unless the plan has changed what lies there, this one is meant, and no later one."""
        self._seen.setdefault(seen.path, seen)

    def move(self, path: str, new: str) -> None:
        seen = self.seen(path)
        self.remove(path)
        self.put(new)
        self._seen[new] = replace(seen, path=new) if seen else None

    def remove(self, path: str) -> None:
        folder, name = os.path.split(path)
        if self.has(path):
            names = self._listed(folder)
            del names[bisect.bisect_left(names, name)]
        self._seen[path] = None

    def put(self, path: str) -> None:
        """The plan makes this file."""
        folder, name = os.path.split(path)
        if not self.has(path):
            bisect.insort(self._listed(folder), name)
        self._seen[path] = None

    def _listed(self, folder: str) -> list[str]:
        if folder not in self._names:
            try:
                self._names[folder] = sorted(os.listdir(folder))
            except OSError:
                self._names[folder] = []
        return self._names[folder]
