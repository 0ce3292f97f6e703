"""The lines that storm writers write: numbered per writer, of varying length, and the same for whoever looks for them.

A line is `ID NUMBER FILLER`: one letter, ten digits, printable text. Its bytes follow from writer and number alone, so
that a line that was lost, doubled or torn can be told from every other. They come in blocks of a thousand, made by
replacing the upper digits of a template: half a gigabyte takes two seconds.
"""

import functools
import hashlib

LINES_A_BLOCK = 1000
LONG = {333: 5_000, 666: 9_000}
"""Fillers longer than a page and than two: a block of the file system need not hold the end of any line."""

_UPPER = b"@@@@@@@"


def _filler(index: int) -> bytes:
    length = LONG.get(index, 8 + index * 37 % 113)
    text = "".join(hashlib.sha256(b"%d/%d" % (index, part)).hexdigest() for part in range(length // 64 + 1))
    return text[:length].encode()


def _template() -> tuple[bytes, tuple[tuple[int, int], ...]]:
    spans: list[tuple[int, int]] = []
    text = b""
    for index in range(LINES_A_BLOCK):
        line = b"\xff " + _UPPER + b"%03d %s\n" % (index, _filler(index))
        spans.append((len(text), len(text) + len(line)))
        text += line
    return text, tuple(spans)


_TEXT, SPANS = _template()
"""SPANS: where each line of a block begins and ends, the same in every block."""

NUMBER = slice(2, 12)
"""Where a line has its number."""


def size(first: int, last: int) -> int:
    """How many bytes the lines from number `first` up to, but not with, `last` take."""
    return _offset(last) - _offset(first)


def _offset(number: int) -> int:
    blocks, index = divmod(number, LINES_A_BLOCK)
    return blocks * len(_TEXT) + SPANS[index][0]


@functools.cache
def _text(writer: bytes) -> bytes:
    return _TEXT.replace(b"\xff", writer)


def block(writer: bytes, number: int) -> bytes:
    """Lines 1000 * number up to 1000 * number + 999 of a writer, whose id is one letter."""
    return _text(writer).replace(_UPPER, b"%07d" % number)
