"""Which files a job's glob patterns name: read by directory descriptor, following no link below the fixed prefix.

A pattern is an absolute path in which `*`, `?`, `[…]` match within one part of the path and `**` matches any number of
directories. As in a shell, a leading dot is matched by a dot only. The fixed prefix (up to the first part with a
wildcard) may contain symbolic links and is resolved; what the wildcards match may not. A pattern that names an existing
file literally means that file, so a log called `a[1].log` can be named. maintd's own files never match.
"""

import fnmatch
import os
import re
import stat as st
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

from maintd import names
from maintd.errors import trouble
from maintd.events import Event, Failure
from maintd.linux import open_beneath
from maintd.steps import Finding

_MAGIC = re.compile(r"[*?\[]")
DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Match:
    """A regular file that a pattern names; `path` has no symbolic link in it."""

    path: str
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class Miss:
    """A pattern, or something it names, that cannot be worked on, with the reason.

    `error` says that all of a pattern's files stay unseen because of it, so that the job cannot do its work.
    """

    path: str
    reason: str
    missing: bool = False
    error: OSError | None = None


@dataclass(slots=True)
class Expansion:
    """What patterns name now: files (by path, in order), what was passed over, and the directories that were read."""

    matches: list[Match] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    directories: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class PathsMissed(Event):
    """A job was asked to run, and one of its patterns names nothing, or something that is no regular file."""

    name: ClassVar[str] = "paths.missed"
    level: ClassVar[str] = "warning"

    reason: str

    @property
    def msg(self) -> str:
        return f"passed over: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class PathsFailed(Failure):
    """The directory of a job's pattern cannot be read, so that none of its files is looked after."""

    name: ClassVar[str] = "paths.failed"


@dataclass(frozen=True, slots=True)
class Prefix:
    """The fixed part of a pattern, resolved, and the parts after it; no `rest` if the pattern has no wildcard."""

    root: str
    rest: tuple[str, ...]

    def is_match(self, path: str) -> bool:
        """Whether the pattern names `path` (resolved), without looking at the disk."""
        root = self.root.rstrip("/") + "/"
        return path.startswith(root) and _is_match(tuple(path[len(root) :].split("/")), self.rest)


def split(pattern: str) -> Prefix:
    """Splits a pattern at its first wildcard. The last part always stays in `rest`, so `root` is a directory."""
    parts = [part for part in pattern.split("/") if part]
    fixed = 0
    while fixed < len(parts) - 1 and not _MAGIC.search(parts[fixed]):
        fixed += 1
    return Prefix(os.path.realpath("/" + "/".join(parts[:fixed])), tuple(parts[fixed:]))


def temporaries(directory: str) -> list[str]:
    """The paths of maintd's own temporaries in a directory."""
    try:
        descriptor = open_beneath(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        found = [name for name in os.listdir(descriptor) if name.endswith(names.TEMPORARY)]
    finally:
        os.close(descriptor)
    return [os.path.join(directory, name) for name in sorted(found)]


def expand(paths: Iterable[str], exclude: Iterable[str] = (), *, ours: bool = False) -> Expansion:
    """Every file that the patterns name now, each once, sorted by path; with `ours`, also those maintd set aside."""
    out = Expansion()
    seen: set[str] = set()
    excluded = tuple(split(pattern) for pattern in exclude)
    for pattern in paths:
        before = len(seen)
        misses = len(out.misses)
        for match in _files(pattern, out):
            name = os.path.basename(match.path)
            if match.path in seen or name.endswith(names.TEMPORARY) or (not ours and names.is_ours(name)):
                continue
            if not any(other.is_match(match.path) for other in excluded):
                seen.add(match.path)
                out.matches.append(match)
        if len(seen) == before and len(out.misses) == misses:
            out.misses.append(Miss(pattern, "matches no file", missing=True))
    out.matches.sort(key=lambda match: match.path)
    return out


def findings(misses: Iterable[Miss], *, asked: bool) -> Iterator[Finding]:
    """What a plan says of misses: to a person who asks all of them, else those that keep a job from its work."""
    for miss in misses:
        if miss.error is not None:
            event: Event = PathsFailed.from_trouble(miss.path, "read its directory", trouble(miss.error))
        elif asked:
            event = PathsMissed(target=miss.path, reason=miss.reason)
        else:
            continue
        yield Finding(target=miss.path, reason=miss.reason, event=event)


def is_match(path: str, pattern: str) -> bool:
    """Whether `path` (resolved) is one that the pattern names, without looking at the disk below the prefix."""
    return split(pattern).is_match(path)


def _is_match(parts: tuple[str, ...], rest: tuple[str, ...]) -> bool:
    if not parts or not rest:
        return not parts and not rest
    if rest[0] == "**":
        deeper = rest[1:] or ("*",)
        return _is_match(parts, deeper) or (not parts[0].startswith(".") and _is_match(parts[1:], rest))
    return _is_part(parts[0], rest[0]) and _is_match(parts[1:], rest[1:])


def _is_part(name: str, part: str) -> bool:
    """Whether one part of a pattern matches one name, by glob(7); a name also matches itself literally."""
    return name == part or (bool(_regex(part).match(name)) and (part.startswith(".") or not name.startswith(".")))


@lru_cache(maxsize=4096)
def _regex(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))


