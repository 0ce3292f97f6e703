"""The line of white space that stands at the head of a log for lines that were archived already.

A file can be collapsed by whole blocks only (fallocate(2), FALLOC_FL_COLLAPSE_RANGE), and an archive ends on a line, so
the last part of what was archived stays in the log. It is overwritten with one line of blanks and tabs: readers of
JSON lines and of tables pass over it, the next archive leaves it out, and the number in it, made for each rotation,
tells after a crash how far the collapse had come.
"""

import re
import zlib

NONCE_BYTES = 8
_CODED = NONCE_BYTES + 4
_BLANKS_OF_ONE = re.compile(rb"[ \t]{%d,}" % (8 * _CODED))
SHORTEST = 8 * _CODED + 1
"""The bytes that a mark takes at least: a blank or tab for each bit of number and checksum, and a newline."""

STEP = 8 << 20
"""While a file is collapsed its mark lies at a multiple of so many bytes."""

_BLOCK = 512
"""Bytes of the smallest block of a file system."""
_BITS = str.maketrans("01", " \t")
_BLANKS = str.maketrans(" \t", "01")


def make(nonce: bytes, length: int) -> bytes:
    """A mark of `length` bytes, newline included. ValueError if that is less than SHORTEST."""
    if length < SHORTEST:
        raise ValueError(f"a mark takes at least {SHORTEST} bytes, not {length}")
    number = int.from_bytes(nonce + zlib.crc32(nonce).to_bytes(4, "big"), "big")
    return f"{number:0{8 * _CODED}b}".translate(_BITS).ljust(length - 1).encode() + b"\n"


def nonce_of(data: bytes) -> bytes | None:
    """The number in the mark that `data` begins with, or None if it does not begin with one."""
    coded = data[: 8 * _CODED]
    if len(coded) < 8 * _CODED or coded.strip(b" \t"):
        return None
    found = int(coded.decode().translate(_BLANKS), 2).to_bytes(_CODED, "big")
    nonce, checksum = found[:NONCE_BYTES], found[NONCE_BYTES:]
    return nonce if zlib.crc32(nonce).to_bytes(4, "big") == checksum else None


def length_at(data: bytes) -> int:
    """How many bytes the mark takes that `data` begins with, newline included; 0 if there is none or it has no end."""
    if nonce_of(data) is None:
        return 0
    line, newline, _ = data.partition(b"\n")
    return len(line) + 1 if newline and not line.strip(b" \t") else 0


def lies_in(data: bytes, offset: int) -> bool:
    """Whether a mark begins in `data`, which stands at that offset of a file: at a block, or right before its end."""
    for blank in _BLANKS_OF_ONE.finditer(data):
        blocks = range(-(-(offset + blank.start()) // _BLOCK) * _BLOCK - offset, blank.end(), _BLOCK)
        if any(nonce_of(data[at : at + SHORTEST]) for at in (*blocks, blank.end() + 1 - SHORTEST)):
            return True
    return False


def is_overwritten(line: bytes, offset: int) -> bool:
    """Whether a line, without its newline, at that offset of a file was overwritten by a mark that begins in it."""
    words = len(line.rstrip(b" \t"))
    return len(line) - words >= 8 * _CODED and lies_in(line[words:] + b"\n", offset + words)
