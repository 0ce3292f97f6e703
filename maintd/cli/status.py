"""`maintd status`: how the daemon is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from maintd.cli import output, reach
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.names import printable
from maintd.units import format_duration

_COLOURS = {"success": "green", "failure": "red", "running": "cyan", "paused": "yellow", "observe": "yellow"}


@click.command(
    short_help="Show the daemon and its jobs.",
    epilog="\b\nExamples:\n  maintd status\n  maintd status --json | jq '.jobs[] | select(.state == \"paused\")'",
)
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as one JSON object.")
@config_option()
@click.pass_obj
def status(called: Invocation, *, as_json: bool) -> int:
    """Shows the daemon, its jobs, their next runs and how the last ones went; ends with 3 if one of those failed."""
    found = reach.ask(called, "GET", "/status")
    if as_json:
        output.say_json(found)
    else:
        for line in _lines(found, called.now):
            output.say(line)
    return Exit.NO if any(job["last_outcome"] == "failure" for job in found["jobs"]) else Exit.OK


def _lines(found: dict[str, Any], now: datetime) -> Iterator[str]:
    up = now - datetime.fromisoformat(found["started"]).astimezone(UTC)
    uptime = format_duration(timedelta(seconds=max(int(up.total_seconds()), 1)))
    yield f"maintd {found['version']}, pid {found['pid']}, up {uptime}, config {printable(found['config'])}"
    if found["observe"]:
        yield output.paint("observing: every job plans and reports, and changes nothing", fg="yellow")
    if found["paused_all"]:
        yield output.paint("all jobs are paused: maintd resume", fg="yellow")
    growth = found["growth"]
    yield f"growth: {growth['files']} files watched, noticed within {growth['bound_ms']} ms"
    if growth["degraded"]:
        yield output.paint(f"growth is degraded: {growth['degraded']}", fg="red")
    if found["events"]["dropped"]:
        yield output.paint(f"events: {found['events']['dropped']} dropped because nobody read them", fg="red")
    yield ""
    header = ("job", "state", "next run", "last run", "outcome", "")
    yield from output.table([_row(job, now) for job in found["jobs"]], header) if found["jobs"] else ["no jobs"]


def _row(job: dict[str, Any], now: datetime) -> list[str]:
    state, outcome = job["state"], job["last_outcome"] or ""
    if job["paused_until"]:
        state += f" until {output.moment(job['paused_until'], now)}"
    return [
        job["name"],
        output.paint(state, fg=_COLOURS.get(job["state"])),
        output.moment(job["next"], now),
        output.moment(job["last_run"], now),
        output.paint(outcome, fg=_COLOURS.get(outcome)),
        printable(job["last_msg"] or ""),
    ]
