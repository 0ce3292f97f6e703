"""What people see: lines, tables aligned by display width, colour on a terminal that wants it, JSON for programs."""

import base64
import contextlib
import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from maintd.names import printable
from maintd.units import format_duration

_closed = _lost = False


def say(line: str = "") -> None:
    """Writes a line to stdout. Once that takes no more (`| head`, a full disk), lines go nowhere, the command on."""
    global _closed, _lost  # noqa: PLW0603 - stdout is global as well
    try:
        click.echo(line)
    except OSError as error:
        _closed = True
        if not isinstance(error, BrokenPipeError):
            _lost = True
            complain(f"maintd: cannot write to stdout: {error.strerror}")
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def is_closed() -> bool:
    """Whether stdout takes no more."""
    return _closed


def is_lost() -> bool:
    """Whether something was not written that somebody wanted to have."""
    return _lost


def complain(*lines: str) -> None:
    """Writes lines to stderr, if anybody reads it."""
    with contextlib.suppress(OSError):
        for line in lines:
            click.echo(line, err=True)


def is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, **style: Any) -> str:
    """Text in colour where colour is wanted (https://no-color.org)."""
    return click.style(text, **style) if is_terminal() and not os.environ.get("NO_COLOR") else text


def say_json(value: Mapping[str, Any]) -> None:
    """One line of NDJSON; every `target` is made printable and comes with its bytes in base64."""
    fields = dict(value)
    if isinstance(fields.get("target"), str):
        fields["target_b64"] = base64.b64encode(os.fsencode(fields["target"])).decode()
        fields["target"] = printable(fields["target"])
    say(json.dumps(fields, ensure_ascii=False, default=str).encode(errors="backslashreplace").decode())


def width(text: str) -> int:
    """Columns that a text takes on a terminal (UAX #11)."""
    return len(text) if text.isascii() else sum(_columns(char) for char in click.unstyle(text))


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), *, right: Sequence[int] = ()) -> list[str]:
    """Lines with aligned columns, those numbered in `right` to the right, without those that are empty throughout."""
    everything = [*([header] if header else []), *rows]
    count = max(map(len, everything), default=0)
    widths = [max((width(click.unstyle(row[at])) for row in rows if at < len(row)), default=0) for at in range(count)]
    kept = [at for at in range(count) if widths[at]]
    for at in kept if header else ():
        widths[at] = max(widths[at], width(header[at]))
    lines = [
        "  ".join(_padded(row[at], widths[at], to_right=at in right) for at in kept).rstrip() for row in everything
    ]
    if header and lines:
        lines[0] = paint(lines[0], bold=True)
    return lines


def _padded(text: str, columns: int, *, to_right: bool) -> str:
    space = " " * (columns - width(click.unstyle(text)))
    return space + text if to_right else text + space


def moment(when: datetime | str | None, now: datetime) -> str:
    """A time for people, in UTC and from now: `2026-11-24 00:00:00Z (in 7h12m)`."""
    if not when:
        return ""
    at = (datetime.fromisoformat(when) if isinstance(when, str) else when).astimezone(UTC)
    span = at - now
    rough = _rough(abs(span))
    return f"{at:%Y-%m-%d %H:%M:%S}Z ({f'in {rough}' if span > timedelta() else f'{rough} ago'})"


def _rough(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    step = next((step for step in (86_400, 3600, 60) if seconds >= 10 * step), 1)
    return format_duration(timedelta(seconds=seconds // step * step)) if seconds else "0s"
