"""What lies in an archive: one JSON line for each file, so that every file can be found and brought back as it was.

A line is written and synced before the original goes. One that a crash has torn, or that somebody has damaged, is
passed over and counted; the next line begins on a line of its own. File names that are not UTF-8 are written as Python
carries them (PEP 383), as lone surrogates in JSON's own escapes.
"""

import json
import os
import stat as st
import sys
from collections.abc import Collection, Iterable
from dataclasses import asdict, field, fields, replace
from typing import Any, Self

from maintd import durable, names
from maintd.durable import Ownership
from maintd.steps import Seen
from maintd.values import dataclass

NAME = names.MANIFEST
_LEFT_OUT = ("member", "offset", "ctime_ns")
_ALIKE = ("codec", "at", "why", "job")
"""What many lines have in common is kept once."""
_OTHERS = st.S_IWGRP | st.S_IWOTH


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file of an archive.

    `name` is the stored object, relative to the archive; in a bundle, `member` is the file's name in it, and its frames
    begin at `offset`. `original` is the path it had, `ino` its inode there, `ctime_ns` its ctime when it was read; 0 in
    lines of older versions. `size`, `mtime_ns`, `mode`, `uid`, `gid`
    and `sha256` are those of the file itself, `stored_bytes` and `stored_sha256` of the object. `at` is when it was
    archived (RFC 3339), by the job `job`, and `why`.
    """

    name: str
    original: str
    ino: int
    size: int
    mtime_ns: int
    mode: int
    uid: int
    gid: int
    sha256: str
    codec: str
    stored_bytes: int
    stored_sha256: str
    at: str
    why: str
    job: str
    member: str = ""
    offset: int = 0
    ctime_ns: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.member

    def line(self) -> bytes:
        return _line({name: value for name, value in asdict(self).items() if value or name not in _LEFT_OUT})

    @classmethod
    def of(cls, found: Any) -> Self:
        """Raises ValueError or TypeError for what is no entry."""
        if not isinstance(found, dict):
            raise TypeError("it is no object of JSON")
        found.update((name, sys.intern(found[name])) for name in _ALIKE if type(found.get(name)) is str)
        entry = cls(**found)
        for each in fields(cls):
            if type(getattr(entry, each.name)) is not each.type:
                raise TypeError(f"{each.name} is not of type {each.type}")
        if not names.is_below(entry.name) or entry.name == NAME:
            raise ValueError(f"{entry.name} lies outside the archive")
        if entry.member and not names.is_below(entry.member):
            raise ValueError(f"{entry.member} would lead out of where it is unpacked")
        return entry

    def is_unmoved(self) -> bool:
        """Whether the file is still where it was: it was listed, and the run interrupted, or it was to stay.

        An inode alone says nothing: the next new file may get it.
        """
        try:
            info = os.lstat(self.original)
        except OSError:
            return False
        is_as_it_was = (info.st_size, info.st_mtime_ns) == (self.size, self.mtime_ns)
        return is_as_it_was or (info.st_ino, info.st_ctime_ns) == (self.ino, self.ctime_ns)

    def is_of(self, original: str, size: int, mtime_ns: int) -> bool:
        return (self.original, self.size, self.mtime_ns) == (original, size, mtime_ns)

    def is_as(self, seen: Seen) -> bool:
        """Whether the file is the one that was stored, untouched since: unlike mtime, no ctime is set back."""
        is_of = self.is_of(seen.path, seen.size, seen.mtime_ns)
        return is_of and (self.ino, self.ctime_ns) == (seen.ino, seen.ctime_ns)

    def touched(self, seen: Seen) -> Self:
        """The line of the same content for the file as it is now."""
        mode = seen.mode & 0o7777
        return replace(self, ino=seen.ino, ctime_ns=seen.ctime_ns, mode=mode, uid=seen.uid, gid=seen.gid)


@dataclass
class Manifest:
    """The entries by (name, member), in the order in which they were archived; `damaged` lines could not be read.

    `uid` is whom the file belongs to: what it says of owners is believed of root alone; and of nobody if it `is_open`:
    if others than its owner can write it, or put another in its place. `spoilt` are names under which something damaged
    lies, which are not given again. `is_there` is false of an archive that has no manifest.
    """

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    damaged: int = 0
    uid: int = 0
    is_open: bool = False
    is_there: bool = False
    spoilt: set[str] = field(default_factory=set)

    def take(self, lines: Iterable[bytes], of: Collection[str] | None = None) -> None:
        for line in filter(bytes.strip, lines):
            try:
                found = json.loads(line)
                if isinstance(found, dict) and found.get("void") is True:
                    self.entries.pop((str(found["name"]), str(found.get("member", ""))), None)
                    if found.get("spoilt") is True:
                        self.spoilt.add(str(found["name"]))
                elif of is None or found["original"] in of or (found["name"], found.get("member", "")) in self.entries:
                    entry = Entry.of(found)
                    self.entries[entry.key] = entry
            except (ValueError, TypeError, KeyError):
                self.damaged += 1


def void(entry: Entry) -> bytes:
    """The line that takes an entry back."""
    return void_line(*entry.key, at=entry.at)  # it is no other's: manifests of two machines are put together by line


def void_line(name: str, member: str, **said: str | bool) -> bytes:
    """The same of an entry by its name and member; `said` is for people, but for `spoilt`, by which a name is taken."""
    return _line({"name": name, "void": True} | ({"member": member} if member else {}) | said)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def read(directory: str, of: Collection[str] | None = None) -> Manifest:
    """The manifest of an archive; an empty one if there is none. OSError if it cannot be read.

    With `of` only the entries of these originals are kept and looked at: others take 750 bytes of memory each.
    """
    found = Manifest()
    try:
        with durable.directory(directory) as dir_fd, durable.opened(NAME, dir_fd=dir_fd) as descriptor:
            info, above = os.fstat(descriptor), os.fstat(dir_fd)
            found.uid, found.is_there = info.st_uid, True
            found.is_open = bool(info.st_mode & _OTHERS) or is_unguarded(above)
            with os.fdopen(os.dup(descriptor), "rb") as lines:
                found.take(lines, of)
    except FileNotFoundError:
        pass
    return found


def is_unguarded(directory: os.stat_result) -> bool:
    """Whether others than its owner can remove and replace what lies in a directory."""
    return bool(directory.st_mode & _OTHERS) and not directory.st_mode & st.S_ISVTX


def add(lines: bytes, *, dir_fd: int) -> None:
    """Adds lines to the manifest in this directory, whole and durable, or nothing; also beside others who do so.

    A new manifest gets the owner of the directory, and its mode, but nothing for others: who may open it can lock it.
    Root's is for root alone.
    """
    info = os.fstat(dir_fd)
    mode = info.st_mode & (0o660 if info.st_uid else 0o600)
    durable.append(NAME, lines, Ownership(mode, info.st_uid, info.st_gid), dir_fd=dir_fd)
