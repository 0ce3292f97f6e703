"""Compresses and verifies files, descriptor to descriptor: zstd and gzip in threads, memory bounded.

The content is read once, in pieces of 512 KiB, which stay in the processor's cache from reading to hashing: pieces of
4 MiB are 1.5 % smaller with zstd, and take 30 % longer. For zstd each piece is a frame with its size and checksum. For
gzip all pieces are one member, as pigz makes it: each is deflated with the last 32 KiB before it as its dictionary and
ends on a byte boundary, so that it costs next to nothing that they are made apart.
"""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import Queue

from maintd import formats
from maintd.linux import named
from maintd.values import dataclass

PIECE = 512 << 10
# on log text, zstd 3 is slower than 1 and packs no better: docs/decisions.md
DEFAULT_LEVELS = {"none": 0, "zstd": 1, "gzip": 5}
_CHUNK = 64 << 10  # of compressed bytes; small ones spare page faults
_BEHIND = 16  # pieces that are written but not proved yet
SMALL = 16 * PIECE
"""Bytes up to which a file is compressed in the calling thread: several such files are worked on at once anyway, and to
start threads for each takes a tenth of the time."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Codec:
    """How to compress: `name` is zstd, gzip, or none for a plain copy.

    `level` is the codec's own, None for its default (zstd 1, gzip 5).
    """

    name: str
    level: int | None = None
    threads: int = 2

    @property
    def effective_level(self) -> int:
        return DEFAULT_LEVELS[self.name] if self.level is None else self.level


@dataclass(frozen=True)
class Compressed:
    """What compress_fd has read and written, in bytes."""

    in_bytes: int
    out_bytes: int


@dataclass(frozen=True)
class Part:
    """The bytes of the source from `start` to `end` (None: to its end), and the offset `at` in the target they go to.

    Several parts one after the other are several frames of zstd, or several members of gzip (RFC 1952, section 2.2).
    """

    start: int = 0
    end: int | None = None
    at: int = 0


WHOLE = Part()


def compress_fd(
    source_fd: int, target_fd: int, codec: Codec, progress: Progress | None = None, part: Part = WHOLE
) -> Compressed:
    """Writes the source, or a part of it, compressed to the target, which ends where it is to begin; syncs nothing.

    What is written is read back from the target as soon as it is there, and decompressed; the checksum of the format
    (XXH64 in zstd, CRC-32 in gzip) is compared with it, and the source byte by byte. `progress` is called with the
    bytes read so far. Raises OSError without a file name, for descriptors have none; EIO if the target does not read
    back as the source.
    """
    pieces = _pieces(source_fd, part, progress)
    if os.fstat(source_fd).st_size - part.start <= SMALL:
        proof = _Proof(target_fd, codec.name, part.at, behind=0)
        out_bytes = _compress(pieces, target_fd, replace(codec, threads=1), proof)
        proof.end()
        return Compressed(proof.run(), out_bytes)
    return compress_pieces(pieces, target_fd, codec, part.at)


def compress_pieces(
    pieces: Iterator[bytes],
    target_fd: int,
    codec: Codec,
    at: int = 0,
    placed: Callable[[int], None] = lambda _: None,
) -> Compressed:
    """The same for pieces of at most PIECE bytes, which are written from offset `at` on.

    `placed` is told where each of them begins.
    """
    proof = _Proof(target_fd, codec.name, at)
    with ThreadPoolExecutor(1) as pool:
        proved = pool.submit(proof.run)
        try:
            out_bytes = _compress(pieces, target_fd, codec, proof, placed)
        finally:
            proof.end()
        in_bytes = proved.result()
    return Compressed(in_bytes, out_bytes)


def verify_fd(target_fd: int, codec: Codec, progress: Progress | None = None) -> tuple[int, str]:
    """Decompresses a compressed file from its start to its end: its content's bytes, and their SHA-256 in hex.

    It is read from the disk rather than from memory, if it was synced before. Raises OSError EIO for what is damaged,
    cut off or followed by anything else. `progress` is told how many bytes of the content came so far.
    """
    os.posix_fadvise(target_fd, 0, 0, os.POSIX_FADV_DONTNEED)
    digest, size = hashlib.sha256(), 0
    for content in formats.contents(codec.name, _chunks(target_fd, [os.fstat(target_fd).st_size])):
        digest.update(content)
        size += len(content)
        if progress:
            progress(size)
    return size, digest.hexdigest()


def holds(target_fd: int, codec: Codec, length: int, source_fd: int, part: Part) -> bool:
    """Whether the target's bytes from `part.at` to `length` begin with that part of the source."""
    offset, end = part.start, part.end or 0
    try:
        for content in formats.contents(codec.name, _chunks(target_fd, [length], part.at)):
            wanted = content[: max(end - offset, 0)]
            if wanted != _read(source_fd, len(wanted), offset):
                return False
            offset += len(wanted)
    except OSError as error:
        if error.filename is None and error.errno == errno.EIO:  # it does not decompress
            return False
        raise
    return offset >= end


