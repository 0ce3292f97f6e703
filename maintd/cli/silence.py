"""`maintd silence`: nothing is told about some jobs for a while."""

from datetime import timedelta

import click

from maintd.cli import output, reach, tables
from maintd.cli.invocation import Invocation, config_option
from maintd.errors import MaintdError
from maintd.names import printable
from maintd.units import format_duration, parse_duration


def _span(_ctx: click.Context, _argument: click.Parameter, value: str | None) -> timedelta | None:
    try:
        span = None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="TIME") from None
    if span == timedelta():
        raise click.BadParameter("it lasts no time at all", param_hint="TIME")
    return span


@click.command(
    short_help="Tell nothing about some jobs for a while.",
    epilog="\b\nExamples:\n  maintd silence 'check.http.*' 2h --reason 'moving the site'\n"
    "  maintd silence program.services:api 30m\n  maintd silence --end 'check.http.*'\n  maintd silence",
)
@click.argument("name", required=False, metavar="[NAME")
@click.argument("span", required=False, metavar="TIME]", callback=_span)
@click.option("--reason", default="", help="Why, for those who look at maintd status.")
@click.option("--end", is_flag=True, help="End a silence before its time.")
@config_option()
@click.pass_obj
def silence(called: Invocation, name: str | None, span: timedelta | None, *, reason: str, end: bool) -> None:
    """Keeps alerts about a job, or all that a pattern names, from being sent; events are emitted all the same.

    What is still wrong when the silence ends is told then. Without NAME it shows what is silenced. It outlives a
    restart of the daemon.
    """
    if name is None:
        for line in _lines(called):
            output.say(line)
        return
    if (span is None) != end:
        raise click.UsageError("say for how long (2h), or --end to end a silence")
    seconds = span.total_seconds() if span else None
    answer = reach.ask(called, "POST", "/silence", {"pattern": name, "seconds": seconds, "reason": reason})
    if not answer["ok"]:
        raise MaintdError(answer["error"], hint="maintd silence shows what is silenced")
    if span and not answer["known"]:
        output.complain(f"maintd: no job and no program of the running config is named {name} now")
    output.say(f"nothing is told about {name} for {format_duration(span)}" if span else f"{name} is told of again")


def _lines(called: Invocation) -> list[str]:
    found = reach.ask_openly(called, "GET", "/status").get("alerts", {}).get("silences", [])
    rows = [
        [printable(one["pattern"]), f"until {output.moment(one['until'], called.now)}", printable(one["reason"])]
        for one in found
    ]
    return list(tables.table(rows)) if rows else ["nothing is silenced"]
