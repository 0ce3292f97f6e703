"""What a set of a backup consists of now: live databases, files, and what is passed over, each with its reason."""

import os
import stat as st
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from maintd import grounds, headers, patterns
from maintd.headers import SMALLEST_PAGE, Header
from maintd.linux import open_beneath
from maintd.manifest import Source
from maintd.matching import Prefix, has_wildcard, is_match, split
from maintd.own_files import OwnFiles
from maintd.patterns import Match, Miss
from maintd.steps import Seen
from maintd.values import dataclass

_DATABASES = (".db", ".sqlite", ".sqlite3", ".db3", ".s3db")
"""How databases are mostly called: a file of a directory with such a name is looked into, whatever its size."""


@dataclass(frozen=True)
class Database:
    """A live SQLite database, as its header shows it."""

    seen: Seen
    header: Header


@dataclass
class Found:
    """The sources of a set; `strange` are files that should be databases and are none.

    `having` are the sources of which it has anything.
    """

    databases: list[Database] = field(default_factory=list)
    files: list[Source] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    having: list[str] = field(default_factory=list)


def find(databases: Iterable[str], files: Iterable[str], exclude: Iterable[str], own: OwnFiles, apart: str) -> Found:
    """Reads the disk. Nothing below `apart`, the destination, or below a directory that is excluded, is a source.

    A database among the files is taken as a database; what lies beside one (-wal, -shm, -journal) is never copied.
    """
    out = Found()
    excluded = tuple(split(pattern) for pattern in exclude)
    wanted = _by_path(_matches(databases, own, out.misses))
    plain = _by_path(_files(files, excluded, own, out.misses))
    for path, (match, option) in sorted(_by_path([*plain.values(), *wanted.values()]).items()):
        if path.startswith(f"{apart}/") or any(one.covers(path) for one in excluded):
            continue
        header = headers.read(path) if path in wanted or _may_be_database(match) else None
        if header is not None:
            out.databases.append(Database(Seen.of(path, match.stat), header))
        elif path in wanted and match.stat.st_size:
            out.strange.append(path)
        else:
            out.files.append(of_file(match, option))
    known = {database.seen.path for database in out.databases}
    out.files = [source for source in out.files if headers.main_of(source.path) not in known]
    return out


def names_any(option: str, own: OwnFiles, apart: str) -> bool:
    """Whether it names any file, or is a directory with any below it, were nothing excluded."""
    found = _files([option], (), own, [])
    return any(not match.path.startswith(f"{apart}/") for match, _ in found)


def _may_be_database(match: Match) -> bool:
    """Whether a file is to be looked into: by its name, by what lies beside it, or since it consists of whole pages.

    One that is not opened is none, so that a run does not read the beginnings of all the files that did not change.
    """
    if match.path.endswith(_DATABASES) or (match.stat.st_size and match.stat.st_size % SMALLEST_PAGE == 0):
        return True
    return any(os.path.exists(match.path + suffix) for suffix in ("-wal", "-journal"))


def _by_path(found: Iterable[tuple[Match, str]]) -> dict[str, tuple[Match, str]]:
    """Each once; what is named itself counts as that."""
    pairs = list(found)
    return {match.path: (match, option) for match, option in (*pairs, *(pair for pair in pairs if not pair[1]))}


def of_file(match: Match, option: str) -> Source:
    info = match.stat
    return Source(
        name=match.path.lstrip("/"),
        path=match.path,
        kind="file",
        directory=os.path.dirname(match.path),
        file=os.path.basename(match.path),
        mode=st.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        mtime_ns=info.st_mtime_ns,
        size=info.st_size,
        seen=(info.st_dev, info.st_ino, info.st_ctime_ns),
        of=option,
    )


def _matches(options: Iterable[str], own: OwnFiles, misses: list[Miss]) -> Iterator[tuple[Match, str]]:
    """The files that patterns name, each with its pattern, "" if that is the file's name."""
    for option in options:
        expansion = patterns.expand([option], own=own)
        misses += expansion.misses
        yield from ((match, _pattern(option)) for match in expansion.matches)


def _files(
    options: Iterable[str], excluded: Sequence[Prefix], own: OwnFiles, misses: list[Miss]
) -> Iterator[tuple[Match, str]]:
    """The same, and all that is below the directories that they name, where names with a leading dot count too.

    `**` at the end names files alone, for it goes below by itself.
    """
    for option in options:
        trees = [grounds.real(option)] if os.path.isdir(option) else []
        if not trees:
            expansion = patterns.expand([option], ours=True, own=own, has_trees=not option.endswith("/**"))
            misses += expansion.misses
            yield from ((match, _pattern(option)) for match in expansion.matches)
            trees = expansion.trees
        for tree in trees:
            if not any(one.covers(tree) for one in excluded):
                yield from ((match, option) for match in _below(tree, excluded, own, misses))


def _pattern(option: str) -> str:
    return option if has_wildcard(option) else ""


def _below(directory: str, excluded: Sequence[Prefix], own: OwnFiles, misses: list[Miss]) -> Iterator[Match]:
    """Every regular file below a directory, by descriptors; no link is followed, and other file systems are entered."""
    if own.has(directory):
        return
    try:
        descriptor = open_beneath(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        misses.append(Miss(directory, f"cannot open it: {error.strerror}", error=error))
        return
    try:
        for name in sorted(os.listdir(descriptor)):
            path = os.path.join(directory, name)
            if any(one.is_match(path) for one in excluded):
                continue
            try:
                info = os.lstat(name, dir_fd=descriptor)
            except FileNotFoundError:
                continue
            except OSError as error:
                misses.append(Miss(path, f"cannot look at it: {error.strerror}", error=error))
                continue
            if st.S_ISDIR(info.st_mode):
                yield from _below(path, excluded, own, misses)
            elif st.S_ISREG(info.st_mode):
                yield from () if own.has(path) else [Match(path, info)]
            else:
                misses.append(Miss(path, "is no regular file"))
    finally:
        os.close(descriptor)


def invariants_of(path: str, invariants: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The queries that are given for a database, by the patterns that name it."""
    return tuple(query for pattern, queries in invariants.items() if is_match(path, pattern) for query in queries)
