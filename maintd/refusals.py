"""Which logs are refused now: noted from each run, until a run would rotate them or what was refused is not there."""

import os
from collections.abc import Mapping
from datetime import datetime

from maintd.job import Job
from maintd.names import printable
from maintd.rotation import RotateRefused
from maintd.runs import Result, Run
from maintd.state import Refusal, State
from maintd.steps import Action, Finding, Lane
from maintd.triggers import Asked, Cause, Scheduled


class Refusals:
    """Refusals outlive the daemon, in `state`, as long as their job is as it was and their log the same file."""

    def __init__(self, state: State, jobs: Mapping[str, Job]) -> None:
        self._state = state
        for refusal in state.refusals():
            job = jobs.get(refusal.job)
            if job is None or job.digest != refusal.digest or _inode(refusal.log) != refusal.inode:
                state.accept(refusal)

    def all(self) -> list[Refusal]:
        return self._state.refusals()

    def note(self, run: Run, result: Result, now: datetime) -> None:
        """Takes over what a run has found: which logs it refuses, and which not any more."""
        if result.plan is None or Lane.ROTATE not in run.ctx.lanes:
            return
        known = {refusal.log: refusal for refusal in self.all() if refusal.job == run.name}
        for step in result.plan:
            if isinstance(step, Finding) and isinstance(step.event, RotateRefused):
                before = known.pop(step.target, None)
                refusal = _refusal(run, step.event, before.since if before else now)
                if refusal != before:
                    self._state.refuse(refusal)
        cause = run.ctx.cause
        settled = {step.target for step in result.plan if isinstance(step, Action) or not isinstance(cause, Asked)}
        for log, refusal in known.items():
            if log in settled or _is_about_all(cause):
                self._state.accept(refusal)

    def forget(self, job: str) -> None:
        """The job is gone, or has changed: what it would refuse now is not known before it runs."""
        for refusal in self.all():
            if refusal.job == job:
                self._state.accept(refusal)


def _refusal(run: Run, event: RotateRefused, since: datetime) -> Refusal:
    return Refusal(
        job=run.name,
        log=event.target,
        reason=printable(event.reason),
        advice=printable(event.advice),
        since=since,
        digest=run.job.digest,
        inode=_inode(event.target),
    )


def _is_about_all(cause: Cause) -> bool:
    """Whether a run looks at every log of its job, so that one that it does not refuse is not refused."""
    return cause == Asked() or (isinstance(cause, Scheduled) and not cause.catch_up)


def _inode(log: str) -> str:
    try:
        return str(os.stat(log, follow_symlinks=False).st_ino)
    except OSError:
        return ""
