"""Where the snapshots of a set are, a directory or a prefix in a bucket, looked at in one way."""

import hashlib
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Any

from maintd import hosts, manifest, names, snapshots
from maintd.child import Progress, Worker
from maintd.errors import MaintdError, TimedOut
from maintd.manifest import Manifest
from maintd.snapshots import Held, Snapshot
from maintd.stores import DAMAGED, PROVEN, WHOLE, Repository, Store
from maintd.values import dataclass

STAMP = "%Y%m%dT%H%M%SZ"
_LISTING = 3
"""A bucket is listed within so many times what one request may take."""


@dataclass(frozen=True)
class Contents:
    """The snapshots of a destination, of all machines, and what belongs to none (`loose`, in a bucket, by key)."""

    snapshots: list[Snapshot] = field(default_factory=list)
    loose: tuple[str, ...] = ()


def found(store: Store, only: str | None = None) -> list[Snapshot]:
    """The snapshots there, of one set or of all, by set and then oldest first. Raises OSError, MaintdError."""
    return look(store, only).snapshots


def look(store: Store, only: str | None = None) -> Contents:
    """What is there. A bucket is asked in a child. Raises OSError, MaintdError."""
    if not store.is_remote:
        return Contents(snapshots.found(os.path.realpath(store.to), only))
    with Worker(background=False) as worker:
        deadline = time.monotonic() + _LISTING * store.timeout
        try:
            answer = ask(worker, store, "listing", deadline=deadline, only=only)
        except TimedOut as error:
            raise TimedOut(f"the object store for {store.to} did not answer", hint=error.hint) from error
    uses: dict[tuple[str, str], int] = {}
    read = [_described(store, one, answer["packs"]) for one in answer["snapshots"]]
    for one in read:
        for pack in one.inodes:
            uses[one.name.log, pack] = uses.get((one.name.log, pack), 0) + 1
    shared = [_sharing(one, answer["packs"], uses) for one in read]
    return Contents(snapshots.in_order(shared), tuple(answer["loose"]))


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


def sources_of(where: Repository, there: Sequence[Snapshot]) -> tuple[str, ...]:
    """The sources of which the last sound snapshot there has anything; none if that cannot be read."""
    last = next((one for one in reversed(there) if one.is_verified), None)
    with suppress(MaintdError), Worker(background=False, parting=signal.SIGTERM) as worker:
        given = {"repository": where.fields(), "snapshot": id_of(last.path)} if last else {}
        return tuple(worker.call("maintd.restored:sources", given)) if last else ()
    return ()


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


def _described(store: Store, one: Mapping[str, str], packs: Mapping[str, Mapping[str, int]]) -> Snapshot:
    at = names.parse_archive(one["name"])
    assert at is not None
    base = Snapshot(f"{store.to.rstrip('/')}/{one['name']}", at, (0, 0))
    texts = {manifest.NAME: one["manifest"], snapshots.PROOF: one["proof"]}

    def read(name: str) -> bytes:
        return texts[name].encode("utf-8", "surrogateescape")

    bare = snapshots.described(base, {}, read)
    if bare.manifest is None:
        return bare
    sizes = packs.get(at.log, {})
    full = snapshots.described(
        base, {pack.name: Held(_number(f"{at.log}/{pack.name}"), 0) for pack in bare.manifest.packs}, read
    )
    lacking = [pack.name for pack in bare.manifest.packs if sizes.get(pack.name) != pack.size]
    if lacking and not full.damage:
        return replace(full, damage=f"{lacking[0]} is not in the bucket, or not as large as it was", proven=None)
    unlike = snapshots.unlike(read(manifest.NAME), one["sums"].encode("utf-8", "surrogateescape"))
    if one["sums"] and unlike and not full.damage:
        return replace(full, damage=unlike, is_unnoted=True, proven=None)
    return full


def _sharing(one: Snapshot, packs: Mapping[str, Mapping[str, int]], uses: Mapping[tuple[str, str], int]) -> Snapshot:
    sizes = packs.get(one.name.log, {})
    return replace(one, stored=sum(sizes.get(pack, 0) // uses[one.name.log, pack] for pack in one.inodes))


def _number(pack: str) -> tuple[int, int]:
    """What tells packs apart where there are no inodes."""
    return 0, int(hashlib.sha256(pack.encode()).hexdigest()[:15], 16)
