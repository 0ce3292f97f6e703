"""A log and what was set aside of it, read off the directories: names carry the state."""

import os
import stat as st
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import datetime

from maintd import dates, durable, grounds, names, patterns
from maintd.intents import Interrupted
from maintd.matching import is_match
from maintd.names import ArchiveName
from maintd.own_files import OwnFiles
from maintd.steps import Seen
from maintd.values import dataclass


def archive_directory(log: str, olddir: str | None) -> str:
    """Where the archives of a log lie: beside it, or in olddir (relative to the log's directory, or absolute)."""
    directory = os.path.dirname(log)
    return grounds.resolve(os.path.join(directory, olddir)) if olddir else directory


@dataclass(frozen=True)
class Archive:
    """A generation of a log on the disk."""

    name: ArchiveName
    seen: Seen
    is_anybodys: bool = False
    """Whether others than the owner of its directory may make files there, and it is not of that owner."""

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
        return dates.moment(self.seen.mtime_ns)


@dataclass
class Family:
    """One log by its path, with what was set aside of it, oldest first. `live` is None if the log itself is missing.

    `interrupted` are the rotations in place that were cut off, which is not read off the directories.
    `others` have names of its archives, and count for nothing: another user may have put them there, or they are no
    regular files.
    """

    log: str
    live: Seen | None = None
    archives: list[Archive] = field(default_factory=list)
    temporaries: dict[str, Seen] = field(default_factory=dict)
    interrupted: list[Interrupted] = field(default_factory=list)
    others: list[Archive] = field(default_factory=list)

    def add(self, path: str, info: os.stat_result, folder: os.stat_result) -> None:
        parsed, is_file = names.parse_archive(os.path.basename(path)), st.S_ISREG(info.st_mode)
        if parsed:
            is_anybodys = bool(folder.st_mode & (st.S_IWGRP | st.S_IWOTH)) and info.st_uid != folder.st_uid
            (self.archives if is_file else self.others).append(Archive(parsed, Seen.of(path, info), is_anybodys))
        elif is_file:
            self.temporaries[path] = Seen.of(path, info)

    def sort(self, trusted: Collection[int | None]) -> None:
        """Puts the archives in order, and those apart that another user may have put among them.

        Where others than its owner can write the directory, an archive is its owner's, the log's owner's, or of one of
        the `trusted` users. If the log is missing, that is the one user to whom all of them belong.
        """
        self.archives.sort(key=lambda archive: (*archive.key, archive.name.suffix))
        doubtful = [archive for archive in self.archives if archive.is_anybodys and archive.seen.uid not in trusted]
        owners = {archive.seen.uid for archive in doubtful} if len(doubtful) == len(self.archives) else set()
        owner = self.live.uid if self.live else owners.pop() if len(owners) == 1 else None
        strange = {archive.seen.path: archive for archive in doubtful if archive.seen.uid != owner}
        self.archives = [archive for archive in self.archives if archive.seen.path not in strange]
        self.others += strange.values()

    @property
    def archive_names(self) -> tuple[list[ArchiveName], list[ArchiveName]]:
        """Those of its archives, and those that others have given."""
        return [archive.name for archive in self.archives], [archive.name for archive in self.others]

    def newest(self, now: datetime) -> datetime | None:
        """When the newest generation was set aside; those that seem to be of the future do not count."""
        times = (archive.time(now) for archive in self.archives)
        return max((time for time in times if time <= now), default=None)


def find(
    paths: Sequence[str], exclude: Sequence[str], olddir: str | None, own: OwnFiles, *, owner: int | None = None
) -> tuple[list[Family], list[patterns.Miss]]:
    """The logs that patterns name, each with its archives, sorted by path, and what the patterns name in vain.

    `owner` is the user, besides root, maintd's own and a log's owner, whom archives may belong to.
    """
    expansion = patterns.expand(paths, exclude, own=own)
    found = {match.path: Family(match.path, Seen.of(match.path, match.stat)) for match in expansion.matches}
    for folder, origins in folders(expansion.directories, olddir).items():
        for name, info, ground in _ours_in(folder):
            candidates = [os.path.join(origin, _log_of(name)) for origin in origins]
            log = _present(candidates, found)
            if log is None and st.S_ISREG(info.st_mode):
                log = next((log for log in candidates if has_name(log, paths, exclude)), None)
            if log is not None and not own.has(log):
                found.setdefault(log, Family(log)).add(os.path.join(folder, name), info, ground)
    for family in found.values():
        family.sort(trusted=(0, os.geteuid(), owner))
    gone = [miss for miss in expansion.misses if not (miss.missing and miss.path in found)]
    return [found[log] for log in sorted(found)], gone


def folders(directories: Iterable[str], olddir: str | None) -> dict[str, list[str]]:
    """Where archives may lie, each with the directories of their logs."""
    folders: dict[str, list[str]] = defaultdict(list)
    for directory in sorted(directories):
        folders[directory].append(directory)
        archives = archive_directory(os.path.join(directory, "x"), olddir)
        if archives != directory:
            folders[archives].append(directory)
    return folders


def _present(candidates: Sequence[str], found: Mapping[str, Family]) -> str | None:
    """Which of the logs it is that one olddir holds archives of: one that is there, else one that has left some."""
    known = [log for log in candidates if log in found]
    return next((log for log in known if found[log].live), known[0] if known else None)


def _ours_in(folder: str) -> Iterator[tuple[str, os.stat_result, os.stat_result]]:
    """What has names in a folder that maintd gives, with the folder itself; regular files first, sorted by name.

    Looked for twice, since archives are being compressed meanwhile: one that got its compressed name too late for the
    first look had its plain one until then. Otherwise a generation would be missed, and its name given again.
    """
    found: dict[str, os.stat_result] = {}
    with suppress(OSError), durable.directory(folder) as dir_fd:
        ground = os.fstat(dir_fd)
        for _ in range(2):
            for name in filter(names.is_ours, os.listdir(dir_fd)):
                if name not in found:
                    with suppress(FileNotFoundError):
                        found[name] = os.lstat(name, dir_fd=dir_fd)
    for name in sorted(found, key=lambda name: (not st.S_ISREG(found[name].st_mode), name)):
        yield name, found[name], ground


def _log_of(name: str) -> str:
    plain = name.removesuffix(names.TEMPORARY)
    parsed = names.parse_archive(plain)
    return parsed.log if parsed else plain


def has_name(log: str, paths: Iterable[str], exclude: Iterable[str]) -> bool:
    """Whether patterns name a log, by its path alone."""
    return any(is_match(log, pattern) for pattern in paths) and not any(is_match(log, pattern) for pattern in exclude)
