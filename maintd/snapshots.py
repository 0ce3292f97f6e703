"""The snapshots of a destination, as it shows them: names carry the state, `SET.YYYYMMDDTHHMMSSZ[-N]`."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Any, Self

from maintd import manifest, names
from maintd.errors import MaintdError
from maintd.linux import open_beneath
from maintd.manifest import Manifest
from maintd.names import ArchiveName
from maintd.retention import Generation, Policy, Verdict, decide
from maintd.units import counted
from maintd.values import dataclass

PROOF = "proof.json"
_MARK = "damaged"
"""How names in a snapshot begin that say, without taking room, that it is damaged: the rest is the pack that is."""


@dataclass(frozen=True)
class Snapshot:
    """One snapshot. Without a `manifest` it cannot be read, and `trouble` says why, `hint` what helps if that is known.

    That of a listing is lean, but for the count and the bytes of its `files`: destinations.whole reads all of it.
    `stored` are the bytes that its packs take, each shared among the snapshots that have it; `inodes` tell packs apart,
    where `path` is in a bucket by a number made of their name. `proven` is when a restore of it was last tried, and
    `damage` what that, or a later one, found; it `is_unnoted` if it was seen just now, without reading packs.
    """

    path: str
    name: ArchiveName
    inode: tuple[int, int]
    manifest: Manifest | None = None
    trouble: str = ""
    stored: int = 0
    inodes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    proven: datetime | None = None
    damage: str = ""
    damaged: frozenset[tuple[int, int]] = frozenset()
    is_unnoted: bool = False
    hint: str = ""
    files: int = 0
    size: int = 0

    @property
    def packs(self) -> frozenset[tuple[int, int]]:
        """The inodes of its packs."""
        return frozenset(self.inodes.values())

    @property
    def is_verified(self) -> bool:
        """Whether it holds all that it should, was read back when it was made, and no damage was found since."""
        return self.manifest is not None and not self.manifest.missing and not self.damage

    @property
    def taken(self) -> datetime:
        """When, as its manifest says. The stamp is later if the clock had been ahead once: names keep their order."""
        with contextlib.suppress(ValueError, TypeError):
            at = datetime.fromisoformat(self.manifest.taken if self.manifest else "")
            return at.astimezone(UTC) if at.tzinfo else self.name.stamp
        return self.name.stamp

    @property
    def flaw(self) -> str:
        """Why it does not count as verified, in words; "" if it does."""
        if self.manifest is None:
            return self.trouble
        missing = self.manifest.missing
        return self.damage or (f"it lacks {counted(len(missing), 'source')}: {missing[0]}" if missing else "")

    @property
    def label(self) -> str:
        """How people name it: SET@STAMP."""
        return _label(self.name)

    def fields(self) -> dict[str, Any]:
        """What crosses a pipe, of one with a lean manifest."""
        known = self.manifest.written().decode() if self.manifest else None
        proven = self.proven.isoformat() if self.proven else None
        return vars(self) | {"name": None, "manifest": known, "proven": proven, "damaged": [*self.damaged]}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """What `fields` gave, after it went through JSON."""
        name = names.parse_archive(os.path.basename(fields["path"]))
        assert name is not None
        made = {
            "name": name,
            "inode": tuple(fields["inode"]),
            "manifest": Manifest.read(fields["manifest"].encode()) if fields["manifest"] else None,
            "inodes": {pack: tuple(inode) for pack, inode in fields["inodes"].items()},
            "proven": datetime.fromisoformat(fields["proven"]) if fields["proven"] else None,
            "damaged": frozenset(tuple(inode) for inode in fields["damaged"]),
        }
        return cls(**{**fields, **made})


def label_of(path: str) -> str:
    """How people name the snapshot at a path of ours."""
    name = names.parse_archive(os.path.basename(path))
    return _label(name) if name else path


def _label(name: ArchiveName) -> str:
    stamp = str(name).removeprefix(f"{name.log}.")
    return f"{name.log}@{stamp}"


def found(destination: str, only: str | None = None) -> list[Snapshot]:
    """The snapshots in a destination, of one set or of all, by set and then oldest first. OSError if it is unreadable.

    What shares a damaged pack with another is damaged too. A destination that is not there has none.
    """
    try:
        dir_fd = open_beneath(destination, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return []
    try:
        parsed = [(name, names.parse_archive(name)) for name in sorted(os.listdir(dir_fd))]
        wanted = [(name, at) for name, at in parsed if at and not at.suffix and only in (None, at.log)]
        read = [_read(dir_fd, destination, name, at) for name, at in wanted]
    finally:
        os.close(dir_fd)
    return in_order(filter(None, read))


def listing(_progress: object, *, destination: str, only: str | None) -> list[dict[str, Any]]:
    """The same in a child: a manifest takes up to 6 KB of memory for each of its files while it is read."""
    return [one.fields() for one in found(destination, only)]


def leftovers(destination: str, only: str) -> list[tuple[str, tuple[int, int]]]:
    """What interrupted runs left of a set, as (name, inode): snapshots that were being made, or taken away."""
    try:
        dir_fd = open_beneath(destination, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return []
    try:
        out = []
        for name in sorted(os.listdir(dir_fd)):
            at = names.parse_archive(name.removesuffix(names.TEMPORARY)) if name.endswith(names.TEMPORARY) else None
            if at and at.log == only:
                info = os.lstat(name, dir_fd=dir_fd)
                out.append((name, (info.st_dev, info.st_ino)))
        return out
    finally:
        os.close(dir_fd)


def judged(snapshots: Sequence[Snapshot], policy: Policy, now: datetime, coming: str | None = None) -> list[Verdict]:
    """What the retention says of a set's snapshots, oldest first; `coming` is one that is about to be made.

    Of those that are verified one always stays: the newest of them, whatever the policy says. One that is damaged is
    none of so many that stay; and while there is one, the last of which a restore was proven stays too.
    """
    generations = [Generation(one.path, one.taken, one.stored, order=n) for n, one in enumerate(snapshots)]
    generations += [Generation(coming, now, 0, order=len(snapshots))] if coming else []
    verdicts = decide({"": generations}, policy, now)
    damaged = {one.path for one in snapshots if one.damage}
    if damaged and policy.max_total is None:
        sound = decide({"": [each for each in generations if each.path not in damaged]}, policy, now)
        verdicts = [verdict for verdict in verdicts if verdict.generation.path in damaged] + sound
    verified = sorted((one for one in snapshots if one.is_verified), key=lambda one: one.name)
    proven = [one for one in verified if one.proven] if damaged else []
    spared = {one.path: "the last that was proven stays while others are damaged" for one in proven[-1:]}
    spared |= {one.path: "the last verified snapshot is never deleted" for one in verified[-1:]}
    return [
        Verdict(verdict.generation, kept=True, reason=spared[verdict.generation.path], protected=True)
        if verdict.generation.path in spared and not verdict.kept
        else verdict
        for verdict in verdicts
    ]


def standing(snapshots: Sequence[Snapshot]) -> str:
    """How many of a set's snapshots there are, and when a restore was last proven, in words."""
    last = max((one.proven for one in snapshots if one.proven), default=None)
    proven = f"restore last proven {last:%Y-%m-%d %H:%M} UTC" if last else "no restore proven yet"
    bad = sum(not one.is_verified for one in snapshots)
    return f"{counted(len(snapshots), 'snapshot')}{f', {bad} of them not sound' if bad else ''}, {proven}"


