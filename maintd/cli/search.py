"""Looks for lines in compressed generations, several at a time: processes that take turns, each with its own core."""

import contextlib
import errno
import os
import signal
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NoReturn

from maintd import linux, objects
from maintd.cli.generations import Generation
from maintd.cli.sieve import Sieve, Sifted
from maintd.cli.tail import Opened, content, tell
from maintd.errors import MaintdError
from maintd.names import printable
from maintd.values import dataclass

_FRAME = struct.Struct("=cQ")
_LINES, _TEXT, _END, _DAMAGED = b"L", b"T", b"E", b"D"


@dataclass(frozen=True)
class Found:
    """Part of what was found, in order: `lines` that match; or `text`, not looked at yet, in which lines begin and end.

    `is_torn` says that the rest of a generation is missing, so that a line which began there has no end.
    """

    lines: bytes = b""
    text: bytes = b""
    is_torn: bool = False


def found_in(packed: Sequence[Opened], sieve: Sieve) -> Iterator[Found]:
    """What the sieve finds in these generations, in their order. One that is damaged is told, and read up to there."""
    count = min(len(packed), len(os.sched_getaffinity(0)))
    if count < 2 or objects.has_threads():
        for held, file in packed:
            try:
                yield from sifted(content(held, file), sieve)
            except OSError as error:
                tell(held, error)
                yield Found(is_torn=True)
        return
    with contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(_begun(packed[turn::count], sieve)) for turn in range(count)]
        for place, (held, _) in enumerate(packed):
            yield from _received(pipes[place % count], held)


def sifted(chunks: Iterator[bytes], sieve: Sieve) -> Iterator[Found]:
    """One generation: its first line and its last one as text, since they may begin and end in its neighbours."""
    inside, is_inside = Sifted(sieve), False
    for chunk in chunks:
        end = 0 if is_inside else chunk.find(b"\n") + 1
        if not is_inside:
            yield Found(text=chunk[:end] if end else chunk)
            is_inside = bool(end)
        if is_inside and (lines := inside.feed(chunk[end:])):
            yield Found(lines)
    yield Found(text=inside.begun())


@contextlib.contextmanager
def _begun(share: Sequence[Opened], sieve: Sieve) -> Iterator[BinaryIO]:
    """A process at work on these generations, and the pipe that it answers through; it ends with the block."""
    parent, (reading, writing) = os.getpid(), os.pipe()
    pid = os.fork()  # this program has one thread
    if pid == 0:
        os.close(reading)
        _work(share, sieve, parent, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            yield pipe
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _work(share: Sequence[Opened], sieve: Sieve, parent: int, writing: int) -> NoReturn:
    """The life of the process. What ends it early is told by the pipe, which breaks off."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        linux.die_with_parent(parent, signal.SIGKILL)
        with os.fdopen(writing, "wb") as pipe:
            for held, file in share:
                try:
                    for found in sifted(content(held, file), sieve):
                        _send(pipe, _LINES if found.lines else _TEXT, found.lines or found.text)
                except OSError as error:
                    if error.errno == errno.EPIPE:
                        raise
                    _send(pipe, _DAMAGED, os.fsencode(error.strerror or str(error)))
                else:
                    _send(pipe, _END, b"")
    finally:
        os._exit(0)


def _send(pipe: BinaryIO, kind: bytes, data: bytes) -> None:
    pipe.write(_FRAME.pack(kind, len(data)))
    pipe.write(data)


def _received(pipe: BinaryIO, held: Generation) -> Iterator[Found]:
    while True:
        frame = pipe.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            raise MaintdError(f"the process that looked through {printable(held.path)} has ended", hint="try again")
        kind, size = _FRAME.unpack(frame)
        data = pipe.read(size)
        if kind == _END:
            return
        if kind == _DAMAGED:
            tell(held, OSError(errno.EIO, os.fsdecode(data)))
            yield Found(is_torn=True)
            return
        yield Found(lines=data) if kind == _LINES else Found(text=data)
