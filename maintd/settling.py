"""Plans what becomes of logs that were set aside: told again, waited for, compressed, and deleted when given up."""

import os
from collections import defaultdict
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

from maintd import names, retention, strangers, writers
from maintd.actions.command import RunCommand
from maintd.actions.compress import Compress
from maintd.actions.delete import Clean, Expire
from maintd.actions.inplace import FinishInPlace, RotateInPlace
from maintd.actions.rename import SetAside
from maintd.actions.renumber import Renumber
from maintd.actions.tell import PATIENCE, Tell, Wait
from maintd.events import Event
from maintd.families import Archive, Family
from maintd.retention import Generation
from maintd.rotation import Policy, Rotation
from maintd.rungs import Rung
from maintd.steps import Action, Finding, Seen, Step
from maintd.trust import Judge
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class TemporaryOrphaned(Event):
    """An archive that was being made is there, and nothing tells any more what it was made of; it is left alone.

    The directory of maintd's state was emptied, mostly, while a rotation in place was interrupted.
    """

    name: ClassVar[str] = "temporary.orphaned"
    level: ClassVar[str] = "warning"

    advice: str

    @property
    def msg(self) -> str:
        return f"what it was made of is gone, so it may be the only copy; {self.advice}"


RECENT = timedelta(seconds=PATIENCE + 2)
"""For so long after a log was set aside its writer is not told again: it was told then."""


def plan_settling(
    found: Sequence[Family], policy: Policy, rotated: Sequence[Action], now: datetime, *, by_age: bool = True
) -> Iterator[Step]:
    """Compresses what was set aside as soon as nobody may write it, and deletes what the retention gives up.

    `rotated` are the steps planned before in the same plan; `by_age` False keeps what only its age condemns.
    """
    unfinished = {one.archive for family in found for one in family.interrupted}
    for family in found:
        yield from _leftovers(family)
    fresh = {action.target: action for action in rotated if isinstance(action, (SetAside, RotateInPlace))}
    expirations = [
        step for step in _expirations(found, policy, fresh, now, by_age=by_age) if step.target not in unfinished
    ]
    passed_over = {step.target for step in expirations} | unfinished
    uncompressed = [
        archive
        for family in found
        for archive in family.archives
        if not archive.is_compressed and archive.seen.path not in passed_over
    ]
    yield from strangers.findings(found)
    refused = yield from _refused(found, policy, {step.target for step in expirations}, uncompressed)
    expirations = [step for step in expirations if step.target not in refused]
    uncompressed = [archive for archive in uncompressed if archive.seen.path not in refused]
    copied = dict(pair for family in found for pair in _copied(family))
    free = dict(pair for family in found for pair in strangers.ways_round(family, policy.codec))
    yield from _compressions(uncompressed, copied, free, policy, now)
    yield from _fresh_compressions(fresh.values(), rotated, policy)
    yield from expirations


def _leftovers(family: Family) -> Iterator[Step]:
    """Completes rotations in place, and removes the temporaries of compressions, that were cut off.

    A temporary whose original is gone is left alone: without the intent that told, nobody knows what it has alone.
    """
    for one in family.interrupted:
        reason = "a rotation in place was interrupted"
        yield FinishInPlace(target=family.log, reason=reason, archive=one.archive, journal=one.journal)
    being_made = {names.temporary(os.path.basename(one.archive)) for one in family.interrupted}
    originals = {os.path.basename(archive.seen.path) for archive in family.archives if not archive.is_compressed}
    for temporary, seen in family.temporaries.items():
        name = os.path.basename(temporary)
        parsed = names.parse_archive(name.removesuffix(names.TEMPORARY))
        if parsed is None or name in being_made:
            continue
        if parsed.suffix and str(replace(parsed, suffix="")) in originals:
            yield Clean(target=temporary, reason="an interrupted run left it", seen=seen)
        else:
            event = TemporaryOrphaned(target=temporary, advice="look at it, keep what is in it, and remove it")
            yield Finding(target=temporary, reason=f"left alone: {event.msg}", event=event)


def _refused(
    found: Sequence[Family], policy: Policy, condemned: Collection[str], uncompressed: Collection[Archive]
) -> Generator[Step, None, set[str]]:
    """Says which of the archives that are to go, or to be compressed, are left alone; returns their paths."""
    judge, refused = Judge(), set()
    for family in found:
        expected = (policy.uid, family.live.uid if family.live else None)
        for archive in family.archives:
            if archive in uncompressed or archive.seen.path in condemned:
                finding = judge.finding(archive.seen, expected)
                if finding:
                    refused.add(archive.seen.path)
                    yield finding
    return refused


