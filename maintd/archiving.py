"""Plans how files are put away into a local archive: under which names, what is made for it, what was begun before."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from itertools import count

from maintd import dates, grounds, inventory, names, patterns, remote
from maintd.actions.archive import ArchiveFile, MakeArchiveDirectory
from maintd.actions.delete import Clean
from maintd.actions.upload import ReachStore, StoreObject, UploadManifest
from maintd.steps import Action, Finding, Seen, Step
from maintd.stores import Store
from maintd.trust import FileRefused, Judge
from maintd.values import dataclass


@dataclass(frozen=True)
class Old:
    """A file that is old enough, what its path is below `base`, and why it is put away."""

    seen: Seen
    below: str
    reason: str


@dataclass(frozen=True)
class Shelf:
    """Where files go and how: the archive `root` (resolved), the codec and its level, for which job, and when.

    With `keeps` they also stay where they are. `private` is maintd's own directory for it.
    """

    root: str
    codec: str
    level: int | None
    job: str
    now: datetime
    keeps: bool = False
    private: str = ""

    @property
    def at(self) -> str:
        """When, as manifests have it."""
        return self.now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def plan_archive(found: Sequence[Old], shelf: Shelf, manifest: inventory.Manifest) -> Iterator[Step]:
    """Removes what interrupted runs left in the archive, makes what is missing of it, and puts the files away."""
    if not found:
        return
    naming = Naming(shelf, manifest)
    judge = Judge()
    kept: list[tuple[Old, str, str]] = []
    for old in naming.unstored(found):
        stored, codec = naming.name(old)
        refusal = judge.refusal(old.seen, os.path.dirname(os.path.join(shelf.root, stored)), shelf.root)
        if refusal:
            event = FileRefused(target=old.seen.path, reason=refusal.reason, advice=refusal.advice)
            reason = f"left alone: {refusal.reason}; {refusal.advice}"
            yield Finding(target=old.seen.path, reason=reason, event=event)
        else:
            kept.append((old, stored, codec))
    directories = {shelf.root, *(os.path.dirname(os.path.join(shelf.root, stored)) for _, stored, _ in kept)}
    yield from leftovers(directories, {names.temporary(os.path.basename(stored)) for _, stored, _ in kept})
    makes = to_make(directories)
    yield from makes.values()
    for old, stored, codec in kept:
        needs = [
            makes[path] for path in (shelf.root, os.path.dirname(os.path.join(shelf.root, stored))) if path in makes
        ]
        yield ArchiveFile(
            target=old.seen.path,
            reason=naming.reason(old),
            needs=tuple(needs),
            seen=old.seen,
            root=shelf.root,
            private=shelf.private,
            stored=stored,
            codec=codec,
            level=shelf.level,
            at=shelf.at,
            job=shelf.job,
            keeps=shelf.keeps,
            listed=naming.listed(old),
        )


@dataclass
class Naming:
    """Gives files their names in an archive, none twice, and never one that is taken by another file.

    What an interrupted run has begun goes on under the name that it had.
    """

    shelf: Shelf
    manifest: inventory.Manifest
    _known: dict[str, inventory.Entry] = field(default_factory=dict)
    _given: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        names_given = {entry.name for entry in self.manifest.entries.values()}
        if self.shelf.keeps:
            self._known = {entry.original: entry for entry in self.manifest.entries.values()}
        self._taken = names_given | self.manifest.spoilt | {inventory.NAME}

    def unstored(self, found: Sequence[Old]) -> list[Old]:
        """The files that are to be stored: where originals stay, those that are not stored yet as they are."""
        known = self._known
        return [old for old in found if old.seen.path not in known or not known[old.seen.path].is_as(old.seen)]

    def listed(self, old: Old) -> inventory.Entry | None:
        """The line of a file that was touched since it was stored, and may have the same content."""
        entry = self._known.get(old.seen.path)
        return entry if entry and entry.is_of(old.seen.path, old.seen.size, old.seen.mtime_ns) else None

    def reason(self, old: Old) -> str:
        return f"{old.reason}; touched since it was stored" if self.listed(old) else old.reason

    def name(self, old: Old) -> tuple[str, str]:
        """The name of the object and its codec: what is compressed already, or has too long a name, stays as it is."""
        codec = "none" if old.below.endswith(dates.PACKED) else self.shelf.codec
        for number in count():
            plain = names.numbered(old.below, number) if number else old.below
            if not names.fits(os.path.basename(plain) + names.CODEC_SUFFIXES[codec]):
                codec = "none"
            name = plain + names.CODEC_SUFFIXES[codec]
            if self._is_free(name, old.seen):
                self._given.add(name)
                return name, codec
        raise AssertionError

    def _is_free(self, name: str, seen: Seen) -> bool:
        if name in self._given or name == inventory.NAME:
            return False
        entry = self.manifest.entries.get((name, ""))
        is_same = entry and entry.ino and entry.is_of(seen.path, seen.size, seen.mtime_ns)
        is_begun = is_same and not self.shelf.keeps
        if name in self._taken and not is_begun:
            return False
        try:
            info = os.lstat(os.path.join(self.shelf.root, name))
        except OSError:
            return True
        return info.st_mtime_ns == seen.mtime_ns  # an interrupted run's copy: its content is compared, whatever it is


def plan_upload(found: Sequence[Old], shelf: Shelf, manifest: inventory.Manifest, store: Store) -> Iterator[Step]:
    """The same for an object store; `root` of the shelf is the private directory for it."""
    is_uploaded = remote.is_uploaded(shelf.root)
    naming, judge = Naming(shelf, manifest), Judge()
    missing = naming.unstored(found)
    if not missing and is_uploaded:
        return
    yield from leftovers({shelf.root}, set())
    reach = ReachStore(target=store.to, reason="what follows goes there", store=store, directory=shelf.root)
    yield reach
    for old in missing:
        finding = judge.finding(old.seen)
        if finding:
            yield finding
            continue
        stored, codec = naming.name(replace(old, below=names.printable(old.below)))  # a key is UTF-8
        yield StoreObject(
            target=old.seen.path,
            reason=naming.reason(old),
            needs=(reach,),
            store=store,
            directory=shelf.root,
            seen=old.seen,
            stored=stored,
            codec=codec,
            level=shelf.level,
            at=shelf.at,
            job=shelf.job,
            keeps=shelf.keeps,
            listed=naming.listed(old),
        )
    reason = "it lists what was stored" if is_uploaded else "the store has an older one"
    yield UploadManifest(target=store.to, reason=reason, needs=(reach,), store=store, directory=shelf.root)


def leftovers(directories: Iterable[str], wanted: set[str]) -> Iterator[Step]:
    """Temporaries of copies into the archive, whose originals are where they were; those that this plan makes apart."""
    for directory in sorted(directories):
        for match in patterns.temporaries(directory):
            name = os.path.basename(match.path)
            if name not in wanted and names.parse_archive(name.removesuffix(names.TEMPORARY)) is None:
                reason = "an interrupted run left it"
                yield Clean(target=match.path, reason=reason, seen=Seen.of(match.path, match.stat))


def to_make(directories: Iterable[str]) -> dict[str, MakeArchiveDirectory]:
    """What is missing of the directories, by path, each level before those below it; owner and mode as above it."""
    makes: dict[str, MakeArchiveDirectory] = {}
    for directory in sorted(directories):
        missing = []
        while not os.path.isdir(directory) and directory not in makes:
            missing.append(directory)
            directory = os.path.dirname(directory)  # noqa: PLW2901 - up to what is there
        for path in reversed(missing):
            above = makes.get(os.path.dirname(path))
            needs: tuple[Action, ...] = (above,) if above else ()
            parent = None if above else grounds.identity(os.path.dirname(path))
            makes[path] = MakeArchiveDirectory(
                target=path, reason="the archive lies in it, and it does not exist yet", needs=needs, parent=parent
            )
    return makes
