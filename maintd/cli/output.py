"""What people see: lines, colour on a terminal that wants it, times in their words; and JSON for programs."""

import base64
import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from maintd.names import printable
from maintd.units import format_duration

_closed = _lost = False


def say(line: str = "") -> None:
    """Writes a line to stdout. Once that takes no more (`| head`, a full disk), lines go nowhere, the command on."""
    _written(lambda: click.echo(line))


def write(data: bytes) -> None:
    """Writes bytes to stdout as they are, in the same way."""

    def whole() -> None:
        sys.stdout.flush()
        view = memoryview(data)
        while view:
            view = view[os.write(sys.stdout.fileno(), view) :]

    _written(whole)


def _written(write_it: Callable[[], None]) -> None:
    global _closed, _lost  # noqa: PLW0603 - stdout is global as well
    try:
        write_it()
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


def lose(message: str) -> None:
    """Writes to stderr that something cannot be shown; the command goes on, and ends as failed."""
    global _lost  # noqa: PLW0603 - as above
    _lost = True
    complain(message)


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


def moment(when: datetime | str | None, now: datetime) -> str:
    """A time for people, in UTC and from now: `2026-11-24 00:00Z (in 7h12m)`."""
    if not when:
        return ""
    at = (datetime.fromisoformat(when) if isinstance(when, str) else when).astimezone(UTC)
    span = at - now
    rough = _rough(abs(span))
    return f"{at:%Y-%m-%d %H:%M}Z ({f'in {rough}' if span > timedelta() else f'{rough} ago'})"


def _rough(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    step = next((step for step in (86_400, 3600, 60) if seconds >= 10 * step), 1)
    return format_duration(timedelta(seconds=seconds // step * step)) if seconds else "0s"
