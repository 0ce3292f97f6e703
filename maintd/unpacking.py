"""Reads snapshots in a child: whether they are what they were, and their files out of the packs, each compared."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from maintd import codec, durable, manifest, sealing
from maintd.durable import Ownership
from maintd.errors import Damaged, MaintdError
from maintd.manifest import Entry, Manifest
from maintd.names import printable
from maintd.snapshots import contents
from maintd.stores import TOP
from maintd.values import dataclass

Progress = Callable[[int], None]
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Request:
    """What the child is asked: to write the files `targets`, each as (name in the manifest, path), of a snapshot.

    Each path must be free; directories that are missing are made, for maintd's user alone if `private`. `identity` is
    the file of the secret key, for packs that are encrypted.
    """

    snapshot: str
    targets: tuple[tuple[str, str], ...]
    identity: str | None = None
    private: bool = True


TREE = "tree"
"""The directory of a snapshot that restic restored, in which its files lie as restic had them."""


def loose(entry: Entry) -> str:
    """Where, below such a snapshot, a file lies that is in no pack."""
    return os.path.join(TREE, *([] if entry.kind == "file" else [TOP]), entry.name)


Read = Callable[[str], Iterable[bytes]]
"""The content of one of a snapshot's files, by name; FileNotFoundError if there is none."""


def verify(progress: Progress, *, snapshot: str, packs: Sequence[str] | None = None) -> int:
    """Compares the files of a snapshot with SHA256SUMS, all or these packs and the small ones; returns their bytes.

    Raises Damaged.
    """
    with durable.directory(snapshot) as dir_fd:
        return compare(lambda name: _chunks(name, dir_fd), packs, progress)


def compare(read: Read, packs: Sequence[str] | None, progress: Progress) -> int:
    """As `verify`, of a snapshot wherever it is."""
    count = 0
    try:
        known = manifest.read_sums(b"".join(read(manifest.SUMS)))
    except FileNotFoundError:
        raise Damaged(f"{manifest.SUMS} is missing") from None
    for name in (manifest.NAME, manifest.CONTENTS):
        count = _compare(read, name, known.get(name, ""), count, progress)
    whole = Manifest.read(b"".join(read(manifest.NAME)))
    for pack in (pack for pack in whole.packs if packs is None or pack.name in packs):
        begun, count = count, _compare(read, pack.name, known.get(pack.name, ""), count, progress)
        if count - begun != pack.size:
            raise Damaged(f"{printable(pack.name)} is not as large as {manifest.NAME} says")
    for pack in whole.packs:
        if known.get(pack.name) != pack.sha256:
            raise Damaged(f"{manifest.NAME} and {manifest.SUMS} differ about {printable(pack.name)}")
    return count


def _chunks(name: str, dir_fd: int) -> Iterator[bytes]:
    with durable.opened(name, dir_fd=dir_fd) as descriptor:
        while data := os.read(descriptor, _CHUNK):
            yield data


def _compare(read: Read, name: str, promised: str, count: int, progress: Progress) -> int:
    digest = hashlib.sha256()
    try:
        for data in read(name):
            digest.update(data)
            count += len(data)
            progress(count)
    except FileNotFoundError:
        raise Damaged(f"{printable(name)} is missing") from None
    if digest.hexdigest() != promised:
        raise Damaged(f"{printable(name)} is not what it was: its SHA-256 is another than {manifest.SUMS} says")
    return count


def unpack(progress: Progress, *, request: dict[str, Any]) -> int:
    """Writes files of a snapshot, synced, with owner (where that may be given), mode and time; returns their bytes.

    Raises MaintdError for one that is not in its pack, or is not what the manifest says; OSError. What was written by
    then stays, for the caller to remove.
    """
    wanted = Request(**request | {"targets": tuple((name, path) for name, path in request["targets"])})
    paths, count = dict(wanted.targets), 0
    with durable.directory(wanted.snapshot) as dir_fd:
        whole = Manifest.read(contents(dir_fd, manifest.NAME))
        entries = {entry.name: entry for entry in whole.entries if entry.name in paths}
        if missing := paths.keys() - entries.keys():
            raise MaintdError(f"the snapshot has no {printable(min(missing))}")
        _make_directories(paths.values(), {} if wanted.private else whole.directories, private=wanted.private)
        for pack in whole.packs:
            inside = {name: entry for name, entry in entries.items() if entry.pack == pack.name}
            if inside:
                with _contents(pack.name, wanted.identity, dir_fd=dir_fd) as stream:
                    count = _write_all(stream, inside, paths, _Told(progress, count))
    for entry in entries.values():
        if not entry.pack:
            count = _copy(entry, wanted.snapshot, paths[entry.name], _Told(progress, count))
    return count


