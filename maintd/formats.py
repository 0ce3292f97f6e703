"""The formats of compressed files, piece by piece: zstd frames and gzip members, made in threads and read again."""

import errno
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from zlib_ng import zlib_ng

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CONTENT = 256 << 10  # of decompressed bytes; small ones spare page faults
_AHEAD = 4  # pieces in memory for each thread, so that none waits for the one that reads and writes
_DICTIONARY = 32 << 10
_RAW, _CONTAINER = -15, 31  # wbits of zlib's deflateInit2: no header at all, or gzip's
_GZIP_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3))  # RFC 1952: deflate, no flags, no time, Unix
_LAST_BLOCK = b"\x03\x00"  # RFC 1951: a final block with nothing in it

Piece = TypeVar("Piece")
Made = TypeVar("Made")


def made(name: str, pieces: Iterator[bytes], level: int, threads: int) -> Iterator[bytes]:
    """The pieces compressed; `name` is zstd, gzip, or none, which leaves them as they are."""
    match name:
        case "none":
            return pieces
        case "zstd":
            return _zstd_frames(pieces, level, threads)
    return _gzip_member(pieces, level, threads)


def contents(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What compressed chunks of a file of ours hold; raises OSError EIO for what is damaged, cut off or goes on."""
    if name == "none":
        return chunks
    return {"zstd": _zstd_contents, "gzip": _gzip_contents}[name](chunks)


def all_contents(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same of a file that anybody made, which may be several gzip members in a row."""
    return _zstd_contents(chunks) if name == "zstd" else _gzip_members(chunks)


def damaged(how: str) -> OSError:
    return OSError(errno.EIO, f"what was written does not decompress: {how}")


def _in_order(work: Callable[[Piece], Made], pieces: Iterable[Piece], threads: int) -> Iterator[Made]:
    """What `work` makes of each piece, in their order, with a few for each thread in memory.

    Equal neighbours are worked on once: the hole of a sparse log is a long row of them. With one thread it is the
    caller's.
    """
    if threads == 1:
        yield from map(work, pieces)
        return
    ahead: deque[Future[Made]] = deque()
    last: tuple[Piece, Future[Made]] | None = None
    with ThreadPoolExecutor(threads) as pool:
        for piece in pieces:
            if last is None or last[0] != piece:
                last = piece, pool.submit(work, piece)
            ahead.append(last[1])
            if len(ahead) > _AHEAD * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _zstd_frames(pieces: Iterator[bytes], level: int, threads: int) -> Iterator[bytes]:
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.content_size_flag: 1,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return _in_order(lambda piece: zstd.compress(piece, options=options), pieces, threads)


def _gzip_member(pieces: Iterator[bytes], level: int, threads: int) -> Iterator[bytes]:
    crc = size = 0
    yield _GZIP_HEADER
    for deflated, piece_crc, length in _in_order(
        lambda pair: _deflate(*pair, level), _with_dictionaries(pieces), threads
    ):
        crc = zlib_ng.crc32_combine(crc, piece_crc, length)
        size += length
        yield deflated
    yield _LAST_BLOCK + struct.pack("<II", crc, size & 0xFFFF_FFFF)


def _with_dictionaries(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    before = b""
    for piece in pieces:
        yield piece, before
        before = piece[-_DICTIONARY:]


def _deflate(piece: bytes, before: bytes, level: int) -> tuple[bytes, int, int]:
    """A piece as deflate blocks up to a byte boundary, its CRC-32, its length."""
    memory, strategy = zlib_ng.DEF_MEM_LEVEL, zlib_ng.Z_DEFAULT_STRATEGY
    deflate = zlib_ng.compressobj(level, zlib_ng.DEFLATED, _RAW, memory, strategy, before)
    blocks = deflate.compress(piece) + deflate.flush(zlib_ng.Z_SYNC_FLUSH)
    return blocks, zlib_ng.crc32(piece), len(piece)


def _zstd_contents(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstd.ZstdDecompressor()
    for compressed in chunks:
        rest = compressed
        while rest or not (decompressor.eof or decompressor.needs_input):
            if decompressor.eof:
                decompressor = zstd.ZstdDecompressor()
            try:
                content = decompressor.decompress(rest, _CONTENT)
            except zstd.ZstdError as error:
                raise damaged(str(error)) from error
            rest = decompressor.unused_data
            yield content
    if not decompressor.eof:
        raise damaged("it is cut off")


def _gzip_contents(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zlib_ng.decompressobj(_CONTAINER)
    for compressed in chunks:
        rest = compressed
        while rest and not decompressor.eof:
            try:
                content = decompressor.decompress(rest, _CONTENT)
            except zlib_ng.error as error:  # type: ignore[misc] # its stub has an instance for the class
                raise damaged(str(error)) from error
            rest = decompressor.unconsumed_tail
            yield content
        if rest or decompressor.unused_data:
            raise damaged("it is followed by something else")
    if not decompressor.eof:
        raise damaged("it is cut off")


def _gzip_members(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """As _gzip_contents, of any number of members (RFC 1952, section 2.2)."""
    decompressor = zlib_ng.decompressobj(_CONTAINER)
    for compressed in chunks:
        rest = compressed
        while rest:
            if decompressor.eof:
                decompressor = zlib_ng.decompressobj(_CONTAINER)
            try:
                content = decompressor.decompress(rest, _CONTENT)
            except zlib_ng.error as error:  # type: ignore[misc] # its stub has an instance for the class
                raise damaged(str(error)) from error
            rest = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
            yield content
    if not decompressor.eof:
        raise damaged("it is cut off")
