"""The names of jobs as people give them: completed by the shell, checked against the config."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from maintd.cli.invocation import DEFAULT_CONFIG, Invocation
from maintd.complaints import did_you_mean
from maintd.config import load
from maintd.errors import MaintdError
from maintd.state import ALL_JOBS


def check(given: Iterable[str], known: Sequence[str]) -> None:
    """Raises a usage error for the first name that no job has."""
    for name in given:
        if name not in known:
            hint = did_you_mean(name, tuple(known))
            rest = "" if hint else f"; there are: {', '.join(known[:20]) or 'none'}"
            raise click.UsageError(f"there is no job {name!r}{hint}{rest}", click.get_current_context())


def check_answer(job: str, answer: Mapping[str, Any]) -> None:
    """Raises the same if the daemon answers that its config has no such job."""
    if "jobs" in answer:
        check([job], answer["jobs"])


def complete(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The jobs of the config whose names begin so."""
    called = ctx.find_object(Invocation)
    try:
        names = load(called.config if called else DEFAULT_CONFIG).jobs
    except (MaintdError, OSError):
        return []
    return [name for name in names if name.startswith(begun)]


def spoken(job: str) -> str:
    """A job, or all of them, as people call it."""
    return "all jobs" if job == ALL_JOBS else job
