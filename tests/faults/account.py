"""Whether every line that writers wrote is there once, whole and in order, over a log's archives and the log itself.

Fast because a stretch of lines is compared with what its writer must have written, a block at a time; only around a
fault each line is looked at by itself. Half a gigabyte takes about a second.
"""

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from backports import zstd

from .numbered import LINES_A_BLOCK, NUMBER, SPANS, block, size
from .table import Counts

FILLER = re.compile(rb"[ \t]*\n")
"""What maintd leaves at the head of a log that it rotated in place: a line of spaces and tabs, which nobody wrote."""
_STAMPED = re.compile(r"(?P<stamp>\d{8}T\d{6}Z)(?:-(?P<n>[1-9]\d*))?(?P<suffix>\.zst|\.gz)?")


@dataclass
class Account:
    """How many lines were `written`, and what is wrong with those that were found.

    `torn` are lines that no writer wrote like that (`shreds` has the first of them), `nul` bytes, `disordered`
    stretches that come before an earlier one of the same writer, `cut` archives that do not end on a line (whole all
    the same if read in order). `strays` are names that nobody expects, and whatever else speaks against it.
    """

    written: int = 0
    archives: int = 0
    lost: int = 0
    lost_bytes: int = 0
    doubled: int = 0
    torn: int = 0
    nul: int = 0
    disordered: int = 0
    cut: int = 0
    shreds: list[bytes] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not (self.lost or self.doubled or self.torn or self.nul or self.disordered or self.strays)

    def tear(self, lines: list[bytes]) -> None:
        self.torn += len(lines)
        self.shreds = (self.shreds + lines)[:5]

    def is_as_promised(self, *, may_lose: bool) -> bool:
        """Whether nothing is wrong but what may be: with `may_lose`, lines lost, and torn where they were cut."""
        return self.is_whole or (may_lose and not (self.doubled or self.nul or self.disordered or self.strays))

    @property
    def counts(self) -> Counts:
        return Counts(self.lost, self.doubled, self.torn, self.nul)

    def __str__(self) -> str:
        parts = [f"{self.written:,} lines, {self.archives} rotations: {self.lost:,} lost, {self.doubled:,} doubled"]
        parts += [f"{self.torn:,} torn, {self.nul:,} NUL"]
        parts += [f"{self.disordered:,} out of order"] if self.disordered else []
        parts += [f"{self.cut} archives end within a line"] if self.cut else []
        parts += [f"torn like {self.shreds[0][:60]!r}"] if self.shreds else []
        parts += [f"left over: {', '.join(self.strays)}"] if self.strays else []
        return ", ".join(parts)


def archives(log: Path) -> list[Path]:
    """What maintd set aside of this log, oldest first."""
    found = []
    for path in log.parent.glob(f"{log.name}.*"):
        match = _STAMPED.fullmatch(path.name.removeprefix(f"{log.name}."))
        if match:
            found.append((match["stamp"], int(match["n"] or 0), path))
    return [path for _, _, path in sorted(found)]


def rotations(found: Iterable[Path]) -> int:
    """How many rotations these archives are of: one that is being compressed is there twice for a moment."""
    return len({path.name.removesuffix(".zst").removesuffix(".gz") for path in found})


def settle(log: Path, written: Mapping[str, int]) -> Account:
    """The account of a log that nobody writes any more; `written` are each writer's lines."""
    old = archives(log)
    account = tally(chain(map(_without_mark, map(content, old)), [live(log)]), written)
    account.archives = rotations(old)
    mine = {log, *old}
    account.strays = sorted(path.name for path in log.parent.glob(f"{log.name}*") if path not in mine)
    return account


def content(path: Path) -> bytes:
    """What a file held before it was compressed."""
    if path.suffix == ".zst":
        with zstd.open(path) as file:  # zstd.decompress copies all the rest for each of the frames
            return file.read()
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def live(log: Path) -> bytes:
    """The content of a log."""
    return _without_mark(log.read_bytes() if log.exists() else b"")


