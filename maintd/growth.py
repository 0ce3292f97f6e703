"""Which files a job watches, by its patterns, and which of them have just grown past their limit, by stat."""

import math
import os
import stat as st
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from maintd import grounds, names, patterns
from maintd.job import Watched
from maintd.matching import Prefix, split
from maintd.own_files import OwnFiles
from maintd.values import dataclass

SOONEST, LATEST = 1.0, 300.0
LINKS = 40


@dataclass(frozen=True, slots=True)
class _Area:
    """What one group of patterns means, by paths alone; its limit in bytes, None if its files are not watched."""

    wanted: tuple[Prefix, ...]
    unwanted: tuple[Prefix, ...]
    own: OwnFiles
    limit: int | None

    def has_file(self, path: str) -> bool:
        if self.own.has(path) or any(pattern.is_match(path) for pattern in self.unwanted):
            return False
        return any(pattern.is_match(path) for pattern in self.wanted)

    def has_directory(self, path: str) -> bool:
        return not self.own.has(path) and any(_leads(pattern, path) for pattern in self.wanted)


@dataclass(frozen=True, slots=True)
class Territory:
    """Where a job's files are now: `files`, the `directories` that were read for them, and the `route` to those.

    The route is every (directory, name) that is passed on the way to a pattern's fixed root, symbolic links included,
    up to the first name that does not exist: when one of them changes, the patterns may mean other files. Each file
    has its limit, in bytes.
    """

    files: Mapping[str, int]
    directories: frozenset[str]
    route: frozenset[tuple[str, str]]
    areas: tuple[_Area, ...]

    @property
    def to_watch(self) -> frozenset[str]:
        return self.directories | {directory for directory, _ in self.route}

    def limit(self, path: str) -> int | None:
        """The limit of this file, by its path alone: that of the first patterns that name it; None if there is none."""
        if names.is_ours(os.path.basename(path)):
            return None
        return next((area.limit for area in self.areas if area.has_file(path)), None)

    def has_directory(self, path: str) -> bool:
        """Whether there may be files of the patterns below this directory, by its path alone."""
        return any(area.limit is not None and area.has_directory(path) for area in self.areas)


def survey(groups: Sequence[Watched], is_over: Callable[[], bool] = lambda: False) -> Territory:
    """Reads the directories of these groups of patterns now. Raises Aborted as soon as it `is_over`."""
    areas: list[_Area] = []
    files: dict[str, int] = {}
    directories: set[str] = set()
    route: set[tuple[str, str]] = set()
    for group in groups:
        area = _Area(tuple(map(split, group.paths)), tuple(map(split, group.exclude)), group.own, group.max_size)
        if group.max_size is not None:
            found = patterns.expand(group.paths, group.exclude, own=group.own, is_over=is_over)
            news = [match.path for match in found.matches if match.path not in files]
            silent = [other for other in areas if other.limit is None]
            files |= {path: group.max_size for path in news if not any(other.has_file(path) for other in silent)}
            directories |= found.directories
            for pattern, prefix in zip(group.paths, area.wanted, strict=True):
                parts = [part for part in pattern.split("/") if part]
                route |= _route(parts[: -len(prefix.rest)])
        areas.append(area)
    return Territory(files, frozenset(directories), frozenset(route), tuple(areas))


def is_regular(path: str) -> bool:
    """Whether there is a regular file, with no symbolic link on the way to it."""
    try:
        return st.S_ISREG(os.lstat(path).st_mode) and grounds.real(path) == path
    except OSError:
        return False


def _leads(pattern: Prefix, directory: str) -> bool:
    """`/a/*/b/*.log` leads through what `/a/*` and `/a/*/b` match; a trailing `**` through everything."""
    ends = range(1, len(pattern.rest) + (pattern.rest[-1] == "**"))
    return any(Prefix(pattern.root, pattern.rest[:end]).is_match(directory) for end in ends)


def _route(fixed: list[str]) -> set[tuple[str, str]]:
    steps: set[tuple[str, str]] = set()
    current, rest = "/", fixed[::-1]
    links = 0
    while rest and links <= LINKS:
        part = rest.pop()
        if part in ("", ".", ".."):
            current = os.path.dirname(current) if part == ".." else current
            continue
        steps.add((current, part))
        try:
            target = os.readlink(os.path.join(current, part))
        except FileNotFoundError:
            break
        except OSError:  # EINVAL: it is no link
            current = os.path.join(current, part)
            continue
        links += 1
        current = "/" if target.startswith("/") else current
        rest.extend(reversed(target.split("/")))
    return steps


