"""`maintd check`: whether the config is right, and what it comes to on this machine."""

from collections.abc import Iterator
from typing import Any

import click

from maintd import origins
from maintd.cli import output, tables
from maintd.cli.doubts import doubts
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.cli.prospect import Prospect, prospects
from maintd.config import Config, load
from maintd.errors import ConfigError, Problem
from maintd.names import printable
from maintd.units import counted


@click.command(
    short_help="Check the config, and show when each job runs.",
    epilog="\b\nExamples:\n  maintd check\n  maintd -c ./maintd.toml check --show\n  maintd check --strict --json",
)
@click.option("--show", is_flag=True, help="Print every setting with its effective value and the line that gave it.")
@click.option("--strict", is_flag=True, help="End with 3 if there are warnings.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_option()
@click.pass_obj
def check(called: Invocation, *, show: bool, strict: bool, as_json: bool) -> int:
    """Checks the config, and shows when each job runs, which files it names, and what looks wrong on this machine."""
    try:
        config = load(called.config)
    except ConfigError as error:
        if as_json:
            output.say_json({"ok": False, "jobs": [], "problems": [_fields(problem) for problem in error.problems]})
        raise
    found = prospects(config, called.now)
    warnings = list(doubts(config, found))
    if as_json:
        jobs = [prospect.fields() for prospect in found]
        output.say_json({"ok": True, "jobs": jobs, "problems": [_fields(problem) for problem in warnings]})
    else:
        output.complain(*(str(problem) for problem in warnings))
        for line in origins.show(config) if show else _lines(config, found, len(warnings)):
            output.say(line)
    return Exit.NO if strict and warnings else Exit.OK


def _fields(problem: Problem) -> dict[str, Any]:
    names = ("file", "line", "column", "severity", "message")
    return {name: getattr(problem, name) for name in names}


def _lines(config: Config, found: list[Prospect], warnings: int) -> Iterator[str]:
    header = ("job", "when", f"next three runs ({config.settings.timezone})", "files")
    rows = [(item.name, _when(item), ", ".join(map(tables.kept, item.moments)), item.count) for item in found]
    yield from tables.table(rows, header, right=(3,)) if rows else []
    for item in found:
        lines = list(item.job.outlook())
        yield from ["", f"{item.name}:", *(f"  {line}" for line in lines)] if lines else []
    told = counted(warnings, "warning") if warnings else "no problems"
    yield f"{', '.join(printable(file) for file in config.files)}: {counted(len(found), 'job')}, {told}"


def _when(item: Prospect) -> str:
    """When the job runs; its cron expression stays in one piece."""
    cron = str(item.job.cron or "")
    return item.when.replace(cron, tables.kept(cron)) if cron else item.when
