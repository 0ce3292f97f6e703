"""How much of each job guards have given up since it ran itself: all of their runs together take its share once."""

from maintd.runs import Result, Run
from maintd.triggers import Asked, Settling


def note(given_up: dict[str, int], run: Run, result: Result) -> None:
    """Counts the files that a run has given up of others; that of a job that has run itself begins anew."""
    for name, count in result.given_up.items():
        given_up[name] = given_up.get(name, 0) + count
    if (
        result.plan is not None
        and not run.only_observes
        and not result.aborted  # a guard may have broken it off, and would have a new share by that
        and not isinstance(run.ctx.cause, Settling)
        and not (isinstance(run.ctx.cause, Asked) and run.ctx.cause.due_only)  # which leaves it out
    ):
        given_up[run.name] = 0
