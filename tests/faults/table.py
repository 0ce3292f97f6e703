"""What a campaign found, as a row, and the table of all of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field


class Skipped(Exception):
    """A campaign cannot run here; the message says why, and the command that would run it."""


@dataclass(frozen=True)
class Counts:
    """Lines that an oracle found wrong, summed over the runs of a campaign; None where a campaign has no lines."""

    lost: int | None = None
    doubled: int | None = None
    torn: int | None = None
    nul: int | None = None


@dataclass(frozen=True)
class Row:
    """What was done, how often (`size`, in words: "1,812 runs"), and whether the promise holds."""

    what: str
    size: str
    holds: bool
    detail: str = ""
    counts: Counts = field(default_factory=Counts)


_HEADINGS = ("what", "size", "lost", "doubled", "torn", "NUL", "result")


def table(rows: Iterable[Row]) -> str:
    """All rows as one Markdown table, in columns that line up; details that are not empty follow as lines."""
    rows = list(rows)
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    details = [f"- {row.what}: {row.detail}" for row in rows if row.detail]
    return "\n".join([*lines, *(["", *details] if details else [])])


def _cells(row: Row) -> tuple[str, ...]:
    counts = (row.counts.lost, row.counts.doubled, row.counts.torn, row.counts.nul)
    numbers = ("-" if count is None else f"{count:,}" for count in counts)
    return (row.what, row.size, *numbers, "holds" if row.holds else "FAILS")
