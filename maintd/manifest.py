"""What a snapshot says of itself: which files it holds, in which pack, and what was known of each."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from typing import Any, Literal, Self

from maintd import names
from maintd.errors import MaintdError
from maintd.values import dataclass

FORMAT = 3
"""1 and 2 are read as well: 1 does not say to whom packs are encrypted, and nothing of directories; neither says on
which machine, and from what sources, a snapshot was made."""
NAME = "manifest.json"
SUMS = "SHA256SUMS"
CONTENTS = "CONTENTS.sha256"
_MOST_MODE = 0o7777
_NOBODY = (1 << 32) - 1
"""To chown(2) that is no user, but leaves the owner as it is."""
_MOST_TIME = 1 << 63
_PACKS = (".tar.zst", ".tar.zst.age")

Kind = Literal["file", "sqlite", "output"]


@dataclass(frozen=True)
class Source:
    """One file to be taken: where it is read, and what it is called and was where it belongs.

    `seen` is (device, inode, ctime) of an ordinary file, as planned, and `of` the pattern or directory by which it was
    found, "" if it is named itself.
    """

    name: str
    path: str
    kind: Kind
    directory: str
    file: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    seen: tuple[int, ...] = ()
    of: str = ""
    database: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Entry:
    """One file: `name` is its member in `pack`, `path` where it was; sizes in bytes, times in ns since the epoch.

    `seen` is (device, inode, ctime) of a file, by which the next snapshot knows that it did not change. `database` is
    what livedb.examine said of a copy. `is_unsettled`: it was being written each time that it was read.
    """

    name: str
    path: str
    kind: Kind
    size: int
    sha256: str
    mode: int
    uid: int
    gid: int
    owner: str
    group: str
    mtime_ns: int
    pack: str = ""
    seen: tuple[int, ...] = ()
    database: Mapping[str, Any] | None = None
    is_unsettled: bool = False


@dataclass(frozen=True)
class Pack:
    """A compressed tar archive: its own size and SHA-256, and the bytes of all that it ever held."""

    name: str
    size: int
    sha256: str
    content: int


@dataclass(frozen=True)
class Manifest:
    """One snapshot of a set. `missing` are sources that could not be taken; `left_out` what is no regular file.

    `recipient` is the public key to which all of its packs are encrypted. `directories` are those in which the files
    were, and those above, by path: (mode, uid, gid). `machine` tells machines of one host name apart (hosts.machine).
    `sources` are those of the job of which it has anything.
    """

    set: str
    taken: str
    maintd: str
    host: str
    entries: tuple[Entry, ...]
    packs: tuple[Pack, ...]
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    invariants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    checks: tuple[tuple[str, ...], ...] = ()
    recipient: str | None = None
    directories: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    machine: str = ""
    sources: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files, as they are restored."""
        return sum(entry.size for entry in self.entries)

    def lean(self) -> Self:
        """The same without what there is of each file and directory, which takes 1.4 KB of memory for a file."""
        return replace(self, entries=(), left_out=(), directories={})

    def pack(self, name: str) -> Pack:
        return next(pack for pack in self.packs if pack.name == name)

    def written(self) -> bytes:
        return json.dumps({"format": FORMAT} | asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises MaintdError for what no maintd wrote, or a newer one."""
        try:
            fields = json.loads(data)
            version = fields.pop("format")
            if version > FORMAT:
                raise MaintdError(
                    f"its manifest has format {version}, and this maintd knows {FORMAT}",
                    hint="use the maintd that made it, or a newer one; tar and zstd can read its packs",
                )
            found = cls(**fields | _nested(fields))
            _require_below(found)
            _require_sane(found)
            _require_text(found)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise MaintdError(f"its manifest is no manifest of maintd's: {error!r}") from error
        return found


def _require_below(found: Manifest) -> None:
    """ValueError if a name leads out of where it is put: whoever can write a manifest could use root for that."""
    packs = {pack.name for pack in found.packs}
    for name in packs:
        if os.path.basename(name) != name or not name.endswith(_PACKS):
            raise ValueError(f"{name!r} is no pack")
    for entry in found.entries:
        if not names.is_below(entry.name) or (entry.pack and entry.pack not in packs):
            raise ValueError(f"{entry.name!r} leads out of the snapshot")


def _require_sane(found: Manifest) -> None:
    """ValueError if an owner, a mode or a size is none that a file can have (stat(2))."""
    rights = [(entry.name, entry.mode, entry.uid, entry.gid) for entry in found.entries]
    rights += [(path, *of) for path, of in found.directories.items()]
    for name, mode, uid, gid in rights:
        if not (0 <= mode <= _MOST_MODE and 0 <= uid < _NOBODY and 0 <= gid < _NOBODY):
            raise ValueError(f"{name!r} has a mode or an owner that no file can have")
    for entry in found.entries:
        if not _is_size(entry.size) or not (isinstance(entry.mtime_ns, int) and abs(entry.mtime_ns) < _MOST_TIME):
            raise ValueError(f"{entry.name!r} has a size or a time that no file can have")
    for pack in found.packs:
        if not (_is_size(pack.size) and _is_size(pack.content)):
            raise ValueError(f"{pack.name!r} has a size that no pack can have")


def _require_text(found: Manifest) -> None:
    """TypeError if something that is text is none, or a database is described by something else than fields."""
    texts = [
        found.set,
        found.taken,
        found.maintd,
        found.host,
        found.machine,
        *found.sources,
        *found.missing,
        *found.left_out,
        *found.programs,
    ]
    texts += [text for argv in (*found.checks, *found.invariants.values()) for text in argv]
    for pack in found.packs:
        texts += (pack.name, pack.sha256)
    for entry in found.entries:
        texts += (entry.path, entry.sha256, entry.owner, entry.group, entry.pack)
        if not (entry.database is None or isinstance(entry.database, dict)):
            raise TypeError(f"what it says of {entry.name!r} is not what is said of a database")
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is no text")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _listed(value: object) -> tuple[Any, ...]:
    """A list; a text, which is a sequence as well, is none."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return tuple(value)


def _nested(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "entries": tuple(Entry(**entry | {"seen": tuple(entry["seen"])}) for entry in fields["entries"]),
        "packs": tuple(Pack(**pack) for pack in fields["packs"]),
        "missing": _listed(fields["missing"]),
        "left_out": _listed(fields["left_out"]),
        "sources": _listed(fields.get("sources", [])),
        "invariants": {path: _listed(queries) for path, queries in fields["invariants"].items()},
        "programs": _listed(fields["programs"]),
        "checks": tuple(_listed(argv) for argv in fields["checks"]),
        "directories": {path: (mode, uid, gid) for path, (mode, uid, gid) in fields.get("directories", {}).items()},
    }


def sums(pairs: list[tuple[str, str]]) -> bytes:
    """Lines that `sha256sum -c` reads, of (SHA-256 in hex, name); odd names are escaped as it does (sha256sum(1))."""
    lines = []
    for digest, name in pairs:
        odd = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{'' if odd == name else chr(92)}{digest}  {odd}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def read_sums(data: bytes) -> dict[str, str]:
    """The SHA-256 in hex by name, of lines without escapes, which maintd's own names never need."""
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
