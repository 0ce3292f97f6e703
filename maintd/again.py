"""What is to be tried again of a run that failed in part, or that put something off: the causes of the runs to be."""

from collections.abc import Iterator

from maintd.runs import Result, Run
from maintd.steps import Action
from maintd.triggers import Asked, AskedBefore, Cause, Fallen, Low, Over, Scheduled, Settling


def causes(run: Run, result: Result) -> Iterator[Cause]:
    """None if all of it was done, or if it was only to observe.

    What a person asked for is tried again only where the disk shows what is left of it; of logs, the same ones and no
    others.
    """
    if not result.failed and (not result.waiting or run.only_observes):
        return
    cause = run.ctx.cause
    if isinstance(cause, Scheduled) and not run.job.is_tried_again:
        return
    if isinstance(cause, Low | Fallen) or (isinstance(cause, Over) and not result.failed):
        return  # who watches the space, or the programs, asks again
    if isinstance(cause, (Scheduled, AskedBefore)):
        yield cause
    elif not isinstance(cause, Asked):
        yield Settling()
    elif run.job.due_from_disk:
        asked = run.ctx.now.replace(microsecond=0)  # as precise as the stamp of an archive that the run itself made
        logs = [step.target for step in result.plan or () if isinstance(step, Action) or step.is_put_off]
        if logs:
            yield AskedBefore(frozenset((log, asked) for log in logs))
        yield Settling()
