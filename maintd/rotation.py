"""Plans the rotation of logs from a policy: each is set aside, its writer is told, and what was cut off completed."""

import os
import stat as st
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import chain
from typing import ClassVar

from maintd import allocation, grounds, names, olddirs, retention, trust, writers
from maintd.actions.command import RunCommand, RunCommandLater
from maintd.actions.delete import CleanFresh
from maintd.actions.inplace import RotateInPlace
from maintd.actions.rename import FinishRotation, MakeDirectory, SetAside
from maintd.durable import Ownership
from maintd.events import Event
from maintd.families import Family, archive_directory
from maintd.rungs import Reopening, Rung
from maintd.steps import Finding, Lane, Seen, Step
from maintd.values import dataclass

Rotation = SetAside | RotateInPlace
APART = Rung(
    refusal="olddir lies on another file system, or another mount of it, and a log is renamed, not copied",
    advice="choose an olddir on the file system of the log",
)


@dataclass(frozen=True, kw_only=True)
class RotateRefused(Event):
    """A log is not rotated, because that could lose lines or change a service; the advice says what would allow it.

    With `in_config` the target is no log, but a place in a config file of logrotate's that has an error.
    """

    name: ClassVar[str] = "rotate.refused"
    level: ClassVar[str] = "warning"

    reason: str
    advice: str
    in_config: bool | None = None

    @property
    def msg(self) -> str:
        return f"{'' if self.in_config else 'not rotated: '}{self.reason}; {self.advice}"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How logs are rotated. Sizes in bytes; `codec` is zstd, gzip or none; `create` makes a new log at once.

    `intents` is the directory for those of rotations in place; days and months of the retention are those of `zone`.
    """

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
    user: str | None = None
    limit: timedelta = timedelta(seconds=10)
    intents: str = ""
    zone: tzinfo = UTC

    def ownership(self, log: Seen) -> Ownership | None:
        if not self.create:
            return None
        mode = st.S_IMODE(log.mode) if self.mode is None else self.mode
        uid = log.uid if self.uid is None else self.uid
        return Ownership(mode, uid, log.gid if self.gid is None else self.gid)


def plan_rotation(
    due: Sequence[tuple[Family, str]],
    policy: Policy,
    now: datetime,
    everything: Sequence[Family],
    lanes: AbstractSet[Lane],
) -> Iterator[Step]:
    """Sets the due logs aside, each for its given reason, and tells each writer once; or rotates them in place.

    `everything` are all logs of the job, so that two that would share their archives' names in one olddir are refused.
    What is done in place is long work, and put into the lane for that; with `before` or `after`, which are to run once
    around all of it, everything else that is due goes with it.
    """
    rungs = writers.choose([family.live for family, _ in due if family.live], policy.reopening)
    shared, judge = _sharing(everything, policy), trust.Judge()
    before = (_command(policy.before, policy, reason="before rotating"),) if policy.before else ()
    makes = olddirs.to_make([family.log for family in everything], policy.olddir, before)
    chosen: dict[Rung, list[Rotation]] = defaultdict(list)
    postponed: list[Rung] = []
    for family, reason in due:
        assert family.live is not None
        rung = shared.get(family.log) or rungs[family.live.inode]
        action = _rotation(family, f"{reason}; {rung.reason}", rung, policy, now)
        if not names.fits(os.path.basename(action.archive) + ("" if rung.way else ".zst")):
            rung = Rung(refusal="its archive's name would be longer than 255 bytes", advice="use a shorter log name")
        folder = os.path.dirname(action.archive)
        rung = _judged(family.live, folder, makes, policy, judge) or rung
        if not (rung.way or rung.refusal) and policy.olddir and olddirs.is_apart(family.log, folder):
            rung = APART
        found = _finding(family, rung, lanes)
        if found:
            yield found
            postponed += [rung] if found.is_deferred else []
        elif (Lane.HEAVY if rung.way else Lane.ROTATE) in lanes and not rung.refusal:
            chosen[rung].append(replace(action, needs=(*before, *([makes[folder]] if folder in makes else []))))
    if (policy.before or policy.after) and any(rung.way for rung in postponed):
        for action in chain.from_iterable(chosen.values()):
            reason = "rotated with those in place, between the same commands"
            yield Finding(target=action.target, reason=reason, is_deferred=True)
    elif chosen:
        folders = {os.path.dirname(action.archive) for actions in chosen.values() for action in actions}
        yield from before
        yield from olddirs.on_the_way(makes, folders)
        yield from _around(chosen, policy)


def _judged(
    log: Seen, folder: str, makes: Mapping[str, MakeDirectory], policy: Policy, judge: trust.Judge
) -> Rung | None:
    """A refusal if the log, or what leads to it or to its archives, may be somebody's trap."""
    found = judge.refusal(log, folder, expected=[policy.uid])
    if not found and folder in makes:
        made = makes[folder].ownership
        found = judge.makeable(folder, made.uid if made else None)
    return Rung(refusal=found.reason, advice=found.advice) if found else None


