"""`maintd resume`: ends a pause."""

import click

from maintd.cli import naming, output, reach
from maintd.cli.invocation import Invocation, config_option
from maintd.errors import MaintdError
from maintd.state import ALL_JOBS


@click.command(short_help="End a pause.", epilog="\b\nExamples:\n  maintd resume\n  maintd resume rotate.services")
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=naming.complete)
@config_option()
@click.pass_obj
def resume(called: Invocation, jobs: tuple[str, ...]) -> None:
    """Ends the pause of jobs, or every pause; each job then makes up for what it missed."""
    for job in jobs or (ALL_JOBS,):
        answer = reach.ask(called, "POST", "/resume", {"job": job})
        naming.check_answer(job, answer)
        if not answer["ok"]:
            raise MaintdError(answer["error"], hint="maintd status shows what is paused")
        rest = f", which stays paused: {answer['rest']}" if answer.get("rest") else ""
        output.say(f"resumed {naming.spoken(job)}{rest}")
