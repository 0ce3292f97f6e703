"""`maintd import-logrotate`: prints the native config for the stanzas of logrotate's files."""

import os
from collections.abc import Iterator

import click

from maintd.cli import output
from maintd.cli.exits import Exit
from maintd.logrotate import native, sources
from maintd.logrotate.stanza import Stanza
from maintd.names import printable


@click.command(
    name="import-logrotate",
    short_help="Print the native config for logrotate's stanzas.",
    epilog="\b\nExamples:\n  maintd import-logrotate /etc/logrotate.d/nginx\n"
    "  maintd import-logrotate /etc/logrotate.conf > /etc/maintd/conf.d/logs.toml",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(resolve_path=True))
def import_logrotate(files: tuple[str, ...]) -> int:
    """Prints a [rotate.NAME] table for each stanza of logrotate's files, and in comments what it cannot say exactly.

    A stanza with an error is left out. Nothing is changed; the archives that logrotate made are none of the new jobs',
    so that they stay until a person removes them.
    """
    reading = sources.read(files)
    problems = [complaint for complaint in reading.complaints if complaint.level != "note"]
    output.complain(*(printable(str(complaint)) for complaint in problems))
    for line in _lines(files, reading.stanzas):
        output.say(line)
    return Exit.FAILED if any(complaint.level == "error" for complaint in problems) else Exit.OK


def _lines(files: tuple[str, ...], stanzas: tuple[Stanza, ...]) -> Iterator[str]:
    names = " ".join(printable(os.path.relpath(file, "/") and file) for file in files)
    yield f"# from {names} by maintd import-logrotate; try it with maintd check and maintd plan"
    yield ""
    yield from native.tables(stanzas)
