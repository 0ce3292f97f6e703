"""`maintd beat`: calls in for a heartbeat."""

import time
from typing import Any

import click

from maintd.cli import reach
from maintd.cli.invocation import Invocation, config_option
from maintd.errors import MaintdError, Unreachable

_AWAY = 6.0
"""Seconds in which a daemon that is restarted comes back."""
_PAUSE = 0.2


@click.command(
    short_help="Call in for a heartbeat.",
    epilog="\b\nExamples:\n  maintd beat backup\n  /usr/local/bin/backup && maintd beat backup",
)
@click.argument("name", metavar="NAME")
@config_option()
@click.pass_obj
def beat(called: Invocation, name: str) -> None:
    """Says that something has been done: the check.heartbeat of this name is up, until it is not heard of for too long.

    The users of status_group may do so, who can ask for the status too, and nothing else. A daemon that is not there,
    since it is restarted perhaps, is waited for, 6 seconds at most.
    """
    answer = _answer(called, name)
    if not answer["ok"]:
        raise MaintdError(answer["error"], hint="maintd status lists the checks of the running config")


def _answer(called: Invocation, name: str) -> dict[str, Any]:
    """What the daemon says. Nobody beats twice, so one that is away is asked again for a while."""
    end = time.monotonic() + _AWAY
    while True:
        try:
            return reach.ask_openly(called, "POST", "/beat", {"name": name})
        except Unreachable as error:
            if not _is_away(error) or time.monotonic() > end:
                raise
        time.sleep(_PAUSE)


def _is_away(error: BaseException) -> bool:
    cause: BaseException | None = error
    while isinstance(cause, Unreachable):
        cause = cause.__cause__
    return isinstance(cause, FileNotFoundError | ConnectionError)
