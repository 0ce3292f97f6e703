"""Plans one snapshot of a set: what is copied and dumped for it, what stores it, and which older ones then go."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from maintd import __version__, hosts, names, retention, snapshots, sources
from maintd.actions.staging import BackupFailed, CopyDatabase, DumpOutput, Staged
from maintd.depots import Depot
from maintd.events import Event
from maintd.snapshots import Snapshot
from maintd.steps import Action, Finding, Seen, Step
from maintd.survey import Survey
from maintd.units import counted, format_duration, format_size
from maintd.values import dataclass

_SPEED = 200 << 20
"""Bytes a second at which a database is copied at least, to estimate for how long its writers would wait."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How snapshots of the set `of` are taken. Limits are those of one copy, one query, one command.

    `commands` are by the name of the file that gets their output, `invariants` by the pattern of the databases they
    are asked of. `host` is the machine whose snapshots they are. What did not change for `full_every` is stored again
    all the same. Without `retention` none goes.
    """

    of: str
    host: str
    is_host_named: bool
    max_pause: timedelta
    query_timeout: timedelta
    invariants: Mapping[str, tuple[str, ...]]
    commands: Mapping[str, tuple[str, ...]]
    command_timeout: timedelta
    command_user: str | None
    full_every: timedelta
    level: int | None
    recipient: str | None
    retention: retention.Policy
    programs: tuple[str, ...]
    checks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class BackupShared(Event):
    """Where a backup goes there are snapshots of the set that another machine made, or this one under another name."""

    name: ClassVar[str] = "backup.shared"
    level: ClassVar[str] = "warning"

    of: str
    whose: str
    host: str

    @property
    def msg(self) -> str:
        return (
            f"other machines have snapshots of {self.of} there ({self.whose}), which are neither counted nor deleted: "
            f'give each a place of its own; or set host, to "{self.host}", or to the name that this one had before'
        )


@dataclass(frozen=True, kw_only=True)
class BackupMixed(Event):
    """Two machines make snapshots of the set there under one host name: each deletes what it takes for its own."""

    name: ClassVar[str] = "backup.mixed"
    level: ClassVar[str] = "warning"

    of: str
    host: str
    count: int

    @property
    def msg(self) -> str:
        return (
            f"another machine goes by {self.host} too, and made {counted(self.count, 'snapshot')} of {self.of} there "
            "after this one had: each deletes the other's; set host to a name of its own in one of them"
        )


def failing(target: str, why: str, advice: str) -> Finding:
    """What cannot be backed up, as an event."""
    event = BackupFailed(target=target, tried="back it up", error="refused", error_msg=why, advice=advice)
    return Finding(target=target, reason=f"{why} ({advice})", event=event)


def without(found: Survey) -> Iterator[Finding]:
    """What a snapshot of these would lack."""
    for miss in found.lacking:
        yield failing(miss.path, f"{miss.reason}: the snapshot lacks it", "bring it back, or correct the job")


def plan_snapshot(
    found: Survey, there: Sequence[Snapshot], depot: Depot, policy: Policy, now: datetime
) -> Iterator[Step]:
    """Copies and dumps into a staging directory, and makes one snapshot of them and of the files.

    Of what is `there`, the snapshots of other machines are no base, are not counted, and none goes.
    """
    name = names.next_archive(policy.of, now, [one.name for one in there])
    there, others = hosts.divided(there, policy.host)
    if others:
        yield _of_others(others, depot, policy)
    if twins := hosts.twins(there, hosts.machine()):
        mixed = BackupMixed(target=depot.where, of=policy.of, host=policy.host, count=len(twins))
        yield Finding(target=depot.where, reason=mixed.msg, event=mixed)
    staged = Staged(os.path.join(depot.making, names.temporary(str(name))))
    lacking = [f"{names.printable(miss.path)}: {miss.reason}" for miss in found.lacking]
    steps: list[Action] = []
    for step in (*_copies(found, policy, staged), *_dumps(policy, staged)):
        if isinstance(step, Finding):
            lacking.append(f"{names.printable(step.target)}: {step.reason}")
        else:
            steps.append(step)
        yield step
    base = snapshots.base_of(there)
    last = depot.storing(
        base,
        target=f"{depot.where.rstrip('/')}/{name}",
        reason=f"the last sound snapshot is {base.label}" if base else "there is no sound one before it",
        needs=tuple(steps),
        files=found.files,
        expected=tuple(step.target for step in steps),
        lacking=tuple(lacking),
        oldest=_stamp(names.next_archive(policy.of, now - policy.full_every, [])),
        level=policy.level,
        recipient=policy.recipient,
        about=_about(found, policy, now),
        staged=staged,
    )
    yield last
    if not policy.retention.is_empty:
        yield from _expirations(there, last, depot, policy.retention, now)


def _of_others(others: Sequence[Snapshot], depot: Depot, policy: Policy) -> Finding:
    """Who has named the machine in the config knows that it shares the place: then it is no event."""
    shared = BackupShared(target=depot.where, of=policy.of, whose=hosts.told(others), host=policy.host)
    return Finding(target=depot.where, reason=shared.msg, event=None if policy.is_host_named else shared)


def _copies(found: Survey, policy: Policy, staged: Staged) -> Iterator[CopyDatabase | Finding]:
    for path in found.strange:
        why = "it is no SQLite database, or an encrypted one"
        yield failing(path, why, "exclude it; a file that is never written while it is copied goes into files")
    for number, database in enumerate(found.databases):
        seen = database.seen
        if not _is_utf8(os.path.basename(seen.path)):
            why = "its name is not UTF-8, so it cannot be opened as a database"
            yield failing(seen.path, why, "rename or exclude it")
            continue
        estimate = timedelta(seconds=seen.size / _SPEED)
        if not database.header.is_wal and estimate > policy.max_pause:
            yield _too_long(seen, estimate, policy.max_pause)
            continue
        yield CopyDatabase(
            target=seen.path,
            reason="in WAL mode: nobody waits for it"
            if database.header.is_wal
            else f"not in WAL mode: writers wait for about {format_duration(estimate)}",
            seen=seen,
            number=number,
            pause=None if database.header.is_wal else policy.max_pause,
            invariants=sources.invariants_of(seen.path, policy.invariants),
            seconds=policy.query_timeout.total_seconds(),
            staged=staged,
        )


def _too_long(seen: Seen, estimate: timedelta, max_pause: timedelta) -> Finding:
    why = (
        f"copying {format_size(seen.size)} would hold up its writers for about {format_duration(estimate)}, "
        f"max_pause is {format_duration(max_pause)}"
    )
    enough = f"{math.ceil(1.5 * estimate.total_seconds())}s"
    advice = (
        "PRAGMA journal_mode = WAL ends that for good; or allow it at night, in a job of its own: "
        f'window = "03:00-05:00" and max_pause = "{enough}"'
    )
    return failing(seen.path, why, advice)


def _dumps(policy: Policy, staged: Staged) -> Iterator[DumpOutput]:
    for number, (name, argv) in enumerate(policy.commands.items()):
        yield DumpOutput(
            target=name,
            reason=f"the output of {argv[0]} belongs to the set",
            argv=argv,
            limit=policy.command_timeout,
            user=policy.command_user,
            number=number,
            staged=staged,
        )


def _about(found: Survey, policy: Policy, now: datetime) -> Mapping[str, object]:
    """What the manifest says of the set and of this snapshot."""
    invariants = {
        database.seen.path: queries
        for database in found.databases
        if (queries := sources.invariants_of(database.seen.path, policy.invariants))
    }
    return {
        "set": policy.of,
        "taken": now.astimezone(UTC).isoformat(timespec="seconds"),
        "maintd": __version__,
        "host": policy.host,
        "machine": hosts.machine(),
        "sources": found.having,
        "invariants": invariants,
        "programs": policy.programs,
        "checks": policy.checks,
    }


def _expirations(
    there: Iterable[Snapshot], last: Action, depot: Depot, rules: retention.Policy, now: datetime
) -> Iterator[Action]:
    by_path, gone = {one.path: one for one in there}, list[Action]()
    for verdict in snapshots.judged([*by_path.values()], rules, now, coming=last.target):
        one = by_path.get(verdict.generation.path)
        if one is not None and not verdict.kept:
            gone.append(depot.expiring(one, reason=verdict.reason, needs=(last,), stored=one.stored))
    yield from gone
    yield from depot.concluding(gone)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stamp(name: names.ArchiveName) -> str:
    return str(name).rpartition(".")[2]
