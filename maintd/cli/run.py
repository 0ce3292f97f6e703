"""`maintd run`: the daemon itself."""

import os
import signal

import click

from maintd.cli.invocation import Invocation, config_option


@click.command(
    short_help="Run the daemon in the foreground.", epilog="\b\nExample:\n  maintd -c /etc/maintd/maintd.toml run"
)
@config_option()
@click.pass_obj
def run(called: Invocation) -> int:
    """Runs the daemon in the foreground until SIGTERM; its events go to stdout as JSON lines. It never forks."""
    from maintd import hearing  # noqa: PLC0415 - as below

    hearing.hold_back([signal.SIGHUP])  # a reload that is asked for meanwhile comes after the start
    from maintd import daemon  # noqa: PLC0415 - half of all libraries, of which help and completion need none

    code = daemon.run(called.config)
    os._exit(code)  # all is said and closed; to tidy up the memory of thousands of jobs takes seconds