def unpack_all(progress: Progress, *, snapshot: str, directory: str, identity: str | None) -> list[Any]:
    """As `unpack`, of all files into a directory; returns the databases as (fields of the entry, path)."""
    with durable.directory(snapshot) as dir_fd:
        whole = Manifest.read(contents(dir_fd, manifest.NAME))
    paths = {entry.name: os.path.join(directory, entry.name) for entry in whole.entries}
    unpack(progress, request={"snapshot": snapshot, "targets": paths.items(), "identity": identity})
    return [(vars(entry), paths[entry.name]) for entry in whole.entries if entry.kind == "sqlite"]


def _copy(entry: Entry, snapshot: str, path: str, told: "_Told") -> int:
    """One that lies loose."""
    directory, name = os.path.split(os.path.join(snapshot, loose(entry)))
    try:
        with (
            durable.directory(directory) as dir_fd,
            durable.opened(name, dir_fd=dir_fd) as descriptor,
            os.fdopen(os.dup(descriptor), "rb") as source,
        ):
            is_whole = _write(source, entry, path, told)
    except FileNotFoundError:
        is_whole = False
    if not is_whole:
        raise Damaged(f"{printable(entry.path)} is not there as the manifest says")
    return told.count


def _make_directories(paths: Iterable[str], known: Mapping[str, tuple[int, int, int]], *, private: bool) -> None:
    """Those that are missing, as they were when the snapshot was taken, if it says so."""
    is_root, user, group = os.geteuid() == 0, os.geteuid(), os.getegid()
    as_they_were = {
        path: Ownership(mode, uid, gid) if is_root else Ownership(mode | 0o700, user, group)
        for path, (mode, uid, gid) in known.items()
    }
    for directory in sorted({os.path.dirname(path) for path in paths}):
        durable.make_path(directory, 0o700 if private else 0o755, as_they_were)


@contextmanager
def _contents(name: str, identity: str | None, *, dir_fd: int) -> Iterator[io.BufferedReader]:
    """What a pack holds, decrypted and decompressed, from start to end."""
    with durable.opened(name, dir_fd=dir_fd) as descriptor:
        is_sealed = name.endswith(sealing.SUFFIX)
        with sealing.unsealed(descriptor, identity) if is_sealed else nullcontext(descriptor) as plain:
            yield io.BufferedReader(_Pieces(codec.stream_contents(plain, "zstd")), _CHUNK)


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file that is read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = filter(None, pieces), b""  # an empty one is not the end, as b"" is to a reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._pieces, b"")
        length = min(len(buffer), len(self._rest))
        buffer[:length] = self._rest[:length]
        self._rest = self._rest[length:]
        return length


class _Told:
    """Bytes written so far."""

    def __init__(self, progress: Progress, count: int) -> None:
        self.progress, self.count = progress, count

    def add(self, length: int) -> None:
        self.count += length
        self.progress(self.count)


def _write_all(stream: io.BufferedReader, inside: dict[str, Entry], paths: dict[str, str], told: _Told) -> int:
    left = set(inside)
    try:
        with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                entry = inside.get(member.name)
                source = archive.extractfile(member) if entry else None
                if entry is not None and source is not None:
                    if _write(source, entry, paths[entry.name], told):
                        left.discard(entry.name)
                    if not left:
                        break
    except (tarfile.TarError, EOFError) as error:
        raise Damaged(f"a pack is damaged: {error}") from error
    if left:
        raise Damaged(f"{printable(min(left))} is not in its pack as the manifest says")
    return told.count


def _write(source: Any, entry: Entry, path: str, told: _Told) -> bool:
    """Whether it is what the manifest says; what was read while it was changed is not, and is written again."""
    directory, name = os.path.split(path)
    digest = hashlib.sha256()
    with durable.directory(directory) as dir_fd:
        durable.unlink_own(name, dir_fd=dir_fd)
        descriptor = durable.create(name, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
        try:
            while data := source.read(_CHUNK):
                digest.update(data)
                durable.write_all(descriptor, data)
                told.add(len(data))
            if digest.hexdigest() != entry.sha256:
                return False
            uid, gid = (entry.uid, entry.gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
            durable.dress(descriptor, Ownership(entry.mode, uid, gid))
            durable.set_mtime(descriptor, entry.mtime_ns)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.fsync(dir_fd)
    return True


def damaged_packs(_progress: Progress, *, snapshot: str) -> Sequence[str]:
    """The packs of a snapshot that are not what its manifest says, by name."""
    with durable.directory(snapshot) as dir_fd:
        return differing(lambda name: _chunks(name, dir_fd))


def differing(read: Read) -> Sequence[str]:
    """As `damaged_packs`, of a snapshot wherever it is."""
    whole = Manifest.read(b"".join(read(manifest.NAME)))
    bad = []
    for pack in whole.packs:
        try:
            _compare(read, pack.name, pack.sha256, 0, lambda _: None)
        except (MaintdError, OSError):
            bad.append(pack.name)
    return bad
