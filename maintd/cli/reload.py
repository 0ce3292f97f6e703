"""`maintd reload`: has the daemon read its config again."""

import click

from maintd.cli import output, reach
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option


@click.command(
    short_help="Have the daemon read its config again.", epilog="\b\nExample:\n  maintd check && maintd reload"
)
@click.option(
    "--force", is_flag=True, help="Also if more than half of the jobs, or a table of settings, would be gone."
)
@config_option()
@click.pass_obj
def reload(called: Invocation, *, force: bool) -> int:
    """Has the daemon read its config again, waits for the verdict and prints it (jobs added, changed, removed).

    A config with an error is refused as a whole, and the old one stays. Jobs that did not change keep their next run.
    Another state_dir or runtime_dir takes a restart.
    """
    answer = reach.ask(called, "POST", "/reload", {"force": force})
    output.complain(*answer["problems"], *answer["warnings"])
    if answer["ok"]:
        output.say(f"reloaded: {answer['hint'] or answer['diff']}")
        return Exit.OK
    output.complain("maintd: the config was refused; the old one stays in force", f"        {answer['hint']}")
    return Exit.FAILED