def last_content(target_fd: int, codec: Codec, length: int, at: int, size: int) -> bytes:
    """The last `size` bytes of what the target's bytes from `at` to `length` hold."""
    last = b""
    for content in formats.contents(codec.name, _chunks(target_fd, [length], at)):
        last = (last + content)[-size:]
    return last


def contents_fd(fd: int, name: str, offset: int = 0) -> Iterator[bytes]:
    """What a file compressed as `name` holds from there on, whoever made it: also several frames or members in a row.

    Raises OSError EIO where it is damaged or cut off, after what comes before that.
    """
    return contents_of(_chunks(fd, [os.fstat(fd).st_size], offset), name)


def contents_of(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The same of chunks; `none` are those themselves."""
    return chunks if name == "none" else formats.all_contents(name, chunks)


def stream_contents(fd: int, name: str) -> Iterator[bytes]:
    """The same of what is read from a descriptor's position on, which may be a pipe."""
    return formats.all_contents(name, iter(lambda: os.read(fd, _CHUNK), b""))


def _compress(
    pieces: Iterator[bytes],
    target_fd: int,
    codec: Codec,
    proof: "_Proof",
    placed: Callable[[int], None] = lambda _: None,
) -> int:
    """Writes what becomes of the pieces, each of which is proved as soon as it is there; returns the bytes written."""
    offset = begin = proof.begin

    def noted() -> Iterator[bytes]:
        for piece in pieces:
            proof.expect(piece)
            yield piece

    for made in formats.made(codec.name, noted(), codec.effective_level, codec.threads):
        _write(target_fd, made, offset)
        placed(offset)
        offset += len(made)
        proof.written(offset)
    return offset - begin


class _Proof:
    """Reads back what was written since `begin`, in a thread of its own, and compares it with what it was made of.

    `behind` is how many pieces that may be late, 0 for any number: a small file is read back after it was written.
    """

    def __init__(self, fd: int, name: str, begin: int, behind: int = _BEHIND) -> None:
        self._fd, self._name, self.begin = fd, name, begin
        self._expected: deque[bytes] = deque()
        self._ends: Queue[int | None] = Queue(behind)

    def expect(self, piece: bytes) -> None:
        self._expected.append(piece)

    def written(self, end: int) -> None:
        """The target is `end` bytes long by now. Waits if the proof is too far behind, so that memory stays bounded."""
        self._ends.put(end)

    def end(self) -> None:
        self._ends.put(None)

    def run(self) -> int:
        """How many bytes were read back; OSError EIO if they are not those expected."""
        ends = iter(self._ends.get, None)
        try:
            size = 0
            for content in formats.contents(self._name, _chunks(self._fd, ends, self.begin)):
                self._compare(content)
                size += len(content)
            if any(self._expected):
                raise formats.damaged("it holds less than its original")
            return size
        finally:
            for _ in ends:  # who writes must not wait for a proof that has failed
                pass

    def _compare(self, content: bytes) -> None:
        while content:
            piece = self._expected.popleft() if self._expected else b""
            if not piece or not (content.startswith(piece) or piece.startswith(content)):
                raise formats.damaged("it holds something else than its original")
            if len(piece) > len(content):
                self._expected.appendleft(piece[len(content) :])
            content = content[len(piece) :]


def _pieces(fd: int, part: Part, progress: Progress | None) -> Iterator[bytes]:
    """The content in pieces, all but the last of full length; an empty one is one empty piece."""
    offset, ended = part.start, False
    while not ended:
        wanted = PIECE if part.end is None else min(PIECE, part.end - offset)
        piece = _read(fd, wanted, offset)
        offset += len(piece)
        ended = len(piece) < PIECE or offset == part.end
        if piece or offset == part.start:
            yield piece
        if progress:
            progress(offset - part.start)


def _read(fd: int, length: int, offset: int) -> bytes:
    """`length` bytes, fewer only at the end of the file: pread(2) may return less than is there."""
    data = os.pread(fd, length, offset)
    while data and len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    with named(fd):
        while view:
            written = os.pwrite(fd, view, offset)
            view, offset = view[written:], offset + written


def _chunks(fd: int, ends: Iterable[int], offset: int = 0) -> Iterator[bytes]:
    for end in ends:
        while offset < end:
            chunk = os.pread(fd, min(_CHUNK, end - offset), offset)
            if not chunk:
                return  # it has become shorter
            offset += len(chunk)
            yield chunk
