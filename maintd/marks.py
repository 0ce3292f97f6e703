"""The line of white space that stands at the head of a log for lines that were archived already.

A file can be collapsed by whole blocks only (fallocate(2), FALLOC_FL_COLLAPSE_RANGE), and an archive ends on a line, so
the last part of what was archived stays in the log. It is overwritten with one line of blanks and tabs: readers of
JSON lines and of tables pass over it, the next archive leaves it out, and the number in it, made for each rotation,
tells after a crash how far the collapse had come.
"""

import zlib

NONCE_BYTES = 8
_CODED = NONCE_BYTES + 4
SHORTEST = 8 * _CODED + 1
"""The bytes that a mark takes at least: a blank or tab for each bit of number and checksum, and a newline."""

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