def _rotation(family: Family, reason: str, rung: Rung, policy: Policy, now: datetime) -> Rotation:
    assert family.live is not None
    name = str(names.next_archive(os.path.basename(family.log), now, *family.archive_names))
    archive = os.path.join(archive_directory(family.log, policy.olddir), name)
    folder = grounds.identity(os.path.dirname(archive))
    if rung.way:
        codec = policy.codec if rung.way == "collapse" else "none"
        return RotateInPlace(
            target=family.log,
            reason=reason,
            seen=family.live,
            archive=archive + names.CODEC_SUFFIXES[codec],
            codec=codec,
            level=policy.level,
            way=rung.way,
            intents=policy.intents,
            adopt=rung.adopt,
            folder=folder,
        )
    return SetAside(
        target=family.log,
        reason=reason,
        seen=family.live,
        archive=archive,
        folder=folder,
        ownership=policy.ownership(family.live),
        was_held=bool(rung.holder),
    )


def _finding(family: Family, rung: Rung, lanes: AbstractSet[Lane]) -> Finding | None:
    """Why a due log is not rotated in this plan, if it is not."""
    assert family.live is not None
    before = "an interrupted rotation of it is completed first" if family.interrupted else rung.put_off
    if before:
        return Finding(
            target=family.log,
            reason=f"not rotated: {before}",
            is_put_off=Lane.HEAVY in lanes,
            is_deferred=Lane.HEAVY not in lanes,
        )
    if rung.refusal:
        return refused(family.log, rung) if Lane.ROTATE in lanes else None
    if rung.way is None:
        return None
    if family.live.size < 2 * (allocation.unit if rung.way == "collapse" else allocation.block)(family.log):
        return Finding(target=family.log, reason="not rotated: it is too small to be rotated in place")
    if Lane.HEAVY not in lanes:
        return Finding(target=family.log, reason="rotated in place, beside other long work", is_deferred=True)
    return None


def shared(job: str) -> Rung:
    """The refusal of a log whose archives would lie among those of another log of its name, of another job."""
    return Rung(
        refusal=f"its archives would lie among those of another log of its name, which {job} rotates",
        advice="give each of the two jobs an olddir of its own",
    )


def refused(log: str, rung: Rung) -> Finding:
    """That a log is not rotated, as an event."""
    event = RotateRefused(target=log, reason=rung.refusal, advice=rung.advice)
    return Finding(target=log, reason=f"not rotated: {rung.refusal}; {rung.advice}", event=event, is_put_off=True)


def _sharing(everything: Sequence[Family], policy: Policy) -> dict[str, Rung]:
    """A refusal for each log whose archives would get the same names as another's in one olddir."""
    if policy.olddir is None:
        return {}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for family in filter(lambda family: family.live, everything):
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


def _around(chosen: dict[Rung, list[Rotation]], policy: Policy) -> Iterator[Step]:
    """The rotations with what comes after them; those in place, which take their time, last."""
    rotations = {rung: tuple(actions) for rung, actions in chosen.items()}
    for rung, actions in rotations.items():
        yield from () if rung.way else actions
    for rung, actions in rotations.items():
        yield from rung.tell(actions, policy.limit)
    for rung, actions in rotations.items():
        yield from actions if rung.way else ()
    if policy.after:
        everything = tuple(action for actions in rotations.values() for action in actions)
        kind = RunCommandLater if any(rung.way for rung in rotations) else RunCommand
        after = _command(policy.after, policy, kind, reason="after rotating")
        yield replace(after, needs=everything, any_need=True)


def _command(argv: tuple[str, ...], policy: Policy, kind: type[RunCommand] = RunCommand, *, reason: str) -> RunCommand:
    return kind(target=argv[0], reason=reason, argv=argv, user=policy.user, limit=policy.limit)


def plan_recovery(found: Iterable[Family]) -> Iterator[Step]:
    """Completes rotations that were cut off between their two renames, and removes new logs that never got a name."""
    for family in found:
        fresh = os.path.join(os.path.dirname(family.log), names.temporary(os.path.basename(family.log)))
        seen = family.temporaries.pop(fresh, None)
        if seen:
            if family.live is None and family.archives:
                yield FinishRotation(target=family.log, reason="an interrupted rotation had set it aside", seen=seen)
            else:
                yield CleanFresh(target=fresh, reason="an interrupted rotation left it", seen=seen)
