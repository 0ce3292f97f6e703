"""`maintd completion`: completion for shells."""

import click
from click.shell_completion import get_completion_class

from maintd.cli import output


@click.command(
    short_help="Print a completion script for a shell.",
    epilog="\b\nExamples:\n"
    "  maintd completion bash > /etc/bash_completion.d/maintd\n"
    "  maintd completion zsh > /usr/local/share/zsh/site-functions/_maintd\n"
    "  maintd completion fish > ~/.config/fish/completions/maintd.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Prints the script that makes a shell complete verbs, options and the names of jobs."""
    script = get_completion_class(shell)
    assert script is not None
    output.say(script(ctx.find_root().command, {}, "maintd", "_MAINTD_COMPLETE").source().rstrip())
