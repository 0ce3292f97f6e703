"""The names maintd gives: `NAME.YYYYMMDDTHHMMSSZ[-N][.zst|.gz]` for what it set aside, one suffix for temporaries.

Names carry the state, so recovery is reading a directory. A name that does not parse is not ours and is never touched.
The stamp (UTC, so it sorts through both DST days) never goes backwards: with the clock behind, the newest stamp is
taken again and N grows.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import count

from maintd.values import dataclass

ASIDE = ".maintd-aside"
"""How the name ends of a directory in which a restore keeps what was there before it."""
TEMPORARY = ".maintd-tmp"
INTENT = ".intent"
MANIFEST = "maintd-manifest.jsonl"
"""What lies in an archive is listed in a file of this name; no job moves or deletes it."""
MACHINE = "maintd-machine"
"""The object that says which machine stores below a prefix, where the store cannot keep several apart."""
PROBE = "maintd-probe-"
"""How the object begins by which that is found out."""
LONGEST = 255
CODEC_SUFFIXES = {"zstd": ".zst", "gzip": ".gz", "none": ""}
_ARCHIVE = re.compile(r"(?sa)(?P<log>.+)\.(?P<stamp>\d{8}T\d{6}Z)(?:-(?P<n>[1-9]\d*))?(?P<suffix>\.zst|\.gz)?")
_LAST = frozenset("Z0123456789tz")
"""What the name of an archive can end in: most names of a large directory are told apart by that alone."""
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, order=True)
class ArchiveName:
    """The name of a file that was set aside; ordered by (stamp, n) for one log."""

    stamp: datetime
    n: int
    log: str
    suffix: str = ""

    def __str__(self) -> str:
        sequence = f"-{self.n}" if self.n else ""
        return f"{self.log}.{self.stamp.strftime(_STAMP)}{sequence}{self.suffix}"


def parse_archive(name: str) -> ArchiveName | None:
    """The parts of a file name that maintd gave, or None if it did not."""
    match = _ARCHIVE.fullmatch(name) if name[-1:] in _LAST else None
    if not match:
        return None
    try:
        stamp = datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=UTC)
    except ValueError:  # 20260231T…: the right shape, but no date
        return None
    return ArchiveName(stamp, int(match["n"] or 0), match["log"], match["suffix"] or "")


def next_archive(
    log: str, now: datetime, existing: Iterable[ArchiveName], strange: Iterable[ArchiveName] = ()
) -> ArchiveName:
    """The name under which to set `log` aside now: later than every existing one, also if the clock is behind.

    `strange` are names that others have given: they are stepped over, and say nothing of the time.
    """
    stamp, n = now.astimezone(UTC).replace(microsecond=0), 0
    newest = max(((name.stamp, name.n) for name in existing), default=None)
    if newest is not None and newest >= (stamp, 0):
        stamp, n = newest[0], newest[1] + 1
    taken = {name.n for name in strange if name.stamp == stamp}
    return ArchiveName(stamp, next(n for n in count(n) if n not in taken), log)


def is_below(path: str) -> bool:
    """Whether a relative path that was read off a manifest names something below the directory that it is joined to.

    Whoever can write the manifest would otherwise lead root to any file.
    """
    odd = not path or "\0" in path or path != os.path.normpath(path)
    return not odd and path not in (".", "..") and not path.startswith(("/", "../"))


def temporary(name: str) -> str:
    """The name beside `name` under which it is written before it is whole."""
    return with_suffix(name, TEMPORARY)


def with_suffix(name: str, suffix: str, longest: int = LONGEST) -> str:
    """A name with something added to it, which has at most so many bytes.

    It differs for different names, also where there is no room for all of them.
    """
    raw = os.fsencode(name)
    if len(raw) + len(suffix) <= longest:
        return name + suffix
    mark = f"~{hashlib.sha256(raw).hexdigest()[:16]}{suffix}"
    return os.fsdecode(raw[: longest - len(mark)]) + mark


def temporary_beside(path: str, longest: int = LONGEST) -> str:
    """The path of the temporary beside that path: its directory stays as it is."""
    directory, name = os.path.split(path)
    return os.path.join(directory, with_suffix(name, TEMPORARY, longest))


def fits(name: str) -> bool:
    """Whether a directory can hold a name of this length (NAME_MAX, 255 bytes)."""
    return len(os.fsencode(name)) <= LONGEST


def numbered(path: str, number: int) -> str:
    """The path with `-N` behind its name, of which as much is left as a directory can hold."""
    folder, name = os.path.split(path)
    while not fits(f"{name}-{number}"):
        name = name[:-1]
    return os.path.join(folder, f"{name}-{number}")


def is_ours(name: str) -> bool:
    """Whether maintd made this name, so that no pattern of a log may ever match it."""
    return name.endswith(TEMPORARY) or parse_archive(name) is not None


def printable(name: str) -> str:
    r"""A file name that is safe in an event or on a terminal: no control characters, and always UTF-8.

    Control characters and bytes that are not UTF-8 appear as `\xNN`.
    A backslash is doubled, so that the text is never ambiguous.
    """
    if name.isprintable() and name.isascii() and "\\" not in name:
        return name
    out: list[str] = []
    for char in name:
        code = ord(char)
        if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as os.fsdecode carries it (PEP 383)
            out.append(f"\\x{code - 0xDC00:02x}")
        elif char == "\\":
            out.append("\\\\")
        elif char.isprintable():
            out.append(char)
        else:
            out.extend(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    return "".join(out)


def legible(text: str) -> str:
    """Words, in which names may stand as they are, safe as `printable` makes them; what is safe already stays."""
    return text if text.isprintable() else printable(text).replace("\\\\", "\\")


def enumerated(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are: `/a.log, /b.log and 7 more`. Not made printable."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
