"""The oracle: logs whose lines are numbered, and what is wrong with them when they are read back."""

import gzip
import io
import os
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

from backports import zstd

from maintd.names import TEMPORARY
from maintd.tarring import INDEX

from . import archive
from .table import Counts

_NAME = re.compile(r"(?s)(?P<log>.+?)(?:\.(?P<stamp>\d{8}T\d{6}Z)(?:-(?P<n>\d+))?)?(?P<suffix>\.zst|\.gz)?")
_GOLDEN = 0x9E3779B97F4A7C15


_LONG = 1_000_000_000
_WORDS = 4096


def line(number: int) -> bytes:
    """The line with this number: like no other, and of a length that depends on it; 64 KiB if it is a long one."""
    word = b"%016x" % (number * _GOLDEN % (1 << 64))
    return b"%010d %s\n" % (number, word * (_WORDS if number >= _LONG else 1 + number % 7))


@cache
def text(first: int, count: int) -> bytes:
    return b"".join(line(number) for number in range(first, first + count))


@dataclass
class Book:
    """What was written to each log, by its base name: the numbers of its lines in order."""

    written: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    may_go: set[int] = field(default_factory=set)
    """Lines of generations that the retention gives up."""
    may_miss: set[str] = field(default_factory=set)
    """Objects of an archive that it gives up: they go before their lines of the manifest do."""
    _next: int = 1

    def text(self, log: str, count: int, *, are_long: bool = False) -> bytes:
        """The next lines of a log."""
        first = self._next + (_LONG if are_long else 0)
        self._next += count
        self.written[log].extend(range(first, first + count))
        return text(first, count)


@dataclass
class Verdict:
    """What is wrong with a tree. `halves` are files under final names that do not read back.

    `unfinished`: a rotation in place was interrupted, so a line may be torn that its archive-to-be has whole.
    """

    lost: int = 0
    doubled: int = 0
    torn: int = 0
    nul: int = 0
    disordered: int = 0
    temporaries: list[str] = field(default_factory=list)
    halves: list[str] = field(default_factory=list)
    unfinished: bool = False
    unlisted: list[str] = field(default_factory=list)
    """Files of an archive that neither its manifest names nor the tree has elsewhere."""
    missing: list[str] = field(default_factory=list)
    """What a manifest names and is neither in the archive nor where it was."""

    @property
    def counts(self) -> Counts:
        return Counts(self.lost, self.doubled, self.torn, self.nul)

    @property
    def is_safe(self) -> bool:
        """Whether every line is whole somewhere, and nothing half-written looks like it were whole."""
        return not (
            self.lost or (self.torn and not self.unfinished) or self.nul or self.halves or self.unlisted or self.missing
        )

    @property
    def is_clean(self) -> bool:
        """Whether every line is there once, in order, and nothing else is."""
        return self.is_safe and not (self.torn or self.doubled or self.disordered or self.temporaries)


def look(folder: Path, book: Book, intents: Path | None = None) -> Verdict:  # noqa: C901 - one case for each way to lie there
    """Reads every file below a folder of logs, those in directories for archives too.

    While there are files in `intents`, an archive that is being made is a place for lines.
    """
    under_way = sorted(path.name for path in intents.glob("*")) if intents else []
    verdict = Verdict(temporaries=under_way, unfinished=bool(under_way))
    generations: defaultdict[str, list[tuple[tuple[str, int], bytes]]] = defaultdict(list)
    for directory, _, names in os.walk(folder):
        if archive.MANIFEST in names:
            archive.check(Path(directory), verdict.unlisted, verdict.missing)
            verdict.missing = [name for name in verdict.missing if name not in book.may_miss]
        for name in names:
            if name == archive.MANIFEST:
                continue
            plain = name.removesuffix(TEMPORARY)
            if name == plain and name.endswith(".tar.zst"):
                for member, content in _members(Path(directory, name), verdict):
                    generations[member].append((("", 0), content))
                continue
            match = _NAME.fullmatch(plain)
            assert match
            if name != plain:
                verdict.temporaries.append(name)
                if not (verdict.unfinished and match["stamp"]):
                    continue
            try:
                content = _content(Path(directory, name), match["suffix"])
            except (EOFError, OSError, zstd.ZstdError):
                if name == plain:
                    verdict.halves.append(name)
                continue
            live = match["stamp"] is None and match["suffix"] is None
            order = ("~" if live else match["stamp"] or "", int(match["n"] or 0))
            generations[match["log"]].append((order, content))
    for log in generations.keys() | book.written.keys():
        parts = [content for _, content in sorted(generations[log])]
        _compare(parts, book.written[log], book.may_go, verdict)
    return verdict


def _members(path: Path, verdict: Verdict) -> Iterator[tuple[str, bytes]]:
    """The files of a bundle by their base names; its index is none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(zstd.decompress(path.read_bytes()))) as tar:
            for member in tar.getmembers():
                content = tar.extractfile(member)
                if content and member.name != INDEX:
                    yield os.path.basename(member.name), content.read()
    except (EOFError, tarfile.TarError, zstd.ZstdError):
        verdict.halves.append(path.name)


def _content(path: Path, suffix: str | None) -> bytes:
    data = path.read_bytes()
    if suffix is None:
        return data
    if not data:
        raise EOFError("a compressed file is never empty")
    return gzip.decompress(data) if suffix == ".gz" else zstd.decompress(data)


def _compare(parts: Iterable[bytes], expected: list[int], may_go: set[int], verdict: Verdict) -> None:
    found: list[int] = []
    for part in parts:
        *whole, rest = part.split(b"\n")
        if whole and whole[0].isspace():
            del whole[0]  # the mark of what was archived in place
        verdict.torn += bool(rest)
        for raw in whole:
            number = int(raw[:10]) if raw[:10].isdigit() else 0
            if raw + b"\n" == line(number):
                found.append(number)
            else:
                verdict.torn += 1
        verdict.nul += b"\0" in part
    if found == expected:
        return
    times = Counter(found)
    verdict.lost += sum(1 for number in expected if number not in times and number not in may_go)
    verdict.doubled += sum(count - 1 for count in times.values())
    verdict.torn += len(times.keys() - set(expected))
    once = list(dict.fromkeys(found))
    order = {number: place for place, number in enumerate(expected)}
    verdict.disordered += sum(1 for before, after in pairwise(once) if order.get(after, 0) < order.get(before, 0))