def _files(pattern: str, out: Expansion) -> Iterator[Match]:
    prefix = split(pattern)
    try:
        root_fd = open_beneath(prefix.root, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        out.misses.append(Miss(pattern, f"{prefix.root} does not exist", missing=True))
        return
    except OSError as error:
        out.misses.append(Miss(pattern, f"cannot open {prefix.root}: {error.strerror}", error=error))
        return
    try:
        yield from _below(root_fd, prefix.root, prefix.rest, out, 0)
    finally:
        os.close(root_fd)


def _below(dir_fd: int, directory: str, rest: tuple[str, ...], out: Expansion, depth: int) -> Iterator[Match]:
    out.directories.add(directory)
    part, deeper = rest[0], rest[1:]
    if not deeper and part != "**":
        yield from _named(dir_fd, directory, part, out)
        return
    if part == "**":
        yield from _below(dir_fd, directory, deeper or ("*",), out, depth)
        if depth >= DEEPEST:
            out.misses.append(Miss(directory, f"more than {DEEPEST} directories deep"))
            return
    for name in _listed(dir_fd, directory, out):
        if _is_part(name, "*" if part == "**" else part):
            child = os.path.join(directory, name)
            try:
                child_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
            except NotADirectoryError:
                continue
            except OSError as error:
                out.misses.append(Miss(child, f"cannot open it: {error.strerror}"))
                continue
            try:
                yield from _below(child_fd, child, rest if part == "**" else deeper, out, depth + 1)
            finally:
                os.close(child_fd)


def _named(dir_fd: int, directory: str, part: str, out: Expansion) -> Iterator[Match]:
    literal = not _MAGIC.search(part)
    if not literal:
        try:
            os.lstat(part, dir_fd=dir_fd)
        except OSError:
            pass
        else:
            literal = True
    for name in [part] if literal else _listed(dir_fd, directory, out):
        if literal or _is_part(name, part):
            yield from _regular(dir_fd, os.path.join(directory, name), name, literal, out)


def _regular(dir_fd: int, path: str, name: str, literal: bool, out: Expansion) -> Iterator[Match]:  # noqa: FBT001
    try:
        info = os.lstat(name, dir_fd=dir_fd)
    except FileNotFoundError:
        if literal:
            out.misses.append(Miss(path, "does not exist", missing=True))
        return
    except OSError as error:
        out.misses.append(Miss(path, f"cannot look at it: {error.strerror}"))
        return
    if st.S_ISREG(info.st_mode):
        yield Match(path, info)
    elif literal or not st.S_ISDIR(info.st_mode):
        out.misses.append(Miss(path, f"is {_kind(dir_fd, name, info.st_mode)}, not a regular file"))


def _kind(dir_fd: int, name: str, mode: int) -> str:
    if st.S_ISLNK(mode):
        try:
            os.stat(name, dir_fd=dir_fd)
        except OSError:
            return "a dangling symbolic link"
        return "a symbolic link"
    kinds = {
        st.S_IFDIR: "a directory",
        st.S_IFIFO: "a FIFO",
        st.S_IFSOCK: "a socket",
        st.S_IFCHR: "a device",
        st.S_IFBLK: "a device",
    }
    return kinds.get(st.S_IFMT(mode), "something else")


def _listed(dir_fd: int, directory: str, out: Expansion) -> list[str]:
    try:
        return sorted(os.listdir(dir_fd))
    except OSError as error:
        out.misses.append(Miss(directory, f"cannot list it: {error.strerror}"))
        return []
