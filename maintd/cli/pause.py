"""`maintd pause`: keeps jobs from running."""

from datetime import timedelta

import click

from maintd.cli import naming, output, reach
from maintd.cli.invocation import Invocation, config_option
from maintd.errors import MaintdError
from maintd.state import ALL_JOBS
from maintd.units import format_duration, parse_duration


def duration(_ctx: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    """A duration that was given as an option."""
    try:
        span = None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if span == timedelta():
        raise click.BadParameter("it lasts no time at all")
    return span


@click.command(
    short_help="Keep jobs from running by themselves.",
    epilog="\b\nExamples:\n  maintd pause --for 2h\n  maintd pause rotate.services",
)
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=naming.complete)
@click.option("--for", "span", metavar="TIME", callback=duration, help="How long (30m, 2h, 1d); else until resumed.")
@config_option()
@click.pass_obj
def pause(called: Invocation, jobs: tuple[str, ...], span: timedelta | None) -> None:
    """Keeps jobs, or all of them, from running by themselves; what was missed is made up for at the end.

    The pause outlives a restart of the daemon. `maintd do` runs a paused job all the same.
    """
    seconds = span.total_seconds() if span else None
    for job in jobs or (ALL_JOBS,):
        answer = reach.ask(called, "POST", "/pause", {"job": job, "seconds": seconds})
        naming.check_answer(job, answer)
        if not answer["ok"]:
            raise MaintdError(answer["error"], hint="maintd status lists the jobs of the running config")
        output.say(f"paused {naming.spoken(job)} {f'for {format_duration(span)}' if span else 'until maintd resume'}")
