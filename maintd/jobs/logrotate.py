"""The kind `logrotate`: runs the stanzas of logrotate's own config files, with its archive names and its state file."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from maintd import grounds, names
from maintd.claims import Claim
from maintd.job import AbsolutePath, Context, Job, Watched
from maintd.steps import Finding, Lane, Step
from maintd.triggers import Asked, AskedBefore, Cause, Grown, Scheduled, Settling

if TYPE_CHECKING:
    from maintd.logrotate.considering import Considered
    from maintd.logrotate.engine import Overview
    from maintd.logrotate.stanza import Complaint, Stanza
    from maintd.supervisor import Supervisor

_LEAST = 4096
"""Bytes. A smaller `size` means "at each run": watched, the log would be rotated with every few lines."""


class Logrotate(Job):
    """Runs logrotate's stanzas as they are: at its times, and as soon as a log passes its size or maxsize."""

    kind: ClassVar[str] = "logrotate"
    lanes: ClassVar[tuple[Lane, ...]] = (Lane.STANZAS,)
    due_from_disk: ClassVar[bool] = True
    is_due_by_itself: ClassVar[bool] = True
    has_other_files: ClassVar[bool] = True

    include: tuple[AbsolutePath, ...] = Field(
        min_length=1, description="logrotate's config files, and directories of them, in their order"
    )
    state: AbsolutePath = Field(
        default="/var/lib/logrotate/status", description="logrotate's state file, shared with it and locked as it does"
    )
    mail: AbsolutePath = Field(
        default="/usr/bin/mail", description="the program that sends what the stanzas say to mail"
    )

    @model_validator(mode="before")
    @classmethod
    def _hourly(cls, given: Any) -> Any:
        """Often enough for `hourly`; what is daily is rotated by the first run of a day."""
        is_timed = not isinstance(given, dict) or given.keys() & {"cron", "every"}
        return given if is_timed else {**given, "cron": "@hourly"}

    def alone(self) -> AbstractContextManager[object]:
        from maintd.logrotate import status  # noqa: PLC0415 - reading a config does not need what rotates

        return status.locked(self.state)

    def claims(self) -> Claim:
        return Claim(tuple(pattern for stanza in self._stanzas() for pattern in _patterns(stanza)))

    def watched(self) -> tuple[Watched, ...]:
        found = [(_patterns(stanza), _limit(stanza)) for stanza in self._stanzas()]
        last = max((index for index, (_, limit) in enumerate(found) if limit is not None), default=-1)
        return tuple(Watched(paths, (), limit) for paths, limit in found[: last + 1] if paths)

    def outlook(self) -> Iterator[str]:
        from maintd.logrotate import logs, outlook  # noqa: PLC0415 - as above

        for found in logs.expand(self._stanzas()).sets:
            yield from outlook.lines(found.stanza, sum(map(os.path.exists, found.logs)))

    def doubts(self, _supervisor: "Supervisor") -> Iterator[tuple[str, str]]:
        from maintd.logrotate import dangers, sources  # noqa: PLC0415 - as above

        yield from (("include", message) for message in dangers.of(sources.read(self.include, is_resident=True)))
        yield from (("state", message) for message in dangers.of_state(self.state))
        yield from (("", message) for message in dangers.of_schedules())

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd.logrotate.engine import Resident, overview  # noqa: PLC0415 - as above

        ctx.claims.renew()
        found = overview(
            self.include,
            self.state,
            ctx.now.astimezone().replace(tzinfo=None),
            forced=isinstance(ctx.cause, AskedBefore) or ctx.cause == Asked(),
            mail=self.mail,
            resident=Resident(lambda log, last: self._amended(log, last, ctx), by_age=not ctx.clock_jumped),
        )
        yield from self._owned(found, ctx)
        yield from _problems(found)
        for step in found.steps:
            yield _as_refusal(step) if isinstance(step, Finding) else step

    def _stanzas(self) -> "tuple[Stanza, ...]":
        from maintd.logrotate import sources  # noqa: PLC0415 - as above

        return sources.read(self.include, is_resident=True).stanzas

    def _amended(self, log: "Considered", last: datetime | None, ctx: Context) -> "Considered | None":
        """The log as this run takes it; None if it is not this job's."""
        path = log.seen.path if log.seen else log.path
        if names.is_ours(os.path.basename(path)) or path.endswith(names.TEMPORARY) or ctx.own.has(path):
            return None
        if self._owner(path, ctx):
            return None
        why = _passed_over(path, log.path, last, ctx.cause)
        if why:
            return replace(log, ruling=replace(log.ruling, is_due=False, reason=why), trouble="")
        return log

    def _owner(self, path: str, ctx: Context) -> str:
        return ctx.claims.owners([path], before=ctx.job).get(path, "")

    def _owned(self, found: "Overview", ctx: Context) -> Iterator[Finding]:
        """The logs that another job rotates."""
        for planned in found.stanzas:
            mine = {log.path for log in planned.logs}
            for log in planned.found.logs:
                path = grounds.real(log)
                owner = "" if log in mine else self._owner(path, ctx)
                if owner:
                    yield Finding(target=log, reason=f"belongs to {owner}, which comes first in the config")