def _without_mark(data: bytes) -> bytes:
    """The content without the mark of what was archived in place; a log that is renamed later takes its mark along."""
    filler = FILLER.match(data)
    return data[filler.end() :] if filler else data


def tally(pieces: Iterable[bytes], written: Mapping[str, int]) -> Account:
    """The account of what stands in these pieces, one after the other."""
    account = Account(written=sum(written.values()))
    found = {ident.encode(): Found(ident.encode(), count) for ident, count in written.items()}
    for text in _whole_lines(pieces, account):
        for ident, lines in _by_writer(text, list(found), account):
            account.tear(found[ident].take(lines))
    for one in found.values():
        one.add_to(account)
    return account


def _whole_lines(pieces: Iterable[bytes], account: Account) -> Iterator[bytes]:
    """The pieces cut at ends of lines, without NULs; what a piece ends with belongs to the next one's first line."""
    rest = b""
    pieces = iter(pieces)
    following = next(pieces, None)
    while following is not None:
        piece, following = following, next(pieces, None)
        count = piece.count(0)
        account.nul += count
        text = rest + (piece.replace(b"\0", b"") if count else piece)
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        account.cut += bool(rest) and following is not None
        yield text[:end]
    account.tear([rest] if rest else [])


def _by_writer(text: bytes, idents: list[bytes], account: Account) -> Iterator[tuple[bytes, bytes]]:
    if len(idents) == 1:
        yield idents[0], text
        return
    lines = text.splitlines(keepends=True)
    for ident in idents:
        yield ident, b"".join([line for line in lines if line[0] == ident[0]])
    known = {ident[0] for ident in idents}
    account.tear([line for line in lines if line[0] not in known])


class Found:
    """What was found of one writer's lines, as stretches of numbers."""

    def __init__(self, ident: bytes, written: int) -> None:
        self.ident, self.written = ident, written
        self.stretches: list[tuple[int, int]] = []
        self.known: tuple[int, bytes] = (-1, b"")

    def take(self, text: bytes) -> list[bytes]:
        """Notes what stands in `text`, whole lines; returns those that nobody wrote like that."""
        position, torn = 0, []
        while position < len(text):
            first, last, end = self._stretch(text, position)
            if first == last:
                end = text.index(b"\n", position) + 1
                torn.append(text[position:end])
            elif self.stretches and self.stretches[-1][1] == first:
                self.stretches[-1] = (self.stretches[-1][0], last)
            else:
                self.stretches.append((first, last))
            position = end
        return torn

    def _stretch(self, text: bytes, position: int) -> tuple[int, int, int]:
        """The first and the end of the numbers that stand here one after the other, and where the text goes on."""
        digits = text[position + NUMBER.start : position + NUMBER.stop]
        first = int(digits) if len(digits) == 10 and digits.isdigit() else self.written
        if first >= self.written:
            return 0, 0, position
        expected = self._block(first // LINES_A_BLOCK)
        index = first % LINES_A_BLOCK
        most = min(LINES_A_BLOCK, index + self.written - first)
        start, end = SPANS[index][0], SPANS[most - 1][1]
        if text.startswith(expected[start:end], position):
            return first, first + most - index, position + end - start
        reached = index
        while reached < most and text.startswith(
            expected[slice(*SPANS[reached])], position + SPANS[reached][0] - start
        ):
            reached += 1
        return first, first + reached - index, position + (SPANS[reached - 1][1] - start if reached > index else 0)

    def _block(self, number: int) -> bytes:
        if self.known[0] != number:
            self.known = (number, block(self.ident, number))
        return self.known[1]

    def add_to(self, account: Account) -> None:
        reached = different = 0
        for first, last in [*sorted(self.stretches), (self.written, self.written)]:
            account.lost_bytes += size(reached, max(first, reached))
            different += max(0, last - max(first, reached))
            reached = max(reached, last)
        account.doubled += sum(last - first for first, last in self.stretches) - different
        account.lost += self.written - different
        account.disordered += sum(
            later[0] < earlier[1] for earlier, later in zip(self.stretches, self.stretches[1:], strict=False)
        )
