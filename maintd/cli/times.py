"""The times that people give on the command line: `2h` ago, `7d` ago, or a date with a time."""

from datetime import UTC, datetime

import click

from maintd.units import parse_duration


def given(text: str | None, now: datetime) -> datetime | None:
    """The time, aware, in UTC; None if none was given. A time without a zone is in UTC, as events are."""
    if text is None:
        return None
    try:
        when = now - parse_duration(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is neither a duration (2h, 7d) nor a time (RFC 3339)") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
