"""A snapshot to restore from where its files can be read: in its directory, or brought from a bucket for the moment."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from maintd import destinations, durable
from maintd.child import Worker
from maintd.manifest import Entry
from maintd.restoring import Deed, Told
from maintd.snapshots import Snapshot
from maintd.stores import Store
from maintd.units import counted, format_size


@dataclass(frozen=True, slots=True)
class Local:
    """The snapshot, with the path that it has here; `packs` are those that it has here, None is all of them.

    `deeds` bring it here.
    """

    snapshot: Snapshot
    packs: tuple[str, ...] | None = None
    deeds: tuple[Deed, ...] = ()


@contextmanager
def at_hand(store: Store, found: Snapshot, entries: Sequence[Entry], directory: str) -> Iterator[Local]:
    """For these entries; what is brought goes into `directory`, which is removed in the end."""
    if not store.is_remote:
        yield Local(found)
        return
    assert found.manifest is not None
    packs = tuple(sorted({entry.pack for entry in entries}))
    size = sum(pack.size for pack in found.manifest.packs if pack.name in packs)

    def bring(told: Told) -> None:
        with Worker(background=False) as worker:
            destinations.bring(worker, found, (store, directory), list(packs), told)

    deed = Deed(
        "bring", found.path, f"{counted(len(packs), 'pack')}, {format_size(size)}, into {directory}", bring, size
    )
    try:
        yield Local(replace(found, path=directory), packs, (deed,))
    finally:
        parent, name = os.path.split(directory)
        if os.path.isdir(parent):
            with durable.directory(parent) as dir_fd:
                durable.discard_tree(name, dir_fd=dir_fd)
