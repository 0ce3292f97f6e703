"""What can be given up of a job's logs when a file system runs full: steps that free space, the cheapest first."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from maintd import rotation, settling, writers
from maintd.actions.command import RunCommand
from maintd.actions.compress import Compress
from maintd.actions.delete import Clean, Expire, GiveUp
from maintd.actions.tell import Tell, Wait
from maintd.families import Archive, Family
from maintd.room import Means, Relief
from maintd.rotation import Policy
from maintd.steps import Action, Finding, Lane, Step
from maintd.trust import Judge
from maintd.units import format_size

LEAST_RUNAWAY = 256 << 10
"""Bytes. A live log that is smaller is not worth a rotation."""
_COPIES = 2
"""So many are made at a time, each of which is taken to need at most half of its original while both are there."""


def of_logs(
    found: Sequence[Family], policy: Policy, now: datetime, wanted: Relief, *, by_age: bool = True
) -> Iterator[Step]:
    """The steps for these logs, each with its reason; what is open, or may not be touched, is a finding."""
    match wanted.means:
        case Means.EXPIRED:
            for step in settling.plan_settling(found, policy, (), now, by_age=by_age):
                if isinstance(step, (Expire, Clean)) and wanted.covers(step.target, step.seen.dev):
                    yield step
        case Means.COMPRESS:
            yield from _closed(found, policy, now, wanted)
        case Means.OLDEST:
            yield from _oldest(found, policy, wanted)
        case Means.RUNAWAY:
            yield from _runaway(found, policy, now, wanted)


def _closed(found: Sequence[Family], policy: Policy, now: datetime, wanted: Relief) -> Iterator[Step]:
    """Archives that nobody writes, the smallest first: each makes room for the next one."""
    steps = [
        step
        for step in settling.plan_settling(found, policy, (), now, by_age=False)
        if isinstance(step, Compress) and step.seen and wanted.covers(step.target, step.seen.dev) and not step.needs
    ]
    for step in sorted(steps, key=lambda step: step.seen.size if step.seen else 0):
        assert step.seen
        if _COPIES * step.seen.size // 2 > wanted.free:
            yield Finding(target=step.target, reason="not compressed: there may be no room for its copy")
        else:
            yield replace(step, reason=f"{wanted.reason}; {step.reason}")


def _oldest(found: Sequence[Family], policy: Policy, wanted: Relief) -> Iterator[Step]:
    """The oldest generations of all logs beyond `keep_min` of each."""
    judge = Judge()
    beyond: list[tuple[Archive, Family]] = []
    for family in found:
        unfinished = {one.archive for one in family.interrupted}
        keys = sorted({archive.key for archive in family.archives})
        spared = set(keys[max(len(keys) - wanted.keep_min, 0) :])
        beyond += [
            (archive, family)
            for archive in family.archives
            if archive.key not in spared
            and wanted.covers(archive.seen.path, archive.seen.dev)
            and archive.seen.path not in unfinished
        ]
    for archive, family in sorted(beyond, key=lambda pair: (pair[0].key, pair[0].seen.path)):
        refusal = judge.finding(archive.seen, (policy.uid, family.live.uid if family.live else None))
        if refusal:
            yield refusal
        elif writers.is_open(archive.seen):
            yield Finding(target=archive.seen.path, reason="not deleted: a process has it open")
        else:
            reason = f"{wanted.reason}; beyond keep_min {wanted.keep_min}"
            yield GiveUp(target=archive.seen.path, reason=reason, seen=archive.seen)


def _runaway(found: Sequence[Family], policy: Policy, now: datetime, wanted: Relief) -> Iterator[Step]:
    """The largest live logs: each rotated by itself, with what is to follow, so that it can be left out by itself."""
    live = [family for family in found if family.live and wanted.covers(family.log, family.live.dev)]
    for family in sorted(live, key=lambda family: -(family.live.size if family.live else 0)):
        assert family.live
        if family.live.size < LEAST_RUNAWAY:
            continue
        reason = f"{wanted.reason}; it has {format_size(family.live.size)}"
        rotated: list[Action] = []
        for step in rotation.plan_rotation([(family, reason)], policy, now, found, frozenset(Lane)):
            yield step
            if isinstance(step, Action):
                rotated.append(step)
        alone = Family(family.log, family.live)
        after = settling.plan_settling([alone], policy, rotated, now, by_age=False) if rotated else ()
        yield from (step for step in after if isinstance(step, (Wait, Compress, Tell, RunCommand)))
