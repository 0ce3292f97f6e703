"""Makes a snapshot in a child: what is new or changed goes into one tar.zst, what is not is linked from the last."""

import contextlib
import hashlib
import os
import stat as st
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from maintd import codec, durable, manifest, names, sealing
from maintd.codec import Codec
from maintd.durable import Ownership
from maintd.errors import MaintdError, Refused
from maintd.folded import unfolded
from maintd.manifest import Entry, Manifest, Pack, Source
from maintd.members import Count, Members, group_name, opened, tar, user_name
from maintd.snapshots import whole
from maintd.values import dataclass

Progress = Callable[[int], None]
_LEAST_LIVE = 0.5
"""A pack of which less than this share is still of use is not linked any more: what is, is stored again."""

_MARGIN = 120 * 10**9
"""Nanoseconds for which a file must have had its times when it was read, for them to say that it is the same since.

A write through a shared mapping changes them only as it makes a clean page dirty (mmap(2)), and a dirty page is written
back, and clean, after 35 s (proc_sys_vm(5): dirty_expire_centisecs, dirty_writeback_centisecs), on a busy disk later.
"""


@dataclass(frozen=True)
class Request:
    """What the child is asked: to fill the directory `staging`, with packs of `previous` ("" if there is none).

    `known` is a directory with the manifest of a snapshot in a bucket, the packs of which are named again instead of
    linked. `store` is what its pack is called, before the suffixes. Packs from before `oldest` are not linked any more.
    """

    staging: str
    previous: str
    store: str
    level: int | None
    recipient: str | None
    oldest: str
    sources: tuple[Source, ...]
    about: Mapping[str, Any]
    known: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Request":
        """What the fields say: `files` are folded, and go with the other sources."""
        given = dict(fields)
        files, left_out = unfolded(given.pop("files"))
        staged = [Source(**one | {"seen": tuple(one["seen"])}) for one in given.pop("sources")]
        about = {**given.pop("about"), "left_out": left_out}
        return cls(**given, sources=(*staged, *files), about=about)


def pack(progress: Progress, *, request: dict[str, Any]) -> dict[str, Any]:
    """Fills the staging directory with packs, manifest and checksums, all synced. Returns counts and what it missed."""
    wanted = Request.of(request)
    count = Count(progress)
    with durable.directory(wanted.staging) as staging:
        before = _Before.of(wanted)
        kept = {entry.name: entry for entry in before.unchanged(wanted.sources, count)}
        new = [source for source in wanted.sources if source.name not in kept]
        members, made = _store(wanted, new, staging, count) if new else (Members(), [])
        linked = before.link({entry.pack for entry in kept.values()}, staging)
        entries = [
            kept.get(one.name) or members.entries[one.name]
            for one in wanted.sources
            if one.name in kept or one.name in members.entries
        ]
        missing, left_out = _lost(wanted.sources, members, {entry.name for entry in entries})
        said = dict(wanted.about)
        said |= {"missing": [*said["missing"], *missing], "left_out": [*said["left_out"], *left_out]}
        said |= {"recipient": wanted.recipient, "directories": _directories(wanted.sources)}
        whole = Manifest(entries=tuple(entries), packs=(*linked, *made), **said)
        describe(whole, staging)
    return {
        "files": len(entries),
        "new": len(members.entries),
        "in_bytes": whole.size,
        "out_bytes": sum(one.size for one in made),
        "unsettled": [entry.path for entry in entries if entry.is_unsettled],
        "missing": missing,
    }


def _lost(sources: Sequence[Source], members: Members, taken: Collection[str]) -> tuple[list[str], list[str]]:
    """What the snapshot lacks, and what is only left out: a file that went, unless all that its pattern named did."""
    alive = {source.of for source in sources if source.name in taken}
    told = {True: [], False: list(members.gone.values())}
    for source in members.went.values():
        told[source.of in alive].append(f"{names.printable(source.path)}: went while the snapshot was made")
    return told[False], told[True]