def _patterns(stanza: "Stanza") -> tuple[str, ...]:
    from maintd.logrotate.as_patterns import as_pattern  # noqa: PLC0415 - as above

    found = (as_pattern(name) for name in stanza.patterns)
    return tuple(pattern for pattern in found if pattern is not None)


def _limit(stanza: "Stanza") -> int | None:
    """Beyond how many bytes a log of this stanza is rotated at once."""
    criteria = stanza.options.criteria
    limits = [criteria.size - 1] if criteria.kind == "size" else []
    limits += [criteria.maxsize] if criteria.maxsize else []
    watched = [limit for limit in limits if limit >= _LEAST - 1]
    return min(watched, default=None)


def _passed_over(path: str, name: str, last: datetime | None, cause: Cause) -> str:
    """Why a run for this cause does not rotate a log whose entry in the state file is of `last`; or nothing."""
    match cause:
        case Settling():
            return "only what was begun is completed"
        case Grown(paths) if path not in paths:
            return "it has not grown"
        case Scheduled(slot, catch_up=True) if last is not None and last >= _local(slot):
            return "it was rotated since its time"
        case AskedBefore(logs):
            asked = [when for log, when in logs if log in (path, name)]
            if not any(last is None or last < _local(when) for when in asked):
                return "it is done, or was not asked for"
    return ""


def _local(moment: datetime) -> datetime:
    return moment.astimezone().replace(tzinfo=None)


def _problems(found: "Overview") -> Iterator[Finding]:
    """What is wrong with the config files and the state file; what it costs is left out, and all else goes on."""
    from maintd.rotation import RotateRefused  # noqa: PLC0415 - as above

    for complaint in found.complaints:
        if complaint.level == "note":
            continue
        place = f"{complaint.file}:{complaint.line}" if complaint.line else complaint.file
        reason = f"{complaint.text} ({_cost(complaint)})"
        advice = "correct it; maintd check shows whether it is right"
        event = RotateRefused(target=place, reason=reason, advice=advice, in_config=True)
        said = event if complaint.level == "error" else None
        yield Finding(target=place, reason=reason, event=said, is_refused=complaint.fails)
    for fault in found.faults:
        yield Finding(target=found.ending[0].target if found.ending else "state", reason=fault)


def _cost(complaint: "Complaint") -> str:
    return "all else holds" if complaint.loses == "nothing" else f"this {complaint.loses} is left out"


def _as_refusal(found: Finding) -> Finding:
    """What the command line calls a failure is for a daemon, which comes back to it, a refusal that is said once."""
    from maintd.logrotate.planning import LogFailed  # noqa: PLC0415 - as above
    from maintd.rotation import RotateRefused  # noqa: PLC0415 - as above

    if not isinstance(found.event, LogFailed):
        return found
    event = RotateRefused(target=found.target, reason=found.reason, advice="correct its stanza, or what it names")
    return replace(found, event=event, is_refused=True)
