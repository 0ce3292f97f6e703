"""Which logs are refused now: noted from each run, until a run would rotate them or what was refused is not there."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime

from maintd.events import Event
from maintd.job import Job
from maintd.names import printable
from maintd.rotation import RotateRefused
from maintd.runs import Result, Run
from maintd.state import Refusal, State
from maintd.steps import Action, Finding, Lane
from maintd.triggers import Asked, Cause, Scheduled

IN_CONFIG = "config"
"""Stands for the inode where a place in a config file is refused, and no log."""


class Refusals:
    """Refusals outlive the daemon, in `state`, as long as their job is as it was and their log the same file.

    `is_news` may be asked in any thread, the rest belongs to the daemon's main thread.
    """

    def __init__(self, state: State, jobs: Mapping[str, Job]) -> None:
        self._state = state
        for refusal in state.refusals():
            job = jobs.get(refusal.job)
            if job is None or job.digest != refusal.digest or refusal.inode not in (IN_CONFIG, _inode(refusal.log)):
                state.accept(refusal)
        self._remember()

    def _remember(self) -> None:
        self._said = frozenset(_core(refusal) for refusal in self.all())

    def is_news(self, name: str, job: Job, event: Event) -> bool:
        """Whether what a run of the job has found is no refusal, or one that was not known until now."""
        return (
            not isinstance(event, RotateRefused)
            or _core(_refusal(name, job, event, datetime.now(UTC))) not in self._said
        )

    def all(self) -> list[Refusal]:
        return self._state.refusals()

    def note(self, run: Run, result: Result, now: datetime) -> None:
        """Takes over what a run has found: which logs it refuses, and which not any more."""
        if result.plan is None or not run.ctx.lanes & {Lane.ROTATE, Lane.STANZAS}:
            return
        known = {refusal.log: refusal for refusal in self.all() if refusal.job == run.name}
        for step in result.plan:
            if isinstance(step, Finding) and isinstance(step.event, RotateRefused):
                before = known.pop(step.target, None)
                refusal = _refusal(run.name, run.job, step.event, before.since if before else now)
                if refusal != before:
                    self._state.refuse(refusal)
        cause = run.ctx.cause
        settled = {step.target for step in result.plan if isinstance(step, Action) or not isinstance(cause, Asked)}
        for log, refusal in known.items():
            is_read_anew = refusal.inode == IN_CONFIG  # by each run
            if is_read_anew or log in settled or _is_about_all(cause):
                self._state.accept(refusal)
        self._remember()

    def forget(self, job: str) -> None:
        """The job is gone, or has changed: what it would refuse now is not known before it runs."""
        for refusal in self.all():
            if refusal.job == job:
                self._state.accept(refusal)
        self._remember()


def _refusal(name: str, job: Job, event: RotateRefused, since: datetime) -> Refusal:
    return Refusal(
        job=name,
        log=event.target,
        reason=printable(event.reason),
        advice=printable(event.advice),
        since=since,
        digest=job.digest,
        inode=IN_CONFIG if event.in_config else _inode(event.target),
    )


def _core(refusal: Refusal) -> tuple[str, ...]:
    """What makes a refusal the same one, whenever it began."""
    return refusal.job, refusal.log, refusal.reason, refusal.advice, refusal.digest, refusal.inode


def _is_about_all(cause: Cause) -> bool:
    """Whether a run looks at every log of its job, so that one that it does not refuse is not refused."""
    return cause == Asked() or (isinstance(cause, Scheduled) and not cause.catch_up)


def _inode(log: str) -> str:
    try:
        return str(os.stat(log, follow_symlinks=False).st_ino)
    except OSError:
        return ""
