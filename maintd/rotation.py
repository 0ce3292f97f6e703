"""Plans the rotation of logs from a policy: which are due, how each writer is told, what is compressed and deleted."""

import os
import stat as st
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

from maintd import names, retention, writers
from maintd.actions.command import RunCommand
from maintd.actions.compress import Compress
from maintd.actions.delete import Clean, CleanFresh, Expire
from maintd.actions.rename import FinishRotation, MakeDirectory, SetAside
from maintd.actions.tell import PATIENCE, Tell, Wait
from maintd.durable import Ownership
from maintd.events import Event
from maintd.families import Archive, Family, archive_directory
from maintd.retention import Generation
from maintd.steps import Action, Finding, Seen, Step
from maintd.writers import Reopening, Rung

RECENT = timedelta(seconds=PATIENCE + 2)
"""For so long after a log was set aside its writer is not told again: it was told then."""


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


def plan_settling(
    found: Sequence[Family], policy: Policy, rotated: Sequence[Action], now: datetime, *, by_age: bool = True
) -> Iterator[Step]:
    """Compresses what was set aside as soon as nobody may write it, and deletes what the retention gives up.

    `rotated` are the steps planned before in the same plan; `by_age` False keeps what only its age condemns.
    """
    for family in found:
        for temporary in family.temporaries:
            if names.parse_archive(os.path.basename(temporary).removesuffix(names.TEMPORARY)):
                yield Clean(target=temporary, reason="an interrupted run left it")
    fresh = {action.target: action for action in rotated if isinstance(action, SetAside)}
    expirations = list(_expirations(found, policy, fresh, now, by_age=by_age))
    condemned = {step.target for step in expirations}
    uncompressed = [
        archive
        for family in found
        for archive in family.archives
        if not archive.is_compressed and archive.seen.path not in condemned
    ]
    copied = dict(pair for family in found for pair in _copied(family))
    yield from _compressions(uncompressed, copied, policy, now)
    yield from _fresh_compressions(fresh.values(), rotated, policy)
    yield from expirations


def _compressions(
    uncompressed: Sequence[Archive], copied: Mapping[str, str], policy: Policy, now: datetime
) -> Iterator[Step]:
    """Archives of earlier runs: those still held are announced to their writers again and waited for.

    `copied` are the codecs of those that have a compressed copy: an interrupted run left the original, which goes as
    soon as that copy was compared with it, whatever the codec is now.
    """
    held = [archive for archive in uncompressed if writers.is_held(archive.seen)]
    waits = {wait.target: wait for wait in (yield from _waits(held, policy, now))}
    for archive in uncompressed:
        codec = copied.get(archive.seen.path, policy.codec)
        if codec == "none":
            continue
        wait = waits.get(archive.seen.path)
        yield Compress(
            target=archive.seen.path,
            reason=f"set aside at {archive.name.stamp:%Y-%m-%d %H:%M:%S}",
            needs=(wait,) if wait else (),
            seen=archive.seen,
            codec=codec,
            level=policy.level if codec == policy.codec else None,
            grows=wait is not None,
        )


def _copied(family: Family) -> Iterator[tuple[str, str]]:
    """The paths of uncompressed archives beside which a compressed copy lies, with its codec."""
    codecs = {suffix: codec for codec, suffix in names.CODEC_SUFFIXES.items() if suffix}
    copies = {archive.key: codecs[archive.name.suffix] for archive in family.archives if archive.is_compressed}
    for archive in family.archives:
        if not archive.is_compressed and archive.key in copies:
            yield archive.seen.path, copies[archive.key]


def _waits(held: Sequence[Archive], policy: Policy, now: datetime) -> Generator[Step, None, list[Wait]]:
    """Waits for the writers of archives that are still held; returns the waits.

    Those set aside a moment ago were told then, and are only waited for; the others are told again, once each.
    """
    recent = [archive.seen for archive in held if timedelta() <= now - archive.name.stamp < RECENT]
    waits = [Wait(target=seen.path, reason="its writer has to let go of it") for seen in recent]
    old = [archive.seen for archive in held if archive.seen not in recent]
    rungs = writers.choose(old, policy.reopening) if old else {}
    by_rung: dict[Rung, list[Seen]] = defaultdict(list)
    for seen in old:
        by_rung[rungs[seen.inode]].append(seen)
    for rung, seens in by_rung.items():
        tells = tuple(rung.tell((), policy.limit, why=f"it still writes {os.path.basename(seens[0].path)}"))
        yield from tells
        who = rung.holder or "somebody"
        waits.extend(
            Wait(target=seen.path, reason=f"{who} still writes it", needs=tells, is_told=bool(tells)) for seen in seens
        )
    yield from waits
    return waits


def _fresh_compressions(fresh: Collection[SetAside], rotated: Sequence[Action], policy: Policy) -> Iterator[Step]:
    """What this plan sets aside: all waits first, since they run at the same time, then the compressions."""
    needs: dict[int, tuple[Action, ...]] = {}
    told: dict[int, list[Action]] = defaultdict(list)
    for step in filter(_is_tell, rotated):
        for need in step.needs:
            told[id(need)].append(step)
    for action in fresh:
        needs[id(action)] = (action,)
        if action.was_held:
            tells = told[id(action)]
            wait = Wait(target=action.archive, reason="its writer has to let go of it", needs=(action, *tells))
            needs[id(action)] = (wait,)
            yield wait
    for action in fresh if policy.codec != "none" else ():
        yield Compress(
            target=action.archive,
            reason="set aside by this run",
            needs=needs[id(action)],
            seen=replace(action.seen, path=action.archive),
            codec=policy.codec,
            level=policy.level,
            grows=True,
        )


def _is_tell(step: Action) -> bool:
    return isinstance(step, Tell) or (isinstance(step, RunCommand) and step.tells)


def _expirations(
    found: Sequence[Family], policy: Policy, fresh: Mapping[str, SetAside], now: datetime, *, by_age: bool
) -> Iterator[Expire]:
    """What the retention gives up, counting a log that this plan sets aside as its newest generation.

    What is still to be compressed counts as nothing towards max_total: its size says little of what it will take.
    """
    if policy.retention.is_empty:
        return
    rules = policy.retention if by_age else replace(policy.retention, max_age=None)
    generations: dict[str, list[Generation]] = {}
    files: dict[str, list[Archive]] = defaultdict(list)
    for family in found:
        own: dict[tuple[datetime, int], Generation] = {}
        for archive in family.archives:
            size = archive.seen.size if archive.is_compressed or policy.codec == "none" else 0
            generation = own.setdefault(archive.key, Generation(archive.seen.path, archive.name.stamp, size))
            files[generation.path].append(archive)
        generations[family.log] = list(own.values())
        if family.log in fresh:
            action = fresh[family.log]
            size = action.seen.size if policy.codec == "none" else 0
            generations[family.log].append(Generation(action.archive, now, size))
    logs = {path: log for log, own in generations.items() for path in (generation.path for generation in own)}
    for verdict in retention.decide(generations, rules, now):
        path = verdict.generation.path
        if not verdict.kept:
            needs = (fresh[logs[path]],) if logs[path] in fresh else ()
            for archive in files[path]:
                yield Expire(target=archive.seen.path, reason=verdict.reason, needs=needs, seen=archive.seen)
