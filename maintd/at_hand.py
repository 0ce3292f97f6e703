"""A snapshot to restore from where its files can be read: in its directory, or brought for the moment.

It is brought from a bucket, or by restic from its repository.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from maintd import destinations, durable, names
from maintd.child import Worker
from maintd.manifest import Entry
from maintd.restoring import Deed, Told
from maintd.snapshots import Snapshot
from maintd.stores import Repository, Store
from maintd.units import counted, format_size
from maintd.values import dataclass


@dataclass(frozen=True)
class Local:
    """The snapshot, with the path that it has here; `packs` are those that it has here, None is all of them.

    `deeds` bring it here.
    """

    snapshot: Snapshot
    packs: tuple[str, ...] | None = None
    deeds: tuple[Deed, ...] = ()


def brought(stores: str, of: str) -> str:
    """Where what is brought for a restore in place of a set lies, below maintd's private directory for all stores."""
    return os.path.join(stores, names.temporary(f"{of}.restore"))


@contextmanager
def at_hand(store: Store | Repository, found: Snapshot, entries: Sequence[Entry], directory: str) -> Iterator[Local]:
    """For these entries; what is brought goes into `directory`, which is removed in the end."""
    if isinstance(store, Store) and not store.is_remote:
        yield Local(found)
        return
    try:
        if isinstance(store, Repository):
            yield _from_repository(store, found, entries, directory)
        else:
            yield _from_bucket(store, found, entries, directory)
    finally:
        parent, name = os.path.split(directory)
        if os.path.isdir(parent):
            with durable.directory(parent) as dir_fd:
                durable.discard_tree(name, dir_fd=dir_fd)


def _from_repository(where: Repository, found: Snapshot, entries: Sequence[Entry], directory: str) -> Local:
    assert found.manifest is not None
    is_all = len(entries) == len(found.manifest.entries)
    size = sum(entry.size for entry in entries)
    arguments = {
        "repository": where.fields(),
        "snapshot": destinations.id_of(found.path),
        "known": found.manifest.written().decode(),
        "only": None if is_all else [entry.name for entry in entries],
        "directory": directory,
    }

    def bring(told: Told) -> None:
        with Worker(background=False, parting=signal.SIGTERM) as worker:
            worker.call("maintd.restored:bring", arguments, progress=told)

    files = counted(len(entries), "file")
    reason = f"restic restores {files}, {format_size(size)}, into {directory}; copies are compared with their manifest"
    return Local(replace(found, path=directory), deeds=(Deed("bring", found.path, reason, bring, size),))


def _from_bucket(store: Store, found: Snapshot, entries: Sequence[Entry], directory: str) -> Local:
    assert found.manifest is not None
    packs = tuple(sorted({entry.pack for entry in entries}))
    size = sum(pack.size for pack in found.manifest.packs if pack.name in packs)

    def bring(told: Told) -> None:
        with Worker(background=False) as worker:
            destinations.bring(worker, found, (store, directory), list(packs), told)

    deed = Deed(
        "bring", found.path, f"{counted(len(packs), 'pack')}, {format_size(size)}, into {directory}", bring, size
    )
    return Local(replace(found, path=directory), packs, (deed,))
