"""A snapshot of restic's, in a child: described as maintd describes its own, and restored into a private directory.

What is brought is a snapshot of maintd's, with manifest and checksums, of which the files lie loose (unpacking.loose).
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, replace
from typing import Any

from maintd import durable, manifest, members, packing, restic, scratch
from maintd.errors import Damaged, MaintdError
from maintd.manifest import Entry, Manifest
from maintd.names import printable
from maintd.stores import NOT_UTF8, TOP, Repository
from maintd.unpacking import TREE, loose

Progress = Callable[[int], None]
_MANIFEST = f"/{TOP}/{manifest.NAME}"
_LONGEST = 100_000
"""Bytes of names that a command line gets; who wants more than that gets all that is in the snapshot."""
_LOST = "\ufffd"
"""What restic's JSON has for a byte that is not UTF-8."""


def describe(_progress: Progress, *, repository: dict[str, Any], snapshot: str) -> str:
    """The manifest of a snapshot, written: maintd's copies, and the files beside them, of which no checksum is known.

    Files whose names restic cannot tell are under `left_out`. Raises MaintdError.
    """
    where = Repository(**repository)
    lines = restic.said(where, ["ls", "--json", "--no-lock", "--no-cache", snapshot]).output.splitlines()
    all_nodes = [json.loads(line) for line in lines]
    nodes = [node for node in all_nodes if node.get("type") == "file"]
    if _MANIFEST not in [node["path"] for node in nodes]:
        raise MaintdError(
            f"the snapshot {snapshot} has no manifest of maintd's",
            hint=f"restic restores it by itself: restic restore {snapshot} --target DIR",
        )
    known = _manifest(where, snapshot)
    files = [node for node in nodes if not node["path"].startswith(f"/{TOP}/")]
    odd = [f"{printable(node['path'])}: {NOT_UTF8}" for node in files if _LOST in node["path"]]
    told = [_entry(node) for node in files if _LOST not in node["path"]]
    above = {
        node["path"]: (node["mode"] & 0o777, node.get("uid", 0), node.get("gid", 0))
        for node in all_nodes
        if node.get("type") == "dir" and _LOST not in node["path"] and not f"{node['path']}/".startswith(f"/{TOP}/")
    }
    full = replace(
        known,
        entries=(*known.entries, *told),
        left_out=(*known.left_out, *odd),
        directories={**above, **known.directories},
    )
    return full.written().decode()


def sources(_progress: Progress, *, repository: dict[str, Any], snapshot: str) -> list[str]:
    """The sources of the job of which a snapshot has anything. Raises MaintdError."""
    return list(_manifest(Repository(**repository), snapshot).sources)


def _manifest(where: Repository, snapshot: str) -> Manifest:
    return Manifest.read(restic.said(where, ["dump", "--no-lock", "--no-cache", snapshot, _MANIFEST]).output)


def _entry(node: dict[str, Any]) -> Entry:
    path, uid, gid = node["path"], node.get("uid", 0), node.get("gid", 0)
    return Entry(
        name=path.lstrip("/"),
        path=path,
        kind="file",
        size=node.get("size", 0),
        sha256="",
        mode=node["mode"] & 0o777,
        uid=uid,
        gid=gid,
        owner=members.user_name(uid),
        group=members.group_name(gid),
        mtime_ns=0,
    )


def bring(  # noqa: PLR0913 - they cross a pipe by name
    progress: Progress, *, repository: dict[str, Any], snapshot: str, known: str, only: list[str] | None, directory: str
) -> list[dict[str, Any]]:
    """Has restic restore these entries of the manifest `known`, by name, or all, into a new private directory.

    restic verifies what it restores; maintd's copies are compared with what maintd wrote down when it made them.
    Returns the entries, and says in `at` where each is. Raises MaintdError, Damaged if one is not what it was.
    """
    whole = Manifest.read(known.encode())
    wanted = [entry for entry in whole.entries if only is None or entry.name in set(only)]
    scratch.make_anew(directory)
    scratch.require_space(
        directory, sum(entry.size for entry in wanted), "name a directory with more room by --scratch"
    )
    with durable.directory(directory) as dir_fd:
        durable.make_private(TREE, dir_fd=dir_fd)
        target = os.path.join(directory, TREE)
        named = ["/" + os.path.relpath(loose(entry), TREE) for entry in wanted]
        arguments = ["restore", "--no-lock", "--no-cache", snapshot, "--target", target]
        restic.said(Repository(**repository), [*arguments, *_includes(named, is_all=only is None)])
        entries = tuple(_compared(wanted, directory, progress))
        packing.describe(replace(whole, entries=entries, packs=()), dir_fd)
    told = {entry.name: os.path.join(directory, loose(entry)) for entry in entries}
    return [
        asdict(entry) | {"at": told[entry.name], "invariants": whole.invariants.get(entry.path, ())}
        for entry in entries
    ]


def bring_all(
    progress: Progress, *, repository: dict[str, Any], snapshot: str, directory: str, hint: str
) -> dict[str, Any]:
    """The same with all of a snapshot: how many `files` of how many `bytes`, and the `databases` among them.

    Raises MaintdError with the `hint` if there is no room for it.
    """
    known = describe(progress, repository=repository, snapshot=snapshot)
    size = Manifest.read(known.encode()).size
    scratch.require_space(os.path.dirname(directory), size, hint)
    entries = bring(progress, repository=repository, snapshot=snapshot, known=known, only=None, directory=directory)
    databases = [entry for entry in entries if entry["kind"] == "sqlite"]
    return {"files": len(entries), "bytes": size, "databases": databases}


def _includes(paths: Collection[str], *, is_all: bool) -> Iterator[str]:
    """The options that have restic restore these files alone; in its patterns a backslash takes the meaning away."""
    if not is_all and sum(len(path) + 12 for path in paths) < _LONGEST:
        for path in paths:
            yield "--include"
            yield re.sub(r"([*?\[\\])", r"\\\1", path)


def _compared(wanted: Collection[Entry], directory: str, progress: Progress) -> Iterator[Entry]:
    count = 0
    for entry in wanted:
        folder, name = os.path.split(os.path.join(directory, loose(entry)))
        try:
            with durable.directory(folder) as dir_fd, durable.opened(name, dir_fd=dir_fd) as descriptor:
                info, digest = os.fstat(descriptor), _digest(descriptor)
        except FileNotFoundError:
            raise Damaged(f"{printable(entry.path)} is not in the snapshot as its manifest says") from None
        count += info.st_size
        progress(count)
        if entry.kind == "file":
            mode = info.st_mode & 0o7777
            yield replace(entry, size=info.st_size, sha256=digest, mode=mode, mtime_ns=info.st_mtime_ns)
        elif digest == entry.sha256:
            yield entry
        else:
            raise Damaged(f"{printable(entry.path)} is not what it was: its SHA-256 is another than the manifest says")


def _digest(descriptor: int) -> str:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
