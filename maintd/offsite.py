"""Snapshots in an object store, in a child: listed, stored and read back, brought, compared, taken away.

Below the prefix `SET.STAMP/` has the manifest and the checksums of a snapshot, and `packs/SET/` the packs of all
snapshots of the set, each once: a manifest names those that belong to it. It is stored last, and goes first.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from maintd import durable, manifest, names, scratch, snapshots, unpacking
from maintd.durable import Ownership
from maintd.errors import MaintdError, Refused
from maintd.manifest import Manifest
from maintd.names import printable
from maintd.objects import Bucket, sha256
from maintd.snapshots import Held, Snapshot
from maintd.stores import Store

Progress = Callable[[int], None]
_PACKS = "packs"
_TEXTS = (manifest.CONTENTS, manifest.SUMS, manifest.NAME)
"""The small files of a snapshot in the order in which they are stored."""


def listing(_progress: Progress, *, store: dict[str, Any], only: str | None) -> dict[str, Any]:
    """What is there of a set, or of all.

    `snapshots` as their fields, of each set the newest compared with its checksums; `loose`, the keys of what belongs
    to no snapshot: an interrupted run left it.
    """
    where = Store.of(store)
    bucket = Bucket(where)
    there = _There(bucket.sizes(), only)
    read = [_described(where, bucket, there, name) for name in there.snapshots]
    uses = Counter((one.name.log, pack) for one in read for pack in one.inodes)
    found = snapshots.in_order(_sharing(one, there, uses) for one in read)
    named = {os.path.basename(one.path): frozenset(one.inodes) if one.manifest else None for one in read}
    return {"snapshots": [one.fields() for one in found], "loose": there.loose(named)}


def described(_progress: Progress, *, store: dict[str, Any], snapshot: str) -> str:
    """The manifest of one."""
    return _content(Bucket(Store.of(store)), snapshot, manifest.NAME).decode("utf-8", "surrogateescape")


def manifest_of(store: Store, path: str) -> Manifest:
    """The same, read, of the snapshot at that path."""
    return Manifest.read(_content(Bucket(store), os.path.basename(path), manifest.NAME))


def fetch_manifest(_progress: Progress, *, store: dict[str, Any], snapshot: str, directory: str) -> None:
    """Puts the manifest of one into a private directory."""
    written = _content(Bucket(Store.of(store)), snapshot, manifest.NAME)
    with durable.directory(directory) as dir_fd:
        _write(manifest.NAME, [written], 0, lambda _: None, dir_fd=dir_fd)


def _described(store: Store, bucket: Bucket, there: "_There", name: str) -> Snapshot:
    at = names.parse_archive(name)
    assert at is not None
    read = {
        file: _content(bucket, name, file) for file in (manifest.NAME, snapshots.PROOF) if file in there.files[name]
    }

    def held(known: Manifest | None) -> dict[str, Held]:
        packs = known.packs if known else ()
        return {pack.name: Held(_number(f"{at.log}/{pack.name}"), 0) for pack in packs}

    one = snapshots.described(Snapshot(f"{store.to.rstrip('/')}/{name}", at, (0, 0)), held, read.__getitem__)
    if one.manifest is None or one.damage:
        return one
    sizes = there.packs.get(at.log, {})
    if lacking := [pack.name for pack in one.manifest.packs if sizes.get(pack.name) != pack.size]:
        damage = f"{lacking[0]} is not in the bucket, or not as large as it was"
        return replace(one, damage=damage, is_unnoted=True, proven=None)
    sums = _content(bucket, name, manifest.SUMS) if manifest.SUMS in there.files[name] and name in there.newest else b""
    unlike = snapshots.unlike(read[manifest.NAME], sums) if sums else ""
    return replace(one, damage=unlike, is_unnoted=True, proven=None) if unlike else one


def _sharing(one: Snapshot, there: "_There", uses: Mapping[tuple[str, str], int]) -> Snapshot:
    sizes = there.packs.get(one.name.log, {})
    return replace(one, stored=sum(sizes.get(pack, 0) // uses[one.name.log, pack] for pack in one.inodes))


def _number(pack: str) -> tuple[int, int]:
    """What tells packs apart where there are no inodes."""
    return 0, int(hashlib.sha256(pack.encode()).hexdigest()[:15], 16)


class _There:
    """The objects below a prefix, by what they belong to."""

    def __init__(self, sizes: dict[str, int], only: str | None) -> None:
        self.packs: dict[str, dict[str, int]] = {}
        self.files: dict[str, list[str]] = {}
        for key, size in sizes.items():
            folder, _, name = key.rpartition("/")
            if folder.startswith(f"{_PACKS}/"):
                of = folder.removeprefix(f"{_PACKS}/")
                if only in (None, of):
                    self.packs.setdefault(of, {})[name] = size
            elif (at := names.parse_archive(folder)) and not at.suffix and only in (None, at.log):
                self.files.setdefault(folder, []).append(name)
        self.snapshots = sorted(name for name, files in self.files.items() if manifest.NAME in files)

    @property
    def newest(self) -> set[str]:
        """The last snapshot of each set, which the next one may have packs of."""
        read = [at for at in map(names.parse_archive, self.snapshots) if at]
        return {str(at) for at in {at.log: at for at in sorted(read, key=lambda at: (at.log, at))}.values()}

    def named(self, bucket: Bucket) -> dict[str, frozenset[str] | None]:
        """The packs that each snapshot names; None if its manifest cannot be read."""
        return {name: _packs(_content(bucket, name, manifest.NAME)) for name in self.snapshots}

    def loose(self, named: Mapping[str, frozenset[str] | None]) -> list[str]:
        """The keys of half a snapshot, and of packs that no manifest names, if all of the set can be read."""
        keys = [f"{name}/{file}" for name, files in self.files.items() if name not in named for file in files]
        for of, packs in self.packs.items():
            used = [each for name, each in named.items() if name.rpartition(".")[0] == of]
            if None not in used:
                keys += [f"{_PACKS}/{of}/{name}" for name in packs if not any(name in each for each in used if each)]
        return sorted(keys)


def _packs(written: bytes) -> frozenset[str] | None:
    try:
        return frozenset(pack.name for pack in Manifest.read(written).packs)
    except MaintdError:
        return None


def _content(bucket: Bucket, name: str, file: str) -> bytes:
    return b"".join(bucket.chunks(f"{name}/{file}"))


def upload(progress: Progress, *, store: dict[str, Any], snapshot: str, staging: str) -> None:
    """Stores what lies in `staging`: its packs, each read back, then its small files, of which the manifest is last."""
    bucket, count = Bucket(Store.of(store)), 0
    of = snapshot.rpartition(".")[0]
    with durable.directory(staging) as dir_fd:
        there = os.listdir(dir_fd)
        whole = Manifest.read(snapshots.contents(dir_fd, manifest.NAME))
        for pack in whole.packs:
            if pack.name in there:
                key = f"{_PACKS}/{of}/{pack.name}"
                _put(bucket, key, pack.name, (pack.size, pack.sha256), dir_fd=dir_fd)
                count += pack.size
                progress(count)
        for name in _TEXTS:
            data = snapshots.contents(dir_fd, name)
            _put(bucket, f"{snapshot}/{name}", name, sha256([data]), dir_fd=dir_fd)


def _put(bucket: Bucket, key: str, name: str, promised: tuple[int, str], *, dir_fd: int) -> None:
    with durable.opened(name, dir_fd=dir_fd) as descriptor:
        bucket.put(key, descriptor)
    if sha256(bucket.chunks(key)) != promised:
        bucket.remove(key)
        raise MaintdError(
            f"the object store gave back something else than was stored as {printable(key)}",
            hint="look at the store; the snapshots that are there are as they were, and this is tried again",
        )


def clear(_progress: Progress, *, store: dict[str, Any], only: str, keys: Sequence[str]) -> int:
    """Removes what an interrupted run left, of these keys those that still belong to nothing; returns how many."""
    bucket = Bucket(Store.of(store))
    there = _There(bucket.sizes(), only)
    wanted = set(keys) & set(there.loose(there.named(bucket)))
    for key in sorted(wanted):
        bucket.remove(key)
    return len(wanted)


def expire(_progress: Progress, *, store: dict[str, Any], snapshot: str) -> None:
    """Takes a snapshot away: its manifest, by which it is one, then the rest, then packs that no other one names."""
    bucket = Bucket(Store.of(store))
    of = snapshot.rpartition(".")[0]
    there = _There(bucket.sizes(), of)
    named = there.named(bucket)
    if snapshot not in named:
        raise Refused(f"{printable(snapshot)} is not in the bucket any more")
    bucket.remove(f"{snapshot}/{manifest.NAME}")
    before = set(there.loose(named))
    del named[snapshot]
    there.files[snapshot].remove(manifest.NAME)
    for key in sorted(set(there.loose(named)) - before):
        bucket.remove(key)


def bring(
    progress: Progress, *, store: dict[str, Any], snapshot: str, packs: Sequence[str] | None, directory: str
) -> int:
    """Fetches a snapshot's small files and packs, all or these, into a new private directory; returns their bytes."""
    bucket, count = Bucket(Store.of(store)), 0
    scratch.make_anew(directory)
    read = _reader(bucket, snapshot)
    with durable.directory(directory) as dir_fd:
        for text in reversed(_TEXTS):
            _write(text, read(text), 0, lambda _: None, dir_fd=dir_fd)
        whole = Manifest.read(snapshots.contents(dir_fd, manifest.NAME))
        for pack in whole.packs:
            if packs is None or pack.name in packs:
                count = _write(pack.name, read(pack.name), count, progress, dir_fd=dir_fd)
    return count


