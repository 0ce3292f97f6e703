"""Plans what becomes of the objects of an archive by the policy of the job that put them there."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, tzinfo

from maintd import dates, inventory, losses
from maintd.actions.drop import DropObject, DropStored
from maintd.actions.upload import AskStore, ReachStore, UploadManifest
from maintd.archiving import Shelf
from maintd.inventory import Entry
from maintd.retention import Generation, Verdict
from maintd.steps import Seen, Step
from maintd.stores import Store
from maintd.trust import Judge
from maintd.values import dataclass


@dataclass(frozen=True)
class Held:
    """An object of an archive with what it holds; `seen` is None if it is not there, or in an object store.

    One that `is_lost`, gone or cut off, is no generation among others.
    """

    name: str
    entries: Sequence[Entry]
    seen: Seen | None
    is_lost: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(entry.member for entry in self.entries)

    @property
    def size(self) -> int:
        return self.entries[0].stored_bytes

    def generation(self, now: datetime, zone: tzinfo) -> Generation:
        """It is as old as the youngest file in it."""
        times = (dates.time_of(entry.original, entry.mtime_ns, now, zone) for entry in self.entries)
        return Generation(self.name, max(times), self.size)


def held(shelf: Shelf, *, is_remote: bool) -> dict[str, Held]:
    """The objects that the job of the shelf has put into the archive, by name. OSError if its manifest cannot be read.

    What is listed and was never moved is none; nor is what holds a file that is still where it was, since that would be
    stored again.
    """
    by_name: dict[str, list[Entry]] = defaultdict(list)
    for entry in inventory.read(shelf.root).entries.values():
        by_name[entry.name].append(entry)
    found = {}
    lost = losses.noted(shelf.root) if is_remote else None
    for name, entries in by_name.items():
        if all(entry.job == shelf.job and not entry.is_unmoved() for entry in entries):
            seen = None if lost else _seen(os.path.join(shelf.root, name))
            is_lost = lost.has(entries[0]) if lost else seen is None or seen.size != entries[0].stored_bytes
            found[name] = Held(name, entries, seen, is_lost)
    return found


def judged(found: dict[str, Held], judge: Callable[[Iterable[Held]], list[Verdict]]) -> list[Verdict]:
    """A verdict for each object that is whole, as if there were no others; and what goes of those that are lost.

    Of these the lines go once they would have gone anyway: until then the manifest says what was lost.
    """
    whole = judge(one for one in found.values() if not one.is_lost)
    if len(whole) == len(found):
        return whole
    gone = (verdict for verdict in judge(found.values()) if not verdict.kept)
    return [*whole, *(verdict for verdict in gone if found[verdict.generation.path].is_lost)]


def _seen(path: str) -> Seen | None:
    try:
        return Seen.of(path, os.lstat(path))
    except FileNotFoundError:  # any other error is no sign that it is gone
        return None


def plan_drops(verdicts: Sequence[Verdict], found: dict[str, Held], shelf: Shelf) -> Iterator[Step]:
    """From a directory, the oldest first."""
    judge = Judge()
    for name, reason in _given_up(verdicts):
        path, one = os.path.join(shelf.root, name), found[name]
        refusal = judge.finding(one.seen) if one.seen else None
        yield refusal or DropObject(
            target=path,
            reason=reason,
            root=shelf.root,
            stored=name,
            members=one.members,
            seen=one.seen,
            size=one.size,
            at=shelf.at,
        )


def plan_drops_in(store: Store, verdicts: Sequence[Verdict], found: dict[str, Held], shelf: Shelf) -> Iterator[Step]:
    """From an object store, which gets the manifest once more."""
    given_up = list(_given_up(verdicts))
    if not given_up:
        return
    reach = ReachStore(target=store.to, reason="what is given up goes from there", store=store, directory=shelf.root)
    yield reach
    kept = tuple(verdict.generation.path for verdict in verdicts if verdict.kept)
    ask = AskStore(
        target=store.to,
        reason="what stays has to be there",
        needs=(reach,),
        store=store,
        directory=shelf.root,
        relied_on=kept,
    )
    yield ask
    for name, reason in given_up:
        yield DropStored(
            target=f"{store.to.rstrip('/')}/{name}",
            reason=reason,
            needs=(ask,),
            root=shelf.root,
            stored=name,
            members=found[name].members,
            seen=None,
            size=found[name].size,
            at=shelf.at,
            store=store,
        )
    reason = "it does not list any more what went"
    yield UploadManifest(target=store.to, reason=reason, needs=(reach,), store=store, directory=shelf.root)


def _given_up(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    gone = sorted((verdict for verdict in verdicts if not verdict.kept), key=lambda one: one.generation.time)
    return ((verdict.generation.path, verdict.reason) for verdict in gone)


def group(one: Held, of: Callable[[str], str]) -> str:
    """What an object is counted in: bundles together, others by where they lie, and by what their files were called."""
    if one.entries[0].member:
        return "bundles"
    return of(os.path.join("/", os.path.dirname(one.name), os.path.basename(one.entries[0].original)))


class Elsewhere:
    """The archives of other jobs, for a file that is an object of one of them: it goes with its lines there."""

    def __init__(self, roots: Iterable[str], at: str) -> None:
        self._roots, self._at = (
            tuple(sorted(set(roots), key=len, reverse=True)),
            at,
        )  # the innermost of nested ones first
        self._known: dict[str, dict[str, list[Entry]]] = {}

    def drop(self, seen: Seen, reason: str) -> DropObject | None:
        """The step for a file that is listed in one; None if it is in none. OSError if a manifest cannot be read."""
        for root in self._roots:
            entries = seen.path.startswith(f"{root}/") and self._entries(root).get(os.path.relpath(seen.path, root))
            if entries:
                return DropObject(
                    target=seen.path,
                    reason=reason,
                    root=root,
                    stored=entries[0].name,
                    members=tuple(entry.member for entry in entries),
                    seen=seen,
                    size=seen.size,
                    at=self._at,
                )
        return None

    def _entries(self, root: str) -> dict[str, list[Entry]]:
        if root not in self._known:
            self._known[root] = defaultdict(list)
            for entry in inventory.read(root).entries.values():
                self._known[root][entry.name].append(entry)
        return self._known[root]
