"""The command line: one file per verb, imported when it is asked for."""

import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from typing import cast

import click

from maintd import __version__, holders
from maintd.cli import exits, invocation
from maintd.cli.invocation import Invocation

VERBS = (
    *("run", "check", "status", "plan", "do", "pause", "resume", "reload", "events", "logs", "storage"),
    *("archive", "backups", "restore", "sqlite", "beat", "silence", "alert"),
    *("logrotate", "import-logrotate", "schema", "completion"),
)
EXAMPLES = """\
\b
Examples:
  maintd check
  maintd plan rotate.services
  maintd do rotate.services
  maintd events -f /var/log/maintd/events.log
"""


class _Verbs(Mapping[str, click.Command]):
    """The verbs by name; each is imported when it is looked at."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in VERBS:
            raise KeyError(name)
        module = name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), module)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class _Program(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(VERBS)


@click.group(
    cls=_Program,
    name="maintd",
    short_help="Keep the logs of services under supervisord in order.",
    commands=cast("MutableMapping[str, click.Command]", _Verbs()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"{exits.TABLE}\n{invocation.SURROUNDINGS}\n{EXAMPLES}",
)
@invocation.config_option(envvar=True)
@click.option(
    "--debug",
    is_flag=True,
    envvar="MAINTD_DEBUG",
    show_envvar=True,
    expose_value=False,
    is_eager=True,
    callback=invocation.take,
    help="Show the traceback of an error.",
)
@click.version_option(__version__, message="maintd %(version)s")
def cli() -> None:
    """Looks after a server whose services run under supervisord, and changes none of them.

    Logs are rotated, compressed and expired without losing a line; files archived; storage, databases, programs and
    health looked after; backups made and proven; and somebody told when it matters.

    `maintd plan` shows what would be done and why, `maintd do` does exactly that, and `maintd run` is the daemon.
    """


def main() -> None:
    """The program. Ends the process with its exit code."""
    gc.disable()  # a command that lasts a moment saves a twentieth of it; the daemon turns it on again
    holders.ignore_lease_breaks()
    _keep_standard_descriptors()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what Python says of somebody's regular expression is for programmers
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a locale that is not UTF-8
    called = Invocation(debug=bool(os.environ.get("MAINTD_DEBUG")))
    code = exits.translate(lambda: cli.main(prog_name="maintd", standalone_mode=False, obj=called), called)
    gc.freeze()  # what is left goes with the process: to look for rings in it takes a tenth of a short command
    sys.exit(code)


def _keep_standard_descriptors() -> None:
    """Fills those that came closed with one that takes nothing: else the next file that is opened would get them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
    nothing = open(os.devnull, "w", encoding="utf-8")
    sys.stdout, sys.stderr = sys.stdout or nothing, sys.stderr or nothing
