"""`maintd status`: how the daemon is."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from maintd import clock_doubts
from maintd.cli import health, output, reach, tables
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.names import printable
from maintd.units import counted, format_duration

_COLOURS = {"success": "green", "failure": "red", "running": "cyan", "paused": "yellow", "observe": "yellow"}
_MOST = 20
"""Problems, and refused logs, that are shown; --json has more."""

Answer = dict[str, Any]


@click.command(
    short_help="Show the daemon and its jobs.",
    epilog="\b\nExamples:\n  maintd status\n  maintd status --json | jq '.jobs[] | select(.state == \"paused\")'",
)
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as one JSON object.")
@config_option()
@click.pass_obj
def status(called: Invocation, *, as_json: bool) -> int:
    """Shows the daemon, its jobs, their next runs and how the last ones went, and which logs are not rotated, and why.

    Checks come first, the worst of them before the others. Ends with 3 if a check is down, the last run of a job
    failed, supervisord does not answer and is needed, or the config was changed to one that was refused.
    """
    found = reach.ask_openly(called, "GET", "/status")
    if as_json:
        output.say_json(found)
    else:
        for line in _lines(found, called.now):
            output.say(line)
    is_well = not (found.get("rejected") or found.get("supervisor")) and all(
        job["last_outcome"] != "failure" for job in found["jobs"]
    )
    is_well = is_well and all(check["health"] != "down" for check in found.get("checks", []))
    return Exit.OK if is_well else Exit.NO


def _lines(found: Answer, now: datetime) -> Iterator[str]:
    up = now - datetime.fromisoformat(found["started"]).astimezone(UTC)
    uptime = format_duration(timedelta(seconds=max(int(up.total_seconds()), 1)))
    rest = f"pid {found['pid']}, up {uptime}, config {printable(found['config'])}"
    yield tables.hanging(f"maintd {found['version']},", rest, 2)
    yield from _rejected(found.get("rejected"), now)
    if found["observe"]:
        yield output.paint("observing: every job plans and reports, and changes nothing", fg="yellow")
    if found["paused_all"]:
        yield output.paint(f"all jobs are paused until {_end(found.get('paused_all_until'), now)}", fg="yellow")
    growth = found["growth"]
    yield f"growth: {counted(growth['files'], 'file')} watched, noticed within {growth['bound_ms']} ms"
    if growth["degraded"]:
        yield output.paint(f"growth is degraded: {growth['degraded']}", fg="red")
    if found["events"]["dropped"]:
        yield output.paint(f"events: {found['events']['dropped']} dropped because nobody read them", fg="red")
    if found.get("supervisor"):
        yield tables.hanging(output.paint("supervisord fails:", fg="red"), printable(found["supervisor"]), 2)
    if found.get("clock"):
        yield output.paint(clock_doubts.told(found["clock"]["away_s"]), fg="yellow")
    yield from health.alerts(found.get("alerts", {}), now)
    yield ""
    checks = found.get("checks", [])
    paused = {job["name"]: _end(job["paused_until"], now) for job in found["jobs"] if job["state"] == "paused"}
    yield from health.lines(checks, paused, now)
    named = {check["name"] for check in checks}
    others = [job for job in found["jobs"] if job["name"] not in named]
    header = ("job", "state", "next run", "last run", "outcome")
    if others:
        yield from tables.table([_row(job, now) for job in others], header)
    elif not checks:
        yield "no jobs"
    yield from _refused(found.get("refused", []), now)


def _rejected(rejected: Answer | None, now: datetime) -> Iterator[str]:
    if rejected is None:
        return
    errors = counted(rejected["errors"], "error")
    when = output.moment(rejected["at"], now)
    text = f"{errors} at {when}; the config before stays in force: {printable(rejected['advice'])}"
    yield tables.hanging(output.paint("config rejected:", fg="red"), text, 2)
    for problem in rejected["problems"][:_MOST]:
        yield tables.hanging(" ", printable(problem), 4)
    yield from _more(rejected["errors"] - _MOST)


def _row(job: Answer, now: datetime) -> list[str]:
    state, outcome = job["state"], job["last_outcome"] or ""
    told = f"paused until {_end(job['paused_until'], now)}" if state == "paused" else state
    return [
        job["name"],
        output.paint(told, fg=_COLOURS.get(state)),
        _moment(job["next"], now),
        _moment(job["last_run"], now),
        output.paint(": ".join(part for part in (outcome, job["last_msg"]) if part), fg=_COLOURS.get(outcome)),
    ]


def _refused(refused: Sequence[Answer], now: datetime) -> Iterator[str]:
    if not refused:
        return
    errors = sum(bool(item.get("in_config")) for item in refused)
    parts = [f"{counted(len(refused) - errors, 'log')} not rotated"] if len(refused) > errors else []
    parts += [f"{counted(errors, 'error')} in other config files"] if errors else []
    yield ""
    yield output.paint(f"{', '.join(parts)}:", fg="yellow")
    rows = [
        [item["job"], item["log"], f"since {_moment(item['since'], now)}", f"{item['reason']}; {item['advice']}"]
        for item in refused[:_MOST]
    ]
    yield from tables.table(rows, indent=2, below=2)
    yield from _more(len(refused) - _MOST)


def _more(count: int) -> Iterator[str]:
    if count > 0:
        yield f"  and {count} more"


def _end(until: str | None, now: datetime) -> str:
    return _moment(until, now) if until else "maintd resume"


def _moment(when: str | None, now: datetime) -> str:
    """A time whose distance from now stays in one piece."""
    at, bracket, distance = output.moment(when, now).partition("(")
    return at + tables.kept(bracket + distance)