@dataclass(slots=True)
class _Report:
    """What was said last of a file that is too large; `again` is when it may be said again (monotonic seconds)."""

    inode: tuple[int, int]
    size: int
    again: float
    wait: float = SOONEST

    def is_outdated(self, info: os.stat_result) -> bool:
        """Whether the file is another one by now, or was emptied and has grown anew."""
        return self.inode != (info.st_dev, info.st_ino) or info.st_size < self.size


class Sizes:
    """The watched files of all jobs, and what was reported of them. `poll` costs one lstat(2) per file."""

    def __init__(self) -> None:
        self._limits: dict[bytes, int] = {}  # bytes: encoding a str at each stat costs a third more
        self._watchers: dict[bytes, dict[str, int]] = {}
        self._files: defaultdict[str, set[bytes]] = defaultdict(set)
        self._reports: dict[tuple[str, bytes], _Report] = {}

    def __len__(self) -> int:
        return len(self._limits)

    def add(self, job: str, path: str, limit: int) -> None:
        """Watches one file more for this job; `limit` in bytes."""
        file = os.fsencode(path)
        self._files[job].add(file)
        self._watchers.setdefault(file, {})[job] = limit
        self._limits[file] = min(self._watchers[file].values())

    def replace(self, job: str, territory: Territory) -> None:
        """Makes these the files of this job; what was reported of those that stay is kept.

        A file that was not found but is still there stays: its directory could not be read, for want of a descriptor.
        """
        files = set(map(os.fsencode, territory.files))
        for file in self._files[job] - files:
            path = os.fsdecode(file)
            if territory.limit(path) is None or not is_regular(path):
                self._drop(job, file)
        for path, limit in territory.files.items():
            if self._watchers.get(os.fsencode(path), {}).get(job) != limit:
                self.add(job, path, limit)

    def forget(self, job: str) -> None:
        """Watches nothing for this job any more."""
        for file in tuple(self._files[job]):
            self._drop(job, file)
        del self._files[job]

    def renew(self, path: str) -> None:
        """A new file is at this path: what was reported of the one before, maybe of the same inode, is void."""
        file = os.fsencode(path)
        for job in self._watchers.get(file, ()):
            self._reports.pop((job, file), None)

    def settle(self, job: str, paths: Iterable[str], now: float, *, once: bool = False) -> None:
        """A run for these files has ended. One that is still too large may be reported again, each time later.

        With `once` it is not reported again for merely staying so.
        """
        for path in paths:
            report = self._reports.get((job, os.fsencode(path)))
            if report:
                report.again = math.inf if once else now + report.wait
                report.wait = min(report.wait * 2, LATEST)

    def relieve(self, job: str, paths: Iterable[str]) -> None:
        """These were rotated: one that is too large has become so again, however large it is and was."""
        for path in paths:
            self._reports.pop((job, os.fsencode(path)), None)

    def poll(self, now: float) -> dict[str, frozenset[str]]:
        """Per job, the files that are to be reported as too large at `now` (monotonic seconds)."""
        over: dict[bytes, os.stat_result] = {}
        gone: list[bytes] = []
        lstat = os.lstat
        for file, limit in self._limits.items():
            try:
                info = lstat(file)
            except OSError:
                gone.append(file)
                continue
            if info.st_size > limit:
                over[file] = info
        for file in gone:
            self._vanished(file)
        self._reports = {key: report for key, report in self._reports.items() if key[1] in over}
        return self._news(over, now) if over else {}

    def _news(self, over: Mapping[bytes, os.stat_result], now: float) -> dict[str, frozenset[str]]:
        grown: defaultdict[str, set[str]] = defaultdict(set)
        for file, info in over.items():
            if not st.S_ISREG(info.st_mode):
                self._vanished(file)
                continue
            for job, limit in self._watchers[file].items():
                if info.st_size <= limit:
                    self._reports.pop((job, file), None)
                elif self._is_news((job, file), info, now):
                    grown[job].add(os.fsdecode(file))
        return {job: frozenset(paths) for job, paths in grown.items()}

    def _is_news(self, key: tuple[str, bytes], info: os.stat_result, now: float) -> bool:
        report = self._reports.get(key)
        if report is None or report.is_outdated(info):
            self._reports[key] = _Report((info.st_dev, info.st_ino), info.st_size, now + LATEST)
            return True
        if now < report.again:
            return False
        report.again = now + LATEST
        return True

    def _vanished(self, file: bytes) -> None:
        for job in tuple(self._watchers[file]):
            self._drop(job, file)

    def _drop(self, job: str, file: bytes) -> None:
        self._files[job].discard(file)
        self._reports.pop((job, file), None)
        watchers = self._watchers[file]
        watchers.pop(job, None)
        if watchers:
            self._limits[file] = min(watchers.values())
        else:
            del self._watchers[file], self._limits[file]
