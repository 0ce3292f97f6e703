"""A log and what was set aside of it, read off the directories: names carry the state."""

import os
import stat as st
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from maintd import durable, grounds, names, patterns
from maintd.intents import Interrupted
from maintd.matching import is_match
from maintd.names import ArchiveName
from maintd.own_files import OwnFiles
from maintd.steps import Seen


def archive_directory(log: str, olddir: str | None) -> str:
    """Where the archives of a log lie: beside it, or in olddir (relative to the log's directory, or absolute)."""
    directory = os.path.dirname(log)
    return grounds.resolve(os.path.join(directory, olddir)) if olddir else directory


@dataclass(frozen=True, slots=True)
class Archive:
    """A generation of a log on the disk."""

    name: ArchiveName
    seen: Seen

    @property
    def is_compressed(self) -> bool:
        return bool(self.name.suffix)

    @property
    def key(self) -> tuple[datetime, int]:
        """What tells generations of one log apart; a copy and its original are the same generation."""
        return self.name.stamp, self.name.n

    def time(self, now: datetime) -> datetime:
        """When it was set aside, by its stamp; if that lies ahead, because the clock was wrong once, by its mtime."""
        if self.name.stamp <= now:
            return self.name.stamp
        return datetime.fromtimestamp(self.seen.mtime_ns / 1e9, UTC)


@dataclass(slots=True)
class Family:
    """One log by its path, with what was set aside of it, oldest first. `live` is None if the log itself is missing.

    `interrupted` are the rotations in place that were cut off, which is not read off the directories.
    """

    log: str
    live: Seen | None = None
    archives: list[Archive] = field(default_factory=list)
    temporaries: dict[str, Seen] = field(default_factory=dict)
    interrupted: list[Interrupted] = field(default_factory=list)

    def add(self, path: str, info: os.stat_result) -> None:
        parsed = names.parse_archive(os.path.basename(path))
        if parsed is None:
            self.temporaries[path] = Seen.of(path, info)
        else:
            self.archives.append(Archive(parsed, Seen.of(path, info)))

    def newest(self, now: datetime) -> datetime | None:
        """When the newest generation was set aside; those that seem to be of the future do not count."""
        times = (archive.time(now) for archive in self.archives)
        return max((time for time in times if time <= now), default=None)


def find(
    paths: Sequence[str], exclude: Sequence[str], olddir: str | None, own: OwnFiles
) -> tuple[list[Family], list[patterns.Miss]]:
    """The logs that patterns name, each with its archives, sorted by path, and what the patterns name in vain."""
    expansion = patterns.expand(paths, exclude, own=own)
    found = {match.path: Family(match.path, Seen.of(match.path, match.stat)) for match in expansion.matches}
    folders: dict[str, list[str]] = defaultdict(list)
    for directory in sorted(expansion.directories):
        folders[directory].append(directory)
        archives = archive_directory(os.path.join(directory, "x"), olddir)
        if archives != directory:
            folders[archives].append(directory)
    for folder, origins in folders.items():
        for name, info in _ours_in(folder):
            base = _log_of(name)
            candidates = [os.path.join(origin, base) for origin in origins]
            log = next((log for log in candidates if log in found or _names(log, paths, exclude)), None)
            if log is not None and not own.has(log):
                found.setdefault(log, Family(log)).add(os.path.join(folder, name), info)
    for family in found.values():
        family.archives.sort(key=lambda archive: (*archive.key, archive.name.suffix))
    gone = [miss for miss in expansion.misses if not (miss.missing and miss.path in found)]
    return [found[log] for log in sorted(found)], gone


def _ours_in(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """The regular files in a folder whose names maintd gave, sorted by name.

    Looked for twice, since archives are being compressed meanwhile: one that got its compressed name too late for the
    first look had its plain one until then. Otherwise a generation would be missed, and its name given again.
    """
    found: dict[str, os.stat_result] = {}
    with suppress(OSError), durable.directory(folder) as dir_fd:
        for _ in range(2):
            for name in filter(names.is_ours, os.listdir(dir_fd)):
                if name not in found:
                    with suppress(FileNotFoundError):
                        found[name] = os.lstat(name, dir_fd=dir_fd)
    return iter(sorted((name, info) for name, info in found.items() if st.S_ISREG(info.st_mode)))


def _log_of(name: str) -> str:
    plain = name.removesuffix(names.TEMPORARY)
    parsed = names.parse_archive(plain)
    return parsed.log if parsed else plain


def _names(log: str, paths: Iterable[str], exclude: Iterable[str]) -> bool:
    return any(is_match(log, pattern) for pattern in paths) and not any(is_match(log, pattern) for pattern in exclude)
