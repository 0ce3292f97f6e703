"""Plans what a guard may give up because it lies in an archive as well: files that are kept where they were."""

import os
import stat as st
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from maintd import grounds, inventory, retiring, trust
from maintd.actions.expire import GiveUpStored
from maintd.actions.upload import AskStore, ConfirmStored
from maintd.archiving import Old, Shelf
from maintd.names import printable
from maintd.room import Relief
from maintd.steps import Action, Finding, Step
from maintd.stores import Store
from maintd.values import dataclass

_OTHERS = st.S_IWGRP | st.S_IWOTH


@dataclass(frozen=True)
class Doubles:
    """The files that an archive has as they are here, on its `shelf` in its `store`; `elsewhere` are other archives."""

    store: Store
    shelf: Shelf
    elsewhere: retiring.Elsewhere

    def plan(self, found: Sequence[Old], wanted: Relief) -> Iterator[Step]:
        """Gives up those of the files, the oldest first. OSError if a manifest cannot be read."""
        if found and self.store.is_remote and wanted.silent.has(self.shelf.root):
            yield Finding(target=self.store.to, reason="it did not answer a guard just now: nothing goes for its sake")
            return
        judge = trust.Judge()
        ask = AskStore(
            target=self.store.to,
            reason="what is given up has to be there",
            store=self.store,
            directory=self.shelf.root,
            silent=wanted.silent,
        )
        pairs = list(self._stored(found))
        yield from [ask] if pairs and self.store.is_remote else []
        author = None if self.store.is_remote else _author(self.shelf.root)
        for old, entry in pairs:
            reason = f"{wanted.reason}; stored as {os.path.join(self.store.to, entry.name)}"
            refusal = judge.finding(old.seen)
            if refusal:
                yield refusal
            elif not self.store.is_remote and author not in (0, os.geteuid(), old.seen.uid):
                why = f"others can write the manifest in {printable(self.shelf.root)}, so it is not believed"
                yield Finding(target=old.seen.path, reason=f"not given up, though stored: {why}")
            else:
                yield from self._step(old, entry, reason, ask)

    def _step(self, old: Old, entry: inventory.Entry, reason: str, ask: AskStore) -> Iterator[Step]:
        step: Action = self.elsewhere.drop(old.seen, reason) or GiveUpStored(
            target=old.seen.path, reason=reason, seen=old.seen
        )
        if self.store.is_remote:
            confirm = ConfirmStored(
                target=os.path.join(self.store.to, entry.name),
                reason="what is given up for room has to be there",
                needs=(ask,),
                store=self.store,
                directory=self.shelf.root,
                stored=entry.name,
                size=entry.stored_bytes,
                silent=ask.silent,
            )
            yield confirm
            step = replace(step, needs=(*step.needs, confirm))
        yield step

    def _stored(self, found: Sequence[Old]) -> Iterator[tuple[Old, inventory.Entry]]:
        """Of a directory it is looked whether the object is there, of an object store its manifest counts."""
        if not found:  # a manifest of years takes a second to read
            return
        known = inventory.read(self.shelf.root, of={old.seen.path for old in found})
        by_original = {entry.original: entry for entry in known.entries.values()}
        for old in sorted(found, key=lambda old: (old.seen.mtime_ns, old.seen.path)):
            entry = by_original.get(old.seen.path)
            if entry and entry.is_as(old.seen):
                with suppress(OSError):
                    stored = os.path.join(self.shelf.root, entry.name)
                    if self.store.is_remote or os.lstat(stored).st_size == entry.stored_bytes:
                        yield old, entry


def _author(root: str) -> int | None:
    """Which user besides root could have written what an archive's manifest says: 0 if none, None if several could."""
    try:
        ground, manifest = grounds.survey(root), os.lstat(os.path.join(root, inventory.NAME))
    except OSError:
        return None
    users = {ground.uid, manifest.st_uid} - {0}
    is_open = bool(manifest.st_mode & _OTHERS) or ground.meddler not in ("", *map(grounds.user_name, users))
    return None if is_open or len(users) > 1 else next(iter(users), 0)
