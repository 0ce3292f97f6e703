"""Plans that files whose objects an archive has lost, and that are still here, are stored anew."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence

from maintd import losses
from maintd.actions.disown import Disown
from maintd.archiving import Old, Shelf
from maintd.inventory import Entry, Manifest
from maintd.steps import Step


def plan_disowning(
    found: Sequence[Old], shelf: Shelf, manifest: Manifest, *, is_remote: bool, where: str
) -> Iterator[Step]:
    """Takes back the lines of lost objects whose files are among these as they are listed; here from `manifest` too.

    Where originals do not stay, what is gone was perhaps never made: an interrupted run had listed it.
    """
    known = {(entry.original, entry.size, entry.mtime_ns): entry for entry in manifest.entries.values()}
    pairs = (known.get((old.seen.path, old.seen.size, old.seen.mtime_ns)) for old in found)
    here = [entry for entry in pairs if entry is not None]
    lost = losses.noted(shelf.root) if is_remote else losses.in_directory(shelf.root, here)
    by_name: dict[str, list[Entry]] = defaultdict(list)
    for entry in here:
        if lost.has(entry) and (shelf.keeps or lost.found[entry.name] is not None):
            by_name[entry.name].append(entry)
    for name, entries in by_name.items():
        there = lost.found[name]
        wrong = "it is gone" if there is None else f"it has {there} bytes instead of {entries[0].stored_bytes}"
        for entry in entries:
            del manifest.entries[entry.key]
        manifest.spoilt.update([] if there is None else [name])
        yield Disown(
            target=os.path.join(where, name),
            reason=f"{wrong}; what it held is still here, and is stored anew",
            root=shelf.root,
            stored=name,
            members=tuple(entry.member for entry in entries),
            is_spoilt=there is not None,
            is_noted=is_remote,
            at=shelf.at,
        )