def _write(name: str, chunks: Iterable[bytes], count: int, progress: Progress, *, dir_fd: int) -> int:
    descriptor = durable.create(name, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
    try:
        for chunk in chunks:
            durable.write_all(descriptor, chunk)
            count += len(chunk)
            progress(count)
    finally:
        os.close(descriptor)
    return count


def _reader(bucket: Bucket, snapshot: str) -> unpacking.Read:
    of = snapshot.rpartition(".")[0]

    def read(name: str) -> Iterator[bytes]:
        yield from bucket.chunks(f"{snapshot}/{name}" if ".tar." not in name else f"{_PACKS}/{of}/{name}")

    return read


def verify(progress: Progress, *, store: dict[str, Any], snapshot: str, packs: Sequence[str] | None) -> int:
    """As unpacking.verify, of a snapshot in the bucket."""
    return unpacking.compare(_reader(Bucket(Store.of(store)), snapshot), packs, progress)


def damaged_packs(_progress: Progress, *, store: dict[str, Any], snapshot: str) -> Sequence[str]:
    """As unpacking.damaged_packs, of a snapshot in the bucket."""
    return unpacking.differing(_reader(Bucket(Store.of(store)), snapshot))


def note(_progress: Progress, *, store: dict[str, Any], snapshot: str, proof: str) -> None:
    """Keeps beside a snapshot how a drill of it went."""
    Bucket(Store.of(store)).put_bytes(f"{snapshot}/{snapshots.PROOF}", proof.encode())
