"""Whether logs of any name are rotated, and no others, and every event leads back to the file that it is about."""

import hashlib
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from backports import zstd

from maintd.log import LONGEST_LINE
from tests.tree import Tree

from . import odd_names
from .table import Row
from .village import LONGEST_TO_ROTATE, Village

NAME = "hostile-names"
_STAMP = re.compile(rb"\.\d{8}T\d{6}Z(-[1-9]\d*)?\.zst")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})|\\\\")

ENVIRONMENT = {"", "PATH", "LANG", "HOME", "USER", "LOGNAME", "PWD", "OLDPWD", "SHLVL", "_"}
"""What a command of maintd's gets, and what sh adds."""


def run(share: float) -> Row:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        village = Village(Tree(Path(folder).resolve()), share)
        village.live()
        found = list(faults(village))
        for fault in found:
            print(f"hostile names: {fault}", file=sys.stderr)
        return Row(
            "hostile names",
            f"{len(village.logs)} names",
            not found,
            f"{len(village.events):,} events, {village.count('log.rotated')} rotated, "
            f"{len({event['target'] for event in village.named('rotate.refused')})} refused for their length, "
            f"{village.count('command.finished')} commands got their own words alone, {len(found)} faults",
        )


def faults(village: Village) -> Iterator[str]:
    """Everything that is not as it should be, one line each."""
    yield from _unlike_events(village)
    yield from _told_wrong(village)
    yield from _touched_wrong(village)
    yield from _ran_wrong(village)


def _unlike_events(village: Village) -> Iterator[str]:
    for line, event in zip(village.lines, village.events, strict=True):
        if len(line) >= LONGEST_LINE or not line.decode().isprintable():
            yield f"not a printable line: {line!r}"
        if not all(isinstance(event.get(key), str) for key in ("ts", "level", "event", "msg")):
            yield f"not an event: {event}"


def _told_wrong(village: Village) -> Iterator[str]:
    """Each log that can be rotated is told of once as rotated and once as compressed, the others as refused."""
    digests = {hashlib.sha256(path).hexdigest(): path for path in village.logs}
    told: dict[str, Counter[bytes]] = {"log.rotated": Counter(), "rotate.refused": Counter()}
    for name, counter in told.items():
        for event in village.named(name):
            digest = event.get("target_sha256")
            counter[digests.get(digest, b"?") if digest else unprinted(event["target"])] += 1
    for path in village.logs:
        right = "log.rotated" if len(os.path.basename(path)) <= LONGEST_TO_ROTATE else "rotate.refused"
        for name, counter in told.items():
            count = counter.pop(path, 0)
            if bool(count) is not (name == right) or (name == "log.rotated" and count > 1):
                yield f"{count} times told as {name}: {path!r}"
    for name, counter in told.items():
        yield from (f"told as {name}, and no such log: {path!r}" for path in counter)


def _touched_wrong(village: Village) -> Iterator[str]:
    """Each log's content is in its own archive, or in itself if it was refused, and there is nothing else."""
    there = dict(_contents(os.fsencode(village.tree.logs)))
    for path, content in village.logs.items():
        inode, now = there.pop(path, (0, b"gone"))
        if len(os.path.basename(path)) > LONGEST_TO_ROTATE:
            if (inode, now) != (village.inodes[path], content):
                yield f"was to be left alone: {path!r}"
            continue
        archives = [name for name in there if name.startswith(path) and _STAMP.fullmatch(name[len(path) :])]
        if now != b"" or inode == village.inodes[path]:
            yield f"not a new, empty log: {path!r}"
        if [zstd.decompress(there.pop(name)[1]) for name in archives] != [content]:
            yield f"its content is not in its archive: {path!r}"
    yield from (f"nobody's file: {name!r}" for name in there)


def _ran_wrong(village: Village) -> Iterator[str]:
    """The hooks were run with their own words and a small environment, and nothing else was run."""
    words = village.record.read_bytes().decode().split("\0")[:-1]
    size = len(village.arguments) + 1
    calls = [words[at : at + size] for at in range(0, len(words), size)]
    if len(calls) < 3 or any(call[1:] != village.arguments for call in calls):
        yield f"the hooks got other words than theirs: {calls}"
    names = {entry.partition("=")[0] for entry in village.record.with_name("record.env").read_text().split("\0")}
    if not names <= ENVIRONMENT:
        yield f"the hooks got more environment than that: {names}"
    places = [Path("/"), village.tree.folder, village.tree.logs]
    yield from (
        f"a shell was at work in {place}" for place in places if (place / os.fsdecode(odd_names.TRACE)).exists()
    )


def _contents(root: bytes) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
    """Every file below, by its path: inode and content. By descriptors, since an archive's path may be too long."""
    for folder, _, names, dir_fd in os.fwalk(root):
        for name in names:
            descriptor = os.open(name, os.O_RDONLY, dir_fd=dir_fd)
            with open(descriptor, "rb") as file:
                yield os.path.join(folder, name), (os.fstat(descriptor).st_ino, file.read())


def unprinted(text: str) -> bytes:
    r"""The bytes that an event shows: `\xNN` for one that cannot be printed, a doubled backslash for one."""
    shown = _ESCAPE.sub(lambda found: chr(0xDC00 + int(found[1], 16)) if found[1] else "\\", text)
    return b"".join(bytes([ord(char) - 0xDC00]) if 0xDC00 <= ord(char) <= 0xDCFF else char.encode() for char in shown)
