"""What a set of a backup consists of now: live databases, files, and what is passed over, each with its reason."""

import os
import stat as st
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from maintd import grounds, headers, patterns
from maintd.headers import SMALLEST_PAGE, Header
from maintd.linux import open_beneath
from maintd.manifest import Source
from maintd.matching import is_match
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
    """The sources of a set; `strange` are files that should be databases and are none, `lacking` misses that count."""

    databases: list[Database] = field(default_factory=list)
    files: list[Source] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    lacking: list[Miss] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.databases or self.files)


def find(databases: Iterable[str], files: Iterable[str], exclude: Iterable[str], own: OwnFiles, apart: str) -> Found:
    """Reads the disk. Nothing below `apart`, the destination, is a source.

    A database among the files is taken as a database; what lies beside one (-wal, -shm, -journal) is never copied.
    """
    out = Found()
    exclude = tuple(exclude)
    expansion = patterns.expand(databases, exclude, own=own)
    out.misses += expansion.misses
    wanted = {match.path: match for match in expansion.matches}
    plain = {match.path: match for match in _files(files, exclude, own, out.misses)}
    for path, match in sorted((plain | wanted).items()):
        if path.startswith(f"{apart}/"):
            continue
        header = headers.read(path) if path in wanted or _may_be_database(match) else None
        if header is not None:
            out.databases.append(Database(Seen.of(path, match.stat), header))
        elif path in wanted and match.stat.st_size:
            out.strange.append(path)
        else:
            out.files.append(of_file(match))
    known = {database.seen.path for database in out.databases}
    out.files = [source for source in out.files if headers.main_of(source.path) not in known]
    return out


def _may_be_database(match: Match) -> bool:
    """Whether a file is to be looked into: by its name, by what lies beside it, or since it consists of whole pages.

    One that is not opened is none, so that a run does not read the beginnings of all the files that did not change.
    """
    if match.path.endswith(_DATABASES) or (match.stat.st_size and match.stat.st_size % SMALLEST_PAGE == 0):
        return True
    return any(os.path.exists(match.path + suffix) for suffix in ("-wal", "-journal"))


def of_file(match: Match) -> Source:
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
    )


def _files(files: Iterable[str], exclude: tuple[str, ...], own: OwnFiles, misses: list[Miss]) -> Iterator[Match]:
    """A name of a directory stands for all that is below it, names with a leading dot too."""
    directories = [path for path in files if os.path.isdir(path)]
    expansion = patterns.expand([path for path in files if path not in directories], exclude, ours=True, own=own)
    misses += expansion.misses
    yield from expansion.matches
    for directory in directories:
        for match in _below(grounds.real(directory), own, misses):
            if not any(is_match(match.path, pattern) for pattern in exclude):
                yield match


def _below(directory: str, own: OwnFiles, misses: list[Miss]) -> Iterator[Match]:
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
            try:
                info = os.lstat(name, dir_fd=descriptor)
            except FileNotFoundError:
                continue
            except OSError as error:
                misses.append(Miss(path, f"cannot look at it: {error.strerror}", error=error))
                continue
            if st.S_ISDIR(info.st_mode):
                yield from _below(path, own, misses)
            elif st.S_ISREG(info.st_mode):
                yield from () if own.has(path) else [Match(path, info)]
            else:
                misses.append(Miss(path, "is no regular file"))
    finally:
        os.close(descriptor)


def invariants_of(path: str, invariants: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The queries that are given for a database, by the patterns that name it."""
    return tuple(query for pattern, queries in invariants.items() if is_match(path, pattern) for query in queries)
