"""`maintd events`: the daemon's log, readable."""

import json
import sys
from datetime import datetime
from typing import Any

import click

from maintd.cli import output, times
from maintd.cli.invocation import Invocation
from maintd.cli.tail import lines_of
from maintd.cli.telling import told
from maintd.events import LEVELS
from maintd.units import counted
from maintd.values import dataclass


@dataclass(frozen=True)
class _Wanted:
    """Which events are shown; `since` is a time as events write it."""

    since: str
    job: str | None
    levels: frozenset[str]

    def __contains__(self, event: dict[str, Any]) -> bool:
        right_job = self.job is None or event.get("job") == self.job
        return event["level"] in self.levels and right_job and event["ts"] >= self.since


@click.command(
    short_help="Read the daemon's events, now or as they come.",
    epilog="\b\nExamples:\n  maintd events -f /var/log/maintd/events.log\n"
    "  maintd events --since 2h --level warning /var/log/maintd/events.log\n"
    "  zstdcat old/events.log.*.zst | maintd events --job rotate.services",
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("-f", "--follow", is_flag=True, help="Go on as the file grows and is rotated.")
@click.option(
    "--since",
    metavar="WHEN",
    help="Only events from then on (2h, 7d, or 2026-11-24T00:00:00Z), also those in FILE's archives.",
)
@click.option("--job", metavar="NAME", help="Only events of this job.")
@click.option("--level", type=click.Choice(LEVELS), default="debug", help="Only events of this level and above.")
@click.option("--json", "as_json", is_flag=True, help="Pass the lines through as they are.")
@click.pass_obj
def events(called: Invocation, /, file: str | None, *, follow: bool, as_json: bool, **only: str | None) -> None:
    """Reads events from the daemon's log (stdout_logfile in its supervisord section), or from stdin, and shows them.

    With --since it begins in the oldest archive beside FILE that can hold such events: FILE.1, FILE.2 and so on of
    supervisord or logrotate, and those of maintd, compressed or not.
    """
    if file is None and sys.stdin.isatty():
        raise click.UsageError("name maintd's log (its stdout_logfile), or pipe events in", click.get_current_context())
    levels = frozenset(LEVELS[LEVELS.index(only["level"] or "debug") :])
    since = times.given(only["since"], called.now)
    wanted = _Wanted(_as_written(since), only["job"], levels)
    passed_over = 0
    lines = iter(sys.stdin.buffer) if file is None else lines_of(file, since=since, follow=follow)
    try:
        for line in lines:
            event = _event(line)
            if event is None:
                passed_over += bool(line.strip())
            elif event in wanted:
                output.say(line.decode(errors="backslashreplace").rstrip("\n") if as_json else told(event))
            if output.is_closed():
                break
    finally:
        if passed_over:
            what = "is no event" if passed_over == 1 else "are no events"
            output.complain(f"maintd: passed over {counted(passed_over, 'line')} that {what}")


def _as_written(when: datetime | None) -> str:
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z") if when else ""


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    is_one = isinstance(event, dict) and all(isinstance(event.get(key), str) for key in ("ts", "level", "event", "msg"))
    return event if is_one else None
