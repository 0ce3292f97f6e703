"""What holds for a whole invocation, whatever its verb: which config, and whether tracebacks are shown."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
DEFAULT_CONFIG = "/etc/maintd/maintd.toml"


@dataclass(slots=True)
class Invocation:
    """`now` is when the command was given; everything that it plans, it plans for this moment."""

    config: str = DEFAULT_CONFIG
    debug: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def take(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Notes the value of a global option; click calls it for each place where the option may stand."""
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