def proof(at: datetime, damage: str = "", packs: Sequence[str] = ()) -> bytes:
    """What is written into a snapshot after a restore of it was tried."""
    return json.dumps({"at": at.isoformat(), "damage": damage, "packs": list(packs)}).encode() + b"\n"


def marks(packs: Sequence[str]) -> list[str]:
    """The names that say in a snapshot that these packs are damaged, or what lies in none."""
    return [f"{_MARK}.{pack}" for pack in packs] or [_MARK]


def _read(dir_fd: int, destination: str, name: str, at: ArchiveName) -> Snapshot | None:
    try:
        inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
    except OSError:
        return None
    try:
        info = os.fstat(inside)
        base = Snapshot(os.path.join(destination, name), at, (info.st_dev, info.st_ino))
        return _filled(base, inside)
    finally:
        os.close(inside)


def _filled(base: Snapshot, inside: int) -> Snapshot:
    infos = {name: os.lstat(name, dir_fd=inside) for name in os.listdir(inside)}
    marked = [name for name in infos if name == _MARK or name.startswith(f"{_MARK}.")]
    packs = {
        name: Held(_inode(info), info.st_size // info.st_nlink)
        for name, info in infos.items()
        if ".tar." in name and name not in marked
    }
    found = described(base, lambda _: packs, lambda name: contents(inside, name))
    if found.manifest is None or found.damage:
        return found
    if marked:
        bad = [name for name in packs if f"{_MARK}.{name}" in marked]
        return _damaged(found, f"{bad[0] if bad else 'it'} is damaged, and there was no room to note it", bad)
    return _seen_through(found, {name: info.st_size for name, info in infos.items()}, inside)


def _seen_through(one: Snapshot, sizes: Mapping[str, int], inside: int) -> Snapshot:
    """The same, with the damage that sizes and small files show."""
    assert one.manifest is not None
    bad = [pack.name for pack in one.manifest.packs if sizes.get(pack.name) != pack.size]
    why = f"{names.printable(bad[0])} is missing, or not as large as it was" if bad else ""
    try:
        why = why or unlike(contents(inside, manifest.NAME), contents(inside, manifest.SUMS))
    except OSError as error:
        why = f"{manifest.SUMS} cannot be read: {error.strerror}"
    return _damaged(one, why, bad) if why else one


def _damaged(one: Snapshot, why: str, bad: Sequence[str]) -> Snapshot:
    """The same, of which damage was seen that its proof does not note, with the names of the packs."""
    packs = frozenset(one.inodes[name] for name in bad if name in one.inodes)
    return replace(one, damage=why, damaged=packs, is_unnoted=True, proven=None)


def unlike(written: bytes, sums: bytes) -> str:
    """What is wrong if a manifest is not what the checksums say; "" if it is."""
    is_same = manifest.read_sums(sums).get(manifest.NAME) == hashlib.sha256(written).hexdigest()
    return "" if is_same else f"{manifest.NAME} is not what it was: its SHA-256 is another than {manifest.SUMS} says"


def whole(path: str) -> Manifest:
    """All of the manifest in a directory. Raises OSError, MaintdError."""
    dir_fd = open_beneath(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return Manifest.read(contents(dir_fd, manifest.NAME))
    finally:
        os.close(dir_fd)


def base_of(snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """The newest of a set that the next may have packs of.

    None after damage that lies in no pack: an older manifest may have it as well, and would hand it on.
    """
    for one in reversed(snapshots):
        if one.manifest and not one.damage:
            return one
        if one.damage and not one.damaged:
            return None
    return None


@dataclass(frozen=True)
class Held:
    """A pack of a snapshot: what tells it apart from others, and this snapshot's share of the bytes that it takes."""

    inode: tuple[int, int]
    share: int


Holds = Callable[[Manifest | None], Mapping[str, Held]]
"""The packs of a snapshot by name, by its manifest, if that can be read."""


def described(base: Snapshot, holds: Holds, read: Callable[[str], bytes]) -> Snapshot:
    """The snapshot, with what its manifest (lean) and its proof say; both are `read` by name, OSError if not there."""
    known: Manifest | None = None
    trouble, hint = "", ""
    try:
        known = Manifest.read(read(manifest.NAME))
    except (MaintdError, OSError) as error:
        trouble, hint = str(error), error.hint if isinstance(error, MaintdError) else ""
    proof, packs = _proof(read), holds(known)
    return Snapshot(
        base.path,
        base.name,
        base.inode,
        known.lean() if known else None,
        trouble,
        sum(pack.share for pack in packs.values()),
        {name: pack.inode for name, pack in packs.items()},
        proof.at if proof and not proof.damage else None,
        proof.damage if proof else "",
        frozenset(packs[name].inode for name in (proof.packs if proof else ()) if name in packs),
        hint=hint,
        files=len(known.entries) if known else 0,
        size=known.size if known else 0,
    )


def _inode(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


@dataclass(frozen=True)
class _Proof:
    """How a restore of a snapshot went: when it was tried, what damage was found, and in which packs."""

    at: datetime
    damage: str
    packs: tuple[str, ...]


def _proof(read: Callable[[str], bytes]) -> _Proof | None:
    """What the last drill has noted, None if it cannot be understood: that makes no snapshot unusable."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(read(PROOF))
        known = _Proof(datetime.fromisoformat(found["at"]), found["damage"], tuple(found["packs"]))
        if known.at.tzinfo and all(isinstance(text, str) for text in (known.damage, *known.packs)):
            return known
    return None


def in_order(found: Iterable[Snapshot]) -> list[Snapshot]:
    """By set and then oldest first; what shares a damaged pack with another is damaged too."""
    snapshots = sorted(found, key=lambda one: (one.name.log, one.name))
    bad = {pack: one.name for one in snapshots for pack in one.damaged}
    return [_sharing(one, bad) if bad and not one.damage else one for one in snapshots]


def _sharing(one: Snapshot, bad: Mapping[tuple[int, int], ArchiveName]) -> Snapshot:
    shared = [bad[pack] for pack in one.packs if pack in bad]
    return replace(one, damage=f"it shares a damaged pack with {shared[0]}", proven=None) if shared else one


def contents(dir_fd: int, name: str) -> bytes:
    """All of a small regular file; no link is followed."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()
