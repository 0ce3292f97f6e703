"""What holds for a whole invocation, whatever its verb: which config, and whether tracebacks are shown."""

import os
from collections.abc import Callable
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from maintd.values import dataclass

_Command = TypeVar("_Command", bound=Callable[..., Any])
DEFAULT_CONFIG = "/etc/maintd/maintd.toml"
SURROUNDINGS = f"""\
\b
Files:
  {DEFAULT_CONFIG}     the config
  {os.path.dirname(DEFAULT_CONFIG)}/conf.d/*.toml   more jobs, read beside the config
  /var/lib/maintd             the lock and state.sqlite (state_dir)
  /run/maintd/control.sock    where the daemon answers (runtime_dir)
  /var/log/maintd/events.log  the daemon's events, where the shipped maintd.conf has them go

\b
Environment:
  MAINTD_CONFIG          the config, as --config before the verb
  MAINTD_DEBUG           if set, as --debug
  SUPERVISOR_SERVER_URL  how supervisord is reached, unless the config says it; supervisord sets it
  NO_COLOR               if set, no colours
"""
"""What the program looks at besides its command line, as --help and the manual pages say it."""


@dataclass
class Invocation:
    """`now` is when the command was given; everything that it plans, it plans for this moment."""

    config: str = DEFAULT_CONFIG
    debug: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def take(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Notes the value of a global option; click calls it for each place where the option may stand."""
    if value == "":
        raise click.BadParameter("it is empty: name the file")
    if value is not None and value is not False:
        setattr(ctx.ensure_object(Invocation), str(option.name), value)


def config_option(*, envvar: bool = False) -> Callable[[_Command], _Command]:
    """`-c FILE`. It may stand before the verb and after it; the environment counts where it stands before."""
    return click.option(
        "-c",
        "--config",
        metavar="FILE",
        envvar="MAINTD_CONFIG" if envvar else None,
        show_envvar=envvar,
        callback=take,
        expose_value=False,
        help=f"The config.  [default: {DEFAULT_CONFIG}]" if envvar else "The config, as before the verb.",
    )
