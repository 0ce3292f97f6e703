"""The demo's bookkeeping: what maintd did, by its events, and whether every line is still there, by counting."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backports import zstd

from maintd.names import parse_archive
from maintd.units import counted, format_size

_NUMBER = re.compile(rb'(?:req=|"seq": )(\d+)\}?\Z')

EventFields = dict[str, Any]


class Follower:
    """The lines of a file that grows and is rotated by renaming; the old one is read to its end first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """What was added since the last call. A new file that holds something means that the old one is complete."""
        while True:
            replaced = self._is_replaced()
            *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
            yield from whole
            if not replaced:
                return
            self._file.close()
            self._file = self._path.open("rb")

    def _is_replaced(self) -> bool:
        try:
            now = self._path.stat()
        except FileNotFoundError:  # between the two renames of a rotation
            return False
        return now.st_ino != os.fstat(self._file.fileno()).st_ino and now.st_size > 0


@dataclass(frozen=True, slots=True)
class Lines:
    """The numbered lines of one file: from `first` to `last` without a gap, `count` of them; or `broken` says why."""

    count: int
    first: int = 0
    last: int = 0
    broken: str = ""


def count_lines(path: Path) -> Lines:
    """Reads a live log or an archive, decompressed if need be, and checks that its lines are numbered on."""
    content = zstd.decompress(path.read_bytes()) if path.suffix == ".zst" else path.read_bytes()
    first = last = 0
    for count, line in enumerate(content.splitlines(), start=1):
        found = _NUMBER.search(line)
        if found is None:
            return Lines(count, broken=f"{path.name}: line {count} is torn: {line[:80]!r}")
        number = int(found[1])
        if last and number != last + 1:
            return Lines(count, broken=f"{path.name}: {last} is followed by {number}")
        first, last = first or number, number
    return Lines(last - first + 1 if last else 0, first, last)


@dataclass(slots=True)
class Account:
    """What the events add up to. Sizes in bytes; `counted` are the lines of archives, by their path without suffix."""

    rotated: int = 0
    rotated_bytes: int = 0
    compressed: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    expired: int = 0
    expired_bytes: int = 0
    waiting: set[str] = field(default_factory=set)
    stopped: bool = False
    failures: list[str] = field(default_factory=list)
    counted: dict[str, Lines] = field(default_factory=dict)

    def take(self, event: EventFields, logs: Path) -> None:
        """Adds one event. A compressed archive of `logs` is counted at once, before the retention may delete it."""
        match event["event"]:
            case "log.rotated":
                self.rotated += 1
                self.rotated_bytes += event["in_bytes"]
                self.waiting.add(event["rotated_to"])
            case "log.compressed":
                self.compressed += 1
                self.in_bytes += event["in_bytes"]
                self.out_bytes += event["out_bytes"]
                self.waiting.discard(event["target"])
                if Path(event["target"]).parent == logs:
                    self.count(Path(event["compressed_to"]))
            case "log.expired":
                self.expired += 1
                self.expired_bytes += event["freed_bytes"]
            case "daemon.stopped":
                self.stopped = True
        if event["level"] in ("error", "critical") or event.get("outcome") == "failure":
            self.failures.append(f"{event['event']} {event.get('target', '')}: {event['msg']}")

    def count(self, archive: Path) -> None:
        try:
            self.counted[str(archive).removesuffix(".zst")] = count_lines(archive)
        except FileNotFoundError:
            self.counted[str(archive).removesuffix(".zst")] = Lines(0, broken=f"{archive.name} was gone uncounted")

    def count_the_rest(self, logs: Path) -> None:
        """Counts the live logs, and the archives that were not compressed any more."""
        for path in sorted(logs.iterdir()):
            if str(path).removesuffix(".zst") not in self.counted:
                self.count(path)

    def found(self, log: Path) -> tuple[int, list[str]]:
        """How many lines of one log were found, in archives and live, and what is wrong with their order."""
        mine = [lines for path, lines in self.counted.items() if _log_of(path) == str(log)]
        faults = [lines.broken for lines in mine if lines.broken]
        ordered = sorted((lines for lines in mine if lines.count and not lines.broken), key=lambda lines: lines.first)
        expected = 1
        for lines in ordered:
            if lines.first != expected:
                faults.append(f"{log.name}: {expected} should come next, and {lines.first} does")
            expected = lines.last + 1
        return sum(lines.count for lines in mine), faults

    def summary(self) -> Iterator[str]:
        """What was done, for people."""
        ratio = f", {self.in_bytes / self.out_bytes:.1f} times smaller" if self.out_bytes else ""
        yield f"rotated     {counted(self.rotated, 'log')}, {format_size(self.rotated_bytes)}"
        sizes = (
            f"{counted(self.compressed, 'file')}, {format_size(self.in_bytes)} to {format_size(self.out_bytes)}{ratio}"
        )
        yield f"compressed  {sizes}, each read back and compared before its original went"
        yield f"expired     {counted(self.expired, 'old archive')}, {format_size(self.expired_bytes)}"
        yield f"freed       {format_size(self.in_bytes - self.out_bytes + self.expired_bytes)} in all"


def parsed(lines: Iterable[bytes]) -> Iterator[EventFields]:
    for line in lines:
        yield json.loads(line)


def _log_of(path: str) -> str:
    folder, name = os.path.split(path)
    archive = parse_archive(name)
    return os.path.join(folder, archive.log if archive else name)
