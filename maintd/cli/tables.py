"""Text that fits the terminal: aligned tables, wrapped lines. Where there is no terminal, nothing is wrapped or cut.

Too wide a table is made to fit by its widest column first: its cells go on in further lines, and only if that is not
enough, long words are shortened in the middle, where names differ least. A no-break space keeps words together.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest

import click

from maintd.cli import output

KEPT = "\N{NO-BREAK SPACE}"
_GAP = "  "
_LEAST, _MARGIN = 8, 12
_USUAL = 80
_PAINTED = re.compile(r"((?:\x1b\[[\d;]*m)*)(.*?)((?:\x1b\[0m)*)", re.DOTALL)


def columns() -> int | None:
    """How wide stdout is, if it is a terminal; COLUMNS overrules what that says, which may be nothing."""
    if not sys.stdout.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    return (int(given) if given.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns) or _USUAL


def width(text: str) -> int:
    """Columns that a text takes on a terminal (UAX #11)."""
    return len(text) if text.isascii() else sum(map(_columns, click.unstyle(text)))


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def kept(text: str) -> str:
    """The text as one word, which no line ends in the middle of."""
    return text.replace(" ", KEPT)


def shorten(text: str, room: int) -> str:
    """A text of at most `room` columns, cut in the middle; of a path the directory, while its last name fits."""
    if width(text) <= room:
        return text
    directory, slash, name = text.rpartition("/")
    if slash and width(name) + 2 <= room:
        return f"{_begin(directory, room - width(name) - 2)}…/{name}"
    left = _begin(text, room // 2)
    right = _begin(text[::-1], room - 1 - room // 2)[::-1]
    return f"{left}…{right}"


def _begin(text: str, room: int) -> str:
    taken = 0
    for at, char in enumerate(text):
        taken += _columns(char)
        if taken > room:
            return text[:at]
    return text


def wrap(text: str, room: int, *, first: int | None = None, cut: bool = False) -> list[str]:
    """The lines of a text, at most `room` columns each, the first one `first`.

    A word that is longer has a line to itself, or with `cut` is shortened to `room`.
    """
    if first is None and width(text) <= room:
        return [text.replace(KEPT, " ")]
    lines, left = [""], room if first is None else first
    for word in text.split(" "):
        fitting = shorten(word, room) if cut else word
        if width(lines[-1]) + bool(lines[-1]) + width(fitting) <= left or (not lines[-1] and left == room):
            lines[-1] = f"{lines[-1]} {fitting}" if lines[-1] else fitting
        else:
            lines.append(fitting)
            left = room
    return [line.replace(KEPT, " ") for line in lines]


def hanging(head: str, text: str, indent: int) -> str:
    """A head, which may be painted, and a text that on a terminal goes on below it, `indent` columns from the left."""
    room = columns()
    if room is None:
        return f"{head} {text}".replace(KEPT, " ")
    first, *rest = wrap(text, max(room - indent, _LEAST), first=max(room - width(click.unstyle(head)) - 1, 0))
    return "\n".join([f"{head} {first}".rstrip(), *(" " * indent + line for line in rest)])


def table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] = (),
    *,
    right: Sequence[int] = (),
    indent: int = 0,
    below: int = 0,
) -> list[str]:
    """Lines with aligned columns, those numbered in `right` to the right, without those that are empty throughout.

    The last `below` cells of each row go into lines of their own, joined, if the terminal is too narrow for all.
    """
    everything = [*([header] if header else []), *rows]
    used = [at for at in range(max(map(len, everything), default=0)) if any(click.unstyle(row[at]) for row in rows)]
    cells = [[row[at] for at in used] for row in everything]
    room = columns()
    space = None if room is None else room - indent
    widths = _widths(cells)
    beneath: list[str] = []
    if below and space is not None and _total(widths) > space:
        last = sum(at >= max(map(len, everything)) - below for at in used)
        beneath = [_GAP.join(filter(None, row[len(used) - last :])) for row in cells]
        cells = [row[: len(used) - last] for row in cells]
        widths = _widths(cells)
    if space is not None:
        widths = _fitting(widths, cells, space)
    lines: list[str] = []
    for at, row in enumerate(cells):
        told = list(_aligned(row, widths, {used.index(column) for column in right if column in used}))
        if beneath and space is not None:
            margin = min(widths[0] + len(_GAP), _MARGIN)
            told += [" " * margin + line for line in _wrapped(beneath[at], max(space - margin, _LEAST))]
        lines += [output.paint(line, bold=True) for line in told] if header and at == 0 else told
    return [" " * indent + line for line in lines]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(width(click.unstyle(cell)) for cell in column) for column in zip(*cells, strict=True)]


def _fitting(widths: Sequence[int], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """Widths with which the table has at most `room` columns, if that can be."""
    fitting = list(widths)
    plain = [[click.unstyle(cell) for cell in column] for column in zip(*cells, strict=True)]
    words = [max(width(word) for cell in column for word in cell.split(" ")) for column in plain]
    for least, cut in ((words, False), ([_LEAST] * len(words), True)):
        while (excess := _total(fitting) - room) > 0:
            able = [at for at in range(len(fitting)) if fitting[at] > least[at]]
            if not able:
                break
            widest = max(able, key=fitting.__getitem__)
            second = max((fitting[at] for at in able if at != widest), default=0)
            narrower = min(second, fitting[widest] - max(excess // 4, 1))
            wanted = max(least[widest], fitting[widest] - excess, narrower)
            fitting[widest] = max(width(line) for cell in plain[widest] for line in wrap(cell, wanted, cut=cut))
    return fitting


def _aligned(row: Sequence[str], widths: Sequence[int], to_right: Collection[int]) -> Iterator[str]:
    columns = [_wrapped(cell, room, cut=True) for cell, room in zip(row, widths, strict=True)]
    for line in zip_longest(*columns, fillvalue=""):
        padded = (
            " " * (room - width(click.unstyle(text))) + text if at in to_right else _padded(text, room)
            for at, (text, room) in enumerate(zip(line, widths, strict=True))
        )
        yield _GAP.join(padded).rstrip()


def _padded(text: str, room: int) -> str:
    return text + " " * (room - width(click.unstyle(text)))


def _wrapped(cell: str, room: int, *, cut: bool = False) -> list[str]:
    """The lines of a cell, each painted as the cell is."""
    match = _PAINTED.fullmatch(cell)
    assert match
    return [f"{match[1]}{line}{match[3]}" for line in wrap(match[2], room, cut=cut)]