def _directories(sources: Sequence[Source]) -> dict[str, tuple[int, int, int]]:
    """Those in which the sources were, and those above, with (mode, uid, gid)."""
    found: dict[str, tuple[int, int, int]] = {}
    for source in sources:
        path = os.path.dirname(source.path)
        while path not in found and path not in ("", "/"):
            with contextlib.suppress(OSError):
                info = os.lstat(path)
                found[path] = (st.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
            path = os.path.dirname(path)
    return found


@dataclass
class _Before:
    """The snapshot before this one, of which packs may be linked: no secret key opens those of another recipient."""

    path: str
    manifest: Manifest | None
    oldest: str

    @classmethod
    def of(cls, wanted: Request) -> "_Before":
        if wanted.known:
            known = whole(wanted.known)
        elif wanted.previous:
            known = whole(wanted.previous)
        else:
            return cls("", None, wanted.oldest)
        is_sealed = any(pack.name.endswith(sealing.SUFFIX) for pack in known.packs)
        is_same = known.recipient == wanted.recipient and is_sealed == bool(wanted.recipient)
        return cls(wanted.previous, known if is_same else None, wanted.oldest)

    def unchanged(self, sources: Sequence[Source], count: Count) -> Iterator[Entry]:
        """The entries of what has the same content as in that snapshot, if its pack is worth keeping."""
        if self.manifest is None:
            return
        known = {entry.name: entry for entry in self.manifest.entries}
        quiet = _nanoseconds(self.manifest.taken) - _MARGIN
        same = [
            _as_now(known[source.name], source)
            for source in sources
            if source.name in known and _is_same(known[source.name], source, quiet, count)
        ]
        live: dict[str, int] = {}
        for entry in same:
            live[entry.pack] = live.get(entry.pack, 0) + entry.size
        worth = {
            one.name
            for one in self.manifest.packs
            if one.name >= self.oldest and live.get(one.name, -1) >= _LEAST_LIVE * one.content and self._is_whole(one)
        }
        yield from (entry for entry in same if entry.pack in worth)

    def _is_whole(self, pack: Pack) -> bool:
        """Whether a pack is as large as it was; what is in one that is not is stored again."""
        if not self.path:
            return True
        with contextlib.suppress(FileNotFoundError), durable.directory(self.path) as dir_fd:
            return os.lstat(pack.name, dir_fd=dir_fd).st_size == pack.size
        return False

    def link(self, packs: Collection[str], staging: int) -> list[Pack]:
        """Links packs of that snapshot into this one, if they are files; Refused if one is not of the size it was."""
        if not packs:
            return []
        assert self.manifest is not None
        if self.path:
            self._link(packs, staging)
        return [pack for pack in self.manifest.packs if pack.name in packs]

    def _link(self, packs: Collection[str], staging: int) -> None:
        assert self.manifest is not None
        with durable.directory(self.path) as dir_fd:
            for name in sorted(packs):
                if os.lstat(name, dir_fd=dir_fd).st_size != self.manifest.pack(name).size:
                    raise Refused(f"{names.printable(name)} of the snapshot before is not what it was")
                durable.link(name, name, dir_fd=dir_fd, new_fd=staging)


def _nanoseconds(taken: str) -> int:
    """Since the epoch; 0, which is before all times, if it is none."""
    try:
        return int(datetime.fromisoformat(taken).timestamp()) * 10**9
    except ValueError:
        return 0


def _is_same(entry: Entry, source: Source, quiet: int, count: Count) -> bool:
    """By what stat(2) says, whose ctime nobody can set back, if that was before `quiet`; else by content."""
    if entry.is_unsettled or entry.kind != source.kind or entry.size != source.size:
        return False
    if source.seen and entry.seen == source.seen and entry.mtime_ns == source.mtime_ns and source.seen[2] < quiet:
        return True
    try:
        with opened(source) as descriptor:
            return _digest(descriptor, source.size, count) == entry.sha256
    except (OSError, MaintdError):
        return False


def _as_now(entry: Entry, source: Source) -> Entry:
    return replace(
        entry,
        mode=source.mode,
        uid=source.uid,
        gid=source.gid,
        owner=user_name(source.uid),
        group=group_name(source.gid),
        mtime_ns=source.mtime_ns,
        seen=source.seen,
        database=source.database,
    )


def _digest(descriptor: int, size: int, count: Count) -> str:
    digest, offset = hashlib.sha256(), 0
    while data := os.pread(descriptor, codec.PIECE, offset):
        digest.update(data)
        offset += len(data)
        count.add(len(data))
    return digest.hexdigest() if offset == size else ""


def _store(wanted: Request, sources: Sequence[Source], staging: int, count: Count) -> tuple[Members, list[Pack]]:
    """One tar.zst, read back as it is written, encrypted if that is wanted, synced."""
    members = Members()
    name = f"{wanted.store}.tar.zst{sealing.SUFFIX if wanted.recipient else ''}"
    temporary = names.temporary(f"{wanted.store}.tar.zst")
    descriptor = durable.create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=staging)
    try:
        codec.compress_pieces(_pieces(tar(sources, members, count)), descriptor, Codec("zstd", wanted.level))
        os.fsync(descriptor)
        if not members.entries:
            durable.discard(temporary, dir_fd=staging)
            return members, []
        if wanted.recipient:
            sealing.seal(descriptor, name, wanted.recipient, dir_fd=staging)
            durable.discard(temporary, dir_fd=staging)
        else:
            durable.publish(temporary, name, descriptor, dir_fd=staging)
    finally:
        os.close(descriptor)
    with durable.opened(name, dir_fd=staging) as made, os.fdopen(os.dup(made), "rb") as file:
        size, digest = os.fstat(made).st_size, hashlib.file_digest(file, "sha256").hexdigest()
    members.entries = {key: replace(entry, pack=name) for key, entry in members.entries.items()}
    return members, [Pack(name, size, digest, sum(entry.size for entry in members.entries.values()))]


def _pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of one length, all but the last."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        while len(buffer) >= codec.PIECE:
            yield bytes(buffer[: codec.PIECE])
            del buffer[: codec.PIECE]
    yield bytes(buffer)


def describe(whole: Manifest, staging: int) -> None:
    """Writes the manifest, the checksums of the files that are in it, and those of the snapshot's own files."""
    written = whole.written()
    of_files = manifest.sums([(entry.sha256, entry.name) for entry in whole.entries])
    of_own = [(pack.sha256, pack.name) for pack in whole.packs]
    of_own += [(hashlib.sha256(data).hexdigest(), name) for name, data in _texts(written, of_files)]
    for name, data in (*_texts(written, of_files), (manifest.SUMS, manifest.sums(of_own))):
        write(name, data, dir_fd=staging)


def _texts(written: bytes, of_files: bytes) -> tuple[tuple[str, bytes], ...]:
    return (manifest.NAME, written), (manifest.CONTENTS, of_files)


def write(name: str, data: bytes, *, dir_fd: int) -> None:
    """Makes a small file of ours, synced."""
    descriptor = durable.create(name, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
    try:
        durable.write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
