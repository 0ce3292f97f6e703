"""`maintd beat`: calls in for a heartbeat."""

import click

from maintd.cli import reach
from maintd.cli.invocation import Invocation, config_option
from maintd.errors import MaintdError


@click.command(
    short_help="Call in for a heartbeat.",
    epilog="\b\nExamples:\n  maintd beat backup\n  /usr/local/bin/backup && maintd beat backup",
)
@click.argument("name", metavar="NAME")
@config_option()
@click.pass_obj
def beat(called: Invocation, name: str) -> None:
    """Says that something has been done: the check.heartbeat of this name is up, until it is not heard of for too long.

    The users of status_group may do so, who can ask for the status too, and nothing else.
    """
    answer = reach.ask_openly(called, "POST", "/beat", {"name": name})
    if not answer["ok"]:
        raise MaintdError(answer["error"], hint="maintd status lists the checks of the running config")
