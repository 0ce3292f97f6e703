"""`maintd run`: the daemon itself."""

import click

from maintd.cli.invocation import Invocation, config_option


@click.command(
    short_help="Run the daemon in the foreground.", epilog="\b\nExample:\n  maintd -c /etc/maintd/maintd.toml run"
)
@config_option()
@click.pass_obj
def run(called: Invocation) -> int:
    """Runs the daemon in the foreground until SIGTERM; its events go to stdout as JSON lines. It never forks."""
    from maintd import daemon  # noqa: PLC0415 - half of all libraries, of which help and completion need none

    return daemon.run(called.config)
