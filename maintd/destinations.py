"""Where the snapshots of a set are, a directory or a prefix in a bucket, looked at in one way."""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Any

from maintd import hosts, names, snapshots
from maintd.child import Progress, Worker
from maintd.errors import MaintdError, TimedOut
from maintd.manifest import Manifest
from maintd.snapshots import Snapshot
from maintd.stores import DAMAGED, PROVEN, WHOLE, Repository, Store
from maintd.values import dataclass

STAMP = "%Y%m%dT%H%M%SZ"
_PATIENCE = 3
"""A bucket answers within so many times what one request may take."""


@dataclass(frozen=True)
class Contents:
    """The snapshots of a destination, of all machines, and what belongs to none (`loose`, in a bucket, by key)."""

    snapshots: list[Snapshot] = field(default_factory=list)
    loose: tuple[str, ...] = ()


def found(store: Store, only: str | None = None) -> list[Snapshot]:
    """The snapshots there, of one set or of all, by set and then oldest first. Raises OSError, MaintdError."""
    with Worker(background=False) as worker:
        return look(store, only, worker).snapshots


def look(store: Store, only: str | None, worker: Worker) -> Contents:
    """What is there, as a child finds it. Raises OSError, MaintdError."""
    if not store.is_remote:
        given = {"destination": os.path.realpath(store.to), "only": only}
        return Contents([Snapshot.of(one) for one in worker.call("maintd.snapshots:listing", given)])
    answer = _within(worker, store, "listing", only=only)
    return Contents([Snapshot.of(one) for one in answer["snapshots"]], tuple(answer["loose"]))


def whole(store: Store, one: Snapshot) -> Manifest:
    """All of its manifest, which is no small thing: for who restores. Raises OSError, MaintdError."""
    if not store.is_remote:
        return snapshots.whole(one.path)
    with Worker(background=False) as worker:
        text = _within(worker, store, "described", snapshot=os.path.basename(one.path))
    return Manifest.read(text.encode("utf-8", "surrogateescape"))


def _within(worker: Worker, store: Store, function: str, **given: Any) -> Any:
    """What a bucket answers, or that it does not."""
    try:
        return ask(worker, store, function, deadline=time.monotonic() + _PATIENCE * store.timeout, **given)
    except TimedOut as error:
        raise TimedOut(f"the object store for {store.to} did not answer", hint=error.hint) from error


def sets(directory: str) -> dict[str, int]:
    """The sets of which there are snapshots in a directory, by their names alone, with how many. Raises OSError."""
    try:
        with os.scandir(directory) as entries:
            there = [names.parse_archive(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return {}
    return Counter(at.log for at in there if at and not at.suffix)


def in_repository(where: Repository, of: str) -> list[Snapshot]:
    """The snapshots of a set in a repository of restic, oldest first, by their ids; of their files nothing is known."""
    with Worker(background=False, parting=signal.SIGTERM) as worker:
        answer = worker.call("maintd.restic:snapshots", {"repository": where.fields(), "only": of})
    return snapshots.in_order(_of_restic(one, where.url, of) for one in answer)


def described(where: Repository, one: Snapshot) -> Snapshot:
    """One of those, with all that is known of its files. Raises MaintdError."""
    with Worker(background=False, parting=signal.SIGTERM) as worker:
        text = worker.call("maintd.restored:describe", {"repository": where.fields(), "snapshot": id_of(one.path)})
    return replace(one, manifest=Manifest.read(text.encode()))


def id_of(path: str) -> str:
    """By which restic knows it: what stands behind the # of a snapshot's path."""
    return path.rpartition("#")[2]


def _of_restic(one: Mapping[str, Any], url: str, of: str) -> Snapshot:
    damaged = [tag.removeprefix(DAMAGED) for tag in one["tags"] if tag.startswith(DAMAGED)]
    is_whole = WHOLE in one["tags"] or damaged
    known = Manifest(of, one["time"], "", one["hostname"], (), (), missing=() if is_whole else ("something",))
    found = f"its data is damaged, as was found at {_stamped(min(damaged)):%Y-%m-%d %H:%M} UTC" if damaged else ""
    proven = [tag.removeprefix(PROVEN) for tag in one["tags"] if tag.startswith(PROVEN)]
    at = _stamped(max(proven)) if proven and not damaged else None
    name = names.ArchiveName(_time(one["time"]), 0, of)
    return Snapshot(f"{url}#{one['id'][:8]}", name, (0, 0), known, proven=at, damage=found)


def _stamped(text: str) -> datetime:
    return datetime.strptime(text, STAMP).replace(tzinfo=UTC)


def _time(text: str) -> datetime:
    """Restic tells nanoseconds, which are more than a time of ours holds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).astimezone(UTC)


def standing(store: Store, of: str) -> str:
    """How it is with a set, in words; nothing if the destination does not answer, which a run itself tells."""
    try:
        return snapshots.standing(hosts.of_one(found(store, of), store.host))
    except MaintdError:
        return ""


def ask(worker: Worker, store: Store, function: str, **given: Any) -> Any:
    """What a function of offsite.py answers; `given` are its arguments, and what bounds a call (Worker.call)."""
    bounds = {name: given.pop(name) for name in ("deadline", "stop", "progress") if name in given}
    return worker.call(f"maintd.offsite:{function}", {"store": store.fields(), **given}, **bounds)


def bring(worker: Worker, one: Snapshot, place: tuple[Store, str], packs: list[str] | None, told: Progress) -> None:
    """Fetches a snapshot from a bucket, with these packs or all, into a new private directory."""
    store, directory = place
    name = os.path.basename(one.path)
    ask(worker, store, "bring", progress=told, snapshot=name, packs=packs, directory=directory)
