"""Which files a job's glob patterns name: read by directory descriptor, following no link below the fixed prefix.

A pattern is an absolute path in which `*`, `?`, `[…]` match within one part of the path and `**` matches any number of
directories. As in a shell, a leading dot is matched by a dot only. The fixed prefix (up to the first part with a
wildcard) may contain symbolic links that can be trusted, and is resolved; what the wildcards match may not. A pattern
also names the file that is called exactly so, as `a[1].log`; never that one alone, or a service with a log called
`*.log` would hide all others. maintd's own files never match.
"""

import os
import stat as st
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from typing import ClassVar

from maintd import names
from maintd.errors import Aborted, trouble
from maintd.events import Event, Failure
from maintd.linux import open_beneath
from maintd.matching import has_wildcard, is_part, split
from maintd.own_files import OwnFiles
from maintd.steps import Finding
from maintd.values import dataclass

_OWN = "belongs to maintd itself (its state, its socket, its config) and is never touched"
_NONE = OwnFiles()
DEEPEST = 64


@dataclass(frozen=True)
class Match:
    """A regular file that a pattern names; `path` has no symbolic link in it."""

    path: str
    stat: os.stat_result


@dataclass(frozen=True)
class Miss:
    """A pattern, or something it names, that cannot be worked on, with the reason.

    `error` says that all of a pattern's files stay unseen because of it, so that the job cannot do its work. What
    `is_there` is, but is no file that is worked on.
    """

    path: str
    reason: str
    missing: bool = False
    error: OSError | None = None
    is_there: bool = False


@dataclass
class Expansion:
    """What patterns name now: files (by path, in order), what was passed over, and the directories that were read.

    With `has_trees` the directories that they name are no misses, but `trees`.

    `own` are maintd's own files, which were left out; `is_over` is asked before each directory. `barriers` are paths
    at which something is mounted: below the fixed prefix of a pattern nothing is looked at there.
    """

    own: OwnFiles = field(default_factory=OwnFiles)
    is_over: Callable[[], bool] = lambda: False
    barriers: frozenset[str] = frozenset()
    has_trees: bool = False
    trees: list[str] = field(default_factory=list)
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
    """The directory of a job's pattern cannot be read, so that none of its files is looked after.

    It is tried again by itself; told again when that is something else, or once an hour.
    """

    name: ClassVar[str] = "paths.failed"
    is_repetitive: ClassVar[bool] = True


def temporaries(directory: str) -> list[Match]:
    """The temporaries of maintd in a directory, by name; what is no regular file is none."""
    try:
        descriptor = open_beneath(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        found = [name for name in sorted(os.listdir(descriptor)) if name.endswith(names.TEMPORARY)]
        infos = [(name, os.lstat(name, dir_fd=descriptor)) for name in found]
    except FileNotFoundError:  # one was just given its name: what is done beside this is at work, and leaves nothing
        return []
    finally:
        os.close(descriptor)
    return [Match(os.path.join(directory, name), info) for name, info in infos if st.S_ISREG(info.st_mode)]


def expand(  # noqa: PLR0913 - what a walk leaves out is said by name
    paths: Iterable[str],
    exclude: Iterable[str] = (),
    *,
    ours: bool = False,
    own: OwnFiles = _NONE,
    is_over: Callable[[], bool] = lambda: False,
    barriers: frozenset[str] = frozenset(),
    has_trees: bool = False,
) -> Expansion:
    """Every file that the patterns name now, each once, sorted by path; with `ours`, also what maintd has put there.

    What is maintd's `own` is no match; a pattern that names it without a wildcard gets a Miss for it. Raises Aborted if
    meanwhile it `is_over`.
    """
    out = Expansion(own, is_over, barriers, has_trees)
    seen: set[str] = set()
    excluded = tuple(split(pattern) for pattern in exclude)
    for pattern in paths:
        before, trees, misses = len(seen), len(out.trees), len(out.misses)
        for match in _files(pattern, out):
            name = os.path.basename(match.path)
            is_ours = names.is_ours(name) or (name == names.MANIFEST and not pattern.endswith(f"/{name}"))
            if match.path in seen or name.endswith(names.TEMPORARY) or (not ours and is_ours):
                continue
            if not any(other.is_match(match.path) for other in excluded):
                seen.add(match.path)
                out.matches.append(match)
        if (len(seen), len(out.trees), len(out.misses)) == (before, trees, misses):
            out.misses.append(Miss(pattern, "matches no file", missing=True))
    out.matches.sort(key=lambda match: match.path)
    out.misses = once(out.misses)
    return out


def may_match(pattern: str) -> bool:
    """Whether the fixed part of a pattern is there; all of it, if it has no wildcard."""
    prefix = split(pattern)
    is_fixed = len(prefix.rest) == 1 and not has_wildcard(prefix.rest[0])
    return os.path.lexists(os.path.join(prefix.root, prefix.rest[0])) if is_fixed else os.path.isdir(prefix.root)


def once(misses: Iterable[Miss]) -> list[Miss]:
    """Each of them once, also where several patterns come to it."""
    return list({(miss.path, miss.reason): miss for miss in misses}.values())


def findings(misses: Iterable[Miss], *, asked: bool) -> Iterator[Finding]:
    """What a plan says of misses: to a person who asks all of them, else those that keep a job from its work."""
    for miss in once(misses):
        if miss.error is not None:
            event: Event = PathsFailed.from_trouble(miss.path, "read its directory", trouble(miss.error))
        elif asked:
            event = PathsMissed(target=miss.path, reason=miss.reason)
        else:
            continue
        yield Finding(target=miss.path, reason=miss.reason, event=event)


def _files(pattern: str, out: Expansion) -> Iterator[Match]:
    prefix = split(pattern)
    if out.own.has(prefix.root):
        out.misses.append(Miss(pattern, _OWN))
        return
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
        if is_part(name, "*" if part == "**" else part):
            child = os.path.join(directory, name)
            if out.own.has(child) or _is_barred(child, out):
                continue
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
    for name in _listed(dir_fd, directory, out) if has_wildcard(part) else [part]:
        if is_part(name, part):
            yield from _regular(dir_fd, os.path.join(directory, name), name, name == part, out)


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
    if _is_barred(path, out):
        return
    if out.own.has(path):
        out.misses.extend([Miss(path, _OWN, is_there=True)] if literal else [])
    elif st.S_ISREG(info.st_mode):
        yield Match(path, info)
    elif out.has_trees and st.S_ISDIR(info.st_mode):
        out.trees.append(path)
    elif literal or not st.S_ISDIR(info.st_mode):
        out.misses.append(Miss(path, f"is {_kind(dir_fd, name, info.st_mode)}, not a regular file", is_there=True))


def _is_barred(path: str, out: Expansion) -> bool:
    if path in out.barriers:
        out.misses.append(Miss(path, "another file system is mounted there"))
    return path in out.barriers


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
    if out.is_over():
        raise Aborted(f"told to stop before {directory} was read")
    try:
        return sorted(os.listdir(dir_fd))
    except OSError as error:
        out.misses.append(Miss(directory, f"cannot list it: {error.strerror}"))
        return []
