"""Looks ahead whether a guard has anything to do, so that it breaks off no long work of others in vain."""

from maintd.job import Context, Job
from maintd.steps import Action, Plan


def plan(job: Job, ctx: Context) -> Plan | None:
    """The plan of a job if there is nothing to do in it; None if there is, or if that cannot be told.

    It is made beside work of others, whose temporaries look like leftovers: those go with it, which makes room too.
    """
    try:
        made = tuple(job.plan(ctx))
    except Exception:  # noqa: BLE001 - the run itself says what is wrong
        return None
    return None if any(isinstance(step, Action) for step in made) else made