def _compressions(
    uncompressed: Sequence[Archive], copied: Mapping[str, str], free: Mapping[str, str], policy: Policy, now: datetime
) -> Iterator[Step]:
    """Archives of earlier runs: those still held are announced to their writers again and waited for.

    `copied` are the codecs of those that have a compressed copy: an interrupted run left the original, which goes as
    soon as that copy was compared with it, whatever the codec is now. `free` are the paths to be taken by those whose
    compressed copy would find its name taken.
    """
    held = [archive for archive in uncompressed if writers.is_held(archive.seen)]
    waits = {wait.target: wait for wait in (yield from _waits(held, policy, now))}
    for archive in uncompressed:
        codec = copied.get(archive.seen.path, policy.codec)
        if codec == "none":
            continue
        wait = waits.get(archive.seen.path)
        needs: tuple[Action, ...] = (wait,) if wait else ()
        path = archive.seen.path
        if path in free and path not in copied:
            why = f"somebody else has taken the name {os.path.basename(path)}{names.CODEC_SUFFIXES[codec]}"
            needs = (Renumber(target=path, reason=why, needs=needs, seen=archive.seen, to=free[path]),)
            yield from needs
            path = free[path]
        yield Compress(
            target=path,
            reason=f"set aside at {archive.name.stamp:%Y-%m-%d %H:%M:%S}",
            needs=needs,
            seen=replace(archive.seen if wait else _as_left(archive.seen), path=path),
            codec=codec,
            level=policy.level if codec == policy.codec else None,
            grows=wait is not None,
        )


def _as_left(seen: Seen) -> Seen:
    """A file that nobody writes any more: who has just let go of it may have written to it since it was first seen."""
    try:
        now = os.lstat(seen.path)
    except OSError:
        return seen
    return Seen.of(seen.path, now) if seen.is_same_file(now) else seen


def _copied(family: Family) -> Iterator[tuple[str, str]]:
    """The paths of uncompressed archives beside which a compressed copy lies, with its codec.

    It has the owner of its original, or is root's: another's may be changed as soon as the original has gone.
    """
    codecs = {suffix: codec for codec, suffix in names.CODEC_SUFFIXES.items() if suffix}
    copies = {(archive.key, archive.seen.uid): archive for archive in family.archives if archive.is_compressed}
    for archive in family.archives:
        copy = copies.get((archive.key, archive.seen.uid)) or copies.get((archive.key, 0))
        if not archive.is_compressed and copy:
            yield archive.seen.path, codecs[copy.name.suffix]


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


def _fresh_compressions(fresh: Collection[Rotation], rotated: Sequence[Action], policy: Policy) -> Iterator[Step]:
    """What this plan sets aside: all waits first, since they run at the same time, then the compressions."""
    needs: dict[int, tuple[Action, ...]] = {}
    told: dict[int, list[Action]] = defaultdict(list)
    for step in filter(_is_tell, rotated):
        for need in step.needs:
            told[id(need)].append(step)
    for action in fresh:
        needs[id(action)] = (action,)
        if isinstance(action, SetAside) and action.was_held:
            tells = told[id(action)]
            wait = Wait(target=action.archive, reason="its writer has to let go of it", needs=(action, *tells))
            needs[id(action)] = (wait,)
            yield wait
    for action in fresh if policy.codec != "none" else ():
        is_in_place = isinstance(action, RotateInPlace)
        if isinstance(action, RotateInPlace) and action.codec != "none":
            continue
        yield Compress(
            target=action.archive,
            reason="set aside by this run",
            needs=needs[id(action)],
            seen=None if is_in_place else replace(action.seen, path=action.archive),
            codec=policy.codec,
            level=policy.level,
            grows=True,
        )


def _is_tell(step: Action) -> bool:
    return isinstance(step, Tell) or (isinstance(step, RunCommand) and step.tells)


def _expirations(
    found: Sequence[Family], policy: Policy, fresh: Mapping[str, Rotation], now: datetime, *, by_age: bool
) -> Iterator[Expire]:
    """What the retention gives up, counting a log that this plan sets aside as its newest generation.

    What is still to be compressed counts as nothing towards max_total: its size says little of what it will take.
    """
    if policy.retention.is_empty:
        return
    rules = policy.retention if by_age else policy.retention.ageless()
    generations: dict[str, list[Generation]] = {}
    files: dict[str, list[Archive]] = defaultdict(list)
    for family in found:
        own: dict[tuple[datetime, int], Generation] = {}
        for order, archive in enumerate(family.archives):
            size = archive.seen.size if archive.is_compressed or policy.codec == "none" else 0
            generation = own.setdefault(archive.key, Generation(archive.seen.path, archive.time(now), size, order))
            files[generation.path].append(archive)
        generations[family.log] = list(own.values())
        if family.log in fresh:
            action = fresh[family.log]
            size = action.seen.size if policy.codec == "none" else 0
            generations[family.log].append(Generation(action.archive, now, size, len(family.archives)))
    logs = {path: log for log, own in generations.items() for path in (generation.path for generation in own)}
    for verdict in retention.decide(generations, rules, now, policy.zone):
        path = verdict.generation.path
        if not verdict.kept:
            needs = (fresh[logs[path]],) if logs[path] in fresh else ()
            for archive in files[path]:
                yield Expire(target=archive.seen.path, reason=verdict.reason, needs=needs, seen=archive.seen)
