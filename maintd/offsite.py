"""Snapshots in an object store, in a child: listed, stored and read back, brought, compared, taken away.

Below the prefix `SET.STAMP/` has the manifest and the checksums of a snapshot, and `packs/SET/` the packs of all
snapshots of the set, each once: a manifest names those that belong to it. It is stored last, and goes first.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from maintd import durable, manifest, names, scratch, snapshots, unpacking
from maintd.durable import Ownership
from maintd.errors import MaintdError, Refused
from maintd.manifest import Manifest
from maintd.names import printable
from maintd.objects import Bucket, sha256
from maintd.stores import Store

Progress = Callable[[int], None]
_PACKS = "packs"
_TEXTS = (manifest.CONTENTS, manifest.SUMS, manifest.NAME)
"""The small files of a snapshot in the order in which they are stored."""


def listing(_progress: Progress, *, store: dict[str, Any], only: str | None) -> dict[str, Any]:
    """What is there of a set, or of all.

    `snapshots` with name, manifest and proof, the newest of each set also with its checksums; `packs` of each set with
    their bytes; `loose`, the keys of what belongs to no snapshot: an interrupted run left it.
    """
    bucket = Bucket(Store.of(store))
    there = _There(bucket.sizes(), only)
    found = [
        {"name": name, "manifest": _text(bucket, f"{name}/{manifest.NAME}")}
        | {"proof": _optional(bucket, there, name, snapshots.PROOF)}
        | {"sums": _optional(bucket, there, name, manifest.SUMS) if name in there.newest else ""}
        for name in there.snapshots
    ]
    manifests = {one["name"]: one["manifest"] for one in found}
    return {"snapshots": found, "packs": there.packs, "loose": there.loose(manifests)}


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

    def loose(self, manifests: dict[str, str]) -> list[str]:
        """The keys of half a snapshot, and of packs that no manifest names, if all of the set can be read."""
        keys = [f"{name}/{file}" for name, files in self.files.items() if name not in manifests for file in files]
        for of, packs in self.packs.items():
            used: set[str] = set()
            try:
                for name, text in manifests.items():
                    if name.rpartition(".")[0] == of:
                        used |= {pack.name for pack in Manifest.read(_bytes(text)).packs}
            except MaintdError:
                continue
            keys += [f"{_PACKS}/{of}/{name}" for name in packs if name not in used]
        return sorted(keys)


def _text(bucket: Bucket, key: str) -> str:
    return b"".join(bucket.chunks(key)).decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _optional(bucket: Bucket, there: _There, name: str, file: str) -> str:
    return _text(bucket, f"{name}/{file}") if file in there.files[name] else ""


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
    manifests = {name: _text(bucket, f"{name}/{manifest.NAME}") for name in there.snapshots}
    wanted = set(keys) & set(there.loose(manifests))
    for key in sorted(wanted):
        bucket.remove(key)
    return len(wanted)


def expire(_progress: Progress, *, store: dict[str, Any], snapshot: str) -> None:
    """Takes a snapshot away: its manifest, by which it is one, then the rest, then packs that no other one names."""
    bucket = Bucket(Store.of(store))
    of = snapshot.rpartition(".")[0]
    there = _There(bucket.sizes(), of)
    manifests = {name: _text(bucket, f"{name}/{manifest.NAME}") for name in there.snapshots}
    if snapshot not in manifests:
        raise Refused(f"{printable(snapshot)} is not in the bucket any more")
    bucket.remove(f"{snapshot}/{manifest.NAME}")
    before = set(there.loose(manifests))
    del manifests[snapshot]
    there.files[snapshot].remove(manifest.NAME)
    for key in sorted(set(there.loose(manifests)) - before):
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
