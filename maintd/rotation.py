"""Plans the rotation of logs from a policy: each is set aside, its writer is told, and what was cut off completed."""

import os
import stat as st
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

from maintd import names, retention, writers
from maintd.actions.command import RunCommand
from maintd.actions.delete import CleanFresh
from maintd.actions.rename import FinishRotation, MakeDirectory, SetAside
from maintd.durable import Ownership
from maintd.events import Event
from maintd.families import Family, archive_directory
from maintd.steps import Action, Finding, Seen, Step
from maintd.writers import Reopening, Rung


@dataclass(frozen=True, kw_only=True)
class RotateRefused(Event):
    """A log is not rotated, because that could lose lines or change a service; the advice says what would allow it."""

    name: ClassVar[str] = "rotate.refused"
    level: ClassVar[str] = "warning"

    reason: str
    advice: str

    @property
    def msg(self) -> str:
        return f"not rotated: {self.reason}; {self.advice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How logs are rotated. Sizes in bytes; `codec` is zstd, gzip or none; `create` makes a new log at once."""

    reopening: Reopening
    retention: retention.Policy
    codec: str = "zstd"
    level: int | None = None
    olddir: str | None = None
    create: bool = True
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    before: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None
    limit: timedelta = timedelta(seconds=10)

    def ownership(self, log: Seen) -> Ownership | None:
        if not self.create:
            return None
        mode = st.S_IMODE(log.mode) if self.mode is None else self.mode
        uid = log.uid if self.uid is None else self.uid
        return Ownership(mode, uid, log.gid if self.gid is None else self.gid)


def plan_rotation(
    due: Sequence[tuple[Family, str]], policy: Policy, now: datetime, everything: Sequence[Family]
) -> Iterator[Step]:
    """Sets the due logs aside, each for its given reason, and tells each writer once.

    `everything` are all logs of the job, so that two that would share their archives' names in one olddir are refused.
    """
    rungs = writers.choose([family.live for family, _ in due if family.live], policy.reopening)
    shared = _sharing(everything, policy)
    makes = {step.target: step for step in _directories(due, policy)}
    set_aside: dict[Rung, list[SetAside]] = defaultdict(list)
    for family, reason in due:
        assert family.live is not None
        rung = shared.get(family.log) or rungs[family.live.inode]
        folder = archive_directory(family.log, policy.olddir)
        name = names.next_archive(os.path.basename(family.log), now, (archive.name for archive in family.archives))
        if not names.fits(str(name) + names.CODEC_SUFFIXES[policy.codec]):
            rung = Rung(refusal="its archive's name would be longer than 255 bytes", advice="use a shorter log name")
        if rung.refusal:
            yield _refused(family.log, rung)
            continue
        action = SetAside(
            target=family.log,
            reason=f"{reason}; {rung.reason}",
            needs=(makes[folder],) if folder in makes else (),
            seen=family.live,
            archive=os.path.join(folder, str(name)),
            ownership=policy.ownership(family.live),
            was_held=bool(rung.holder),
        )
        set_aside[rung].append(action)
    if set_aside:
        yield from _around(list(makes.values()), set_aside, policy)


def _refused(log: str, rung: Rung) -> Finding:
    event = RotateRefused(target=log, reason=rung.refusal, advice=rung.advice)
    return Finding(target=log, reason=f"not rotated: {rung.refusal}; {rung.advice}", event=event, is_put_off=True)


def _sharing(everything: Sequence[Family], policy: Policy) -> dict[str, Rung]:
    """A refusal for each log whose archives would get the same names as another's in one olddir."""
    if policy.olddir is None:
        return {}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for family in everything:
        groups[archive_directory(family.log, policy.olddir), os.path.basename(family.log)].append(family.log)
    return {
        log: Rung(
            refusal=f"its archives would have the names of those of {next(other for other in logs if other != log)}",
            advice='set olddir relative to each log\'s directory ("archive"), or use two jobs with two directories',
        )
        for logs in groups.values()
        if len(logs) > 1
        for log in logs
    }


def _around(directories: list[Action], set_aside: dict[Rung, list[SetAside]], policy: Policy) -> Iterator[Step]:
    """The rotations with what comes before and after them."""
    before: tuple[Action, ...] = ()
    if policy.before:
        before = (
            RunCommand(target=policy.before[0], reason="before rotating", argv=policy.before, limit=policy.limit),
        )
    yield from before
    yield from directories
    rotations = {
        rung: tuple(replace(action, needs=(*before, *action.needs)) for action in actions)
        for rung, actions in set_aside.items()
    }
    for actions in rotations.values():
        yield from actions
    for rung, actions in rotations.items():
        yield from rung.tell(actions, policy.limit)
    if policy.after:
        everything = tuple(action for actions in rotations.values() for action in actions)
        yield RunCommand(
            target=policy.after[0],
            reason="after rotating",
            needs=everything,
            any_need=True,
            argv=policy.after,
            limit=policy.limit,
        )


def _directories(due: Sequence[tuple[Family, str]], policy: Policy) -> Iterator[Action]:
    for folder in sorted({archive_directory(family.log, policy.olddir) for family, _ in due}):
        if not os.path.isdir(folder):
            yield MakeDirectory(target=folder, reason="olddir does not exist yet")


def plan_recovery(found: Iterable[Family]) -> Iterator[Step]:
    """Completes rotations that were cut off between their two renames, and removes new logs that never got a name."""
    for family in found:
        fresh = os.path.join(os.path.dirname(family.log), names.temporary(os.path.basename(family.log)))
        if fresh in family.temporaries:
            family.temporaries.remove(fresh)
            if family.live is None and family.archives:
                yield FinishRotation(target=family.log, reason="an interrupted rotation had set it aside")
            else:
                yield CleanFresh(target=fresh, reason="an interrupted rotation left it")
