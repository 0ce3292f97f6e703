"""A repository of restic (https://restic.net), in a child: copies arranged and stored, snapshots listed, forgotten.

maintd makes the consistent copies of databases and of output, which a snapshot has below `/maintd`, with the paths of
the originals and a manifest; restic stores these and reads all other files itself. The set's name is a tag.
"""

import hashlib
import json
import math
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from maintd import commands, durable, manifest, members, packing
from maintd.durable import Ownership
from maintd.errors import Damaged, MaintdError
from maintd.manifest import Manifest, Source
from maintd.stores import DAMAGED, PROVEN, TOP, WHOLE, Repository, set_tag

Progress = Callable[[int], None]
_UNREADABLE = 3
"""What `restic backup` ends with if it made a snapshot and could not read some file."""
_LISTING = 120.0
_DAMAGE = re.compile(
    r"ciphertext verification failed|does not match|invalid data returned|repository contains errors"
    r"|LoadIndex returned errors|not found in (the )?(repository|index)"
)
_DAMAGE_HERE = re.compile(r"ReadFull\S*: (unexpected )?EOF|/data/\S+: no such file")
"""What says so of a directory alone: elsewhere it may be the connection."""


def said(
    where: Repository, arguments: Sequence[str], limit: float = math.inf, place: str = "/", *, is_kept: bool = True
) -> commands.Answer:
    """What restic says, all of it or, if it is not to be kept, only how it ended.

    Raises MaintdError if it is not there, or fails and has not made a snapshot: Damaged, if what it says is that.

    A lock that an interrupted run has left is removed: `restic unlock` takes those of processes of this machine that
    have ended, and those that nobody has renewed for half an hour, alone.
    """
    try:
        return _said(where, arguments, limit, place, is_kept=is_kept)
    except _Locked:
        if any(map(_may_be_hurt, _locks(where))):
            raise
        _said(where, ["unlock"], limit, place)
        return _said(where, arguments, limit, place, is_kept=is_kept)


def _locks(where: Repository) -> list[Mapping[str, Any]]:
    ids = _said(where, ["list", "locks", "--no-lock"], _LISTING, "/").output.decode().split()
    return [json.loads(_said(where, ["cat", "lock", one, "--no-lock"], _LISTING, "/").output) for one in ids]


def _may_be_hurt(lock: Mapping[str, Any]) -> bool:
    """Whether its pid is of another program by now: restic looks for a process by sending SIGHUP to it."""
    if lock["hostname"] != socket.gethostname():
        return False
    try:
        with open(f"/proc/{lock['pid']}/comm", encoding="utf-8") as file:
            return file.read() != "restic\n"
    except FileNotFoundError:
        return False


class _Locked(MaintdError):
    """The repository is locked."""


def _said(
    where: Repository, arguments: Sequence[str], limit: float, place: str, *, is_kept: bool = True
) -> commands.Answer:
    url, secret = _reached(where.url)
    more = {
        "RESTIC_REPOSITORY": url,
        "RESTIC_PASSWORD_FILE": where.password_file,
        "RESTIC_CACHE_DIR": where.cache,
    }
    try:
        line = ["restic", *arguments]
        answer = (
            commands.ask(lambda _: None, line, limit, place, more)
            if is_kept
            else commands.drain(line, limit, place, more)
        )
    except FileNotFoundError as error:
        raise MaintdError("restic is not installed", hint="apt-get install restic") from error
    if secret:
        answer = replace(answer, complaint=answer.complaint.replace(secret, "***"))
    if answer.status not in (0, _UNREADABLE):
        told = " ".join(answer.complaint.split()) or f"it ended with {answer.status}"
        is_damage = _DAMAGE.search(told) or (where.url.startswith("/") and _DAMAGE_HERE.search(told))
        kind = _Locked if "already locked" in told else Damaged if is_damage else MaintdError
        raise kind(f"restic {arguments[0]}: {told[-300:]}", hint=_hint(told))
    return answer


def _reached(url: str) -> tuple[str, str]:
    """The URL with the user and password of maintd's environment in it, and that password as it stands there.

    restic reads RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD by itself only in newer versions; 0.14 does not.
    """
    user, password = os.environ.get("RESTIC_REST_USERNAME", ""), os.environ.get("RESTIC_REST_PASSWORD", "")
    head, slashes, rest = url.partition("://")
    if not (user and password and slashes and head.startswith("rest:")) or "@" in rest.partition("/")[0]:
        return url, ""
    secret = quote(password, safe="")
    return f"{head}://{quote(user, safe='')}:{secret}@{rest}", secret


def _hint(told: str) -> str:
    if "wrong password" in told or "no key found" in told:
        return "look at password_file"
    if "Is there a repository" in told or "config" in told:
        return "is repository right? a new one is made with: restic init"
    if "lock" in told:
        return (
            "somebody is at work there; or restic unlock removes a lock that an interrupted run on another machine left"
        )
    return "this is tried again at the next run"


def snapshots(_progress: Progress, *, repository: dict[str, Any], only: str) -> list[dict[str, Any]]:
    """The snapshots of a set: `id`, `time` (RFC 3339), `hostname`, `tags`. Nothing is changed, not even a cache."""
    arguments = ["snapshots", "--json", "--no-lock", "--no-cache", "--tag", set_tag(only)]
    found = json.loads(said(Repository(**repository), arguments, _LISTING).output or b"null")
    return [
        {name: one[name] for name in ("id", "time", "hostname")} | {"tags": one.get("tags") or []}
        for one in found or []
    ]


def store(_progress: Progress, *, repository: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Arranges the copies as restic is to see them, and has them stored together with the files; as packing.pack."""
    wanted = packing.Request.of(request)
    where = Repository(**repository)
    copies = [source for source in wanted.sources if source.kind != "file"]
    files = [source for source in wanted.sources if source.kind == "file"]
    about = dict(wanted.about)
    with durable.directory(wanted.staging) as staging:
        durable.make_private(TOP, dir_fd=staging)
        tree = os.path.join(wanted.staging, TOP)
        entries = tuple(_arranged(source, tree) for source in copies)
        listed = Manifest(entries=entries, packs=(), **about)
        with durable.directory(tree) as dir_fd:
            packing.write(manifest.NAME, listed.written(), dir_fd=dir_fd)
        packing.write("files", b"".join(os.fsencode(source.path) + b"\0" for source in files), dir_fd=staging)
    is_doubtful = not about["missing"] and _has_damage(where)
    called = [set_tag(str(about["set"])), *([] if about["missing"] or is_doubtful else [WHOLE])]
    arguments = ["backup", "--json", "-vv", "--tag", ",".join(called), "--host", str(about["host"])]
    arguments += ["--files-from-raw", os.path.join(wanted.staging, "files")] if files else []
    answer = said(where, [*arguments, TOP], place=wanted.staging)
    return _summary(answer, [source.size for source in files + copies]) | {"is_doubtful": is_doubtful}


def _has_damage(where: Repository) -> bool:
    """Whether any snapshot of maintd's is known to be damaged: what shares its data is not stored again."""
    return any(tag.startswith(DAMAGED) for one in tags(where) for tag in one)


def tags(where: Repository, *of: str) -> list[list[str]]:
    """The tags of these snapshots, or of all that there are."""
    found = json.loads(said(where, ["snapshots", "--json", "--no-lock", "--no-cache", *of], _LISTING).output or b"null")
    return [one.get("tags") or [] for one in found or []]


def _arranged(source: Source, tree: str) -> Any:
    """Moves a copy below the tree, to the path of its original, with its owner, mode and time."""
    directory, name = os.path.split(os.path.join(tree, source.name))
    durable.make_path(directory, 0o700)
    with durable.directory(source.directory) as dir_fd, durable.directory(directory) as new_fd:
        durable.move(source.file, name, None, dir_fd=dir_fd, new_fd=new_fd)
        with durable.opened(name, dir_fd=new_fd) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if os.geteuid() == 0:
                durable.dress(descriptor, Ownership(source.mode, source.uid, source.gid))
            durable.set_mtime(descriptor, source.mtime_ns)
    return members.entry(source, digest)


def _summary(answer: commands.Answer, sizes: Sequence[int]) -> dict[str, Any]:
    said: Mapping[str, Any] = {}
    new = 0
    for line in answer.output.splitlines():
        parsed = json.loads(line)
        if parsed.get("message_type") == "summary":
            said = parsed
        # restic's own count takes every copy, made anew each time, and the manifest for changed
        is_new = parsed.get("action") in ("new", "modified") and parsed["data_size"]
        new += bool(is_new) and parsed["item"] != f"/{TOP}/{manifest.NAME}"
    if not said:
        raise MaintdError(f"restic backup made no snapshot: {answer.complaint[-300:]}")
    return {
        "id": said["snapshot_id"],
        "files": len(sizes),
        "new": new,
        "in_bytes": sum(sizes),
        "out_bytes": said["data_added"],
        "unsettled": [],
        "missing": [" ".join(answer.complaint.split())[-300:]] if answer.status == _UNREADABLE else [],
    }


def prove(_progress: Progress, *, repository: dict[str, Any], snapshot: str, at: str, before: str | None) -> None:
    """Notes at a snapshot, by a tag, when a restore of it was proven; the note `before` goes.

    If that is of the same second it is the same tag, and stays: restic adds first and removes then.
    """
    if before != at:
        gone = ["--remove", PROVEN + before] if before else []
        said(Repository(**repository), ["tag", "--add", PROVEN + at, *gone, snapshot])


def forget(_progress: Progress, *, repository: dict[str, Any], snapshot: str) -> None:
    """Takes one snapshot away; what it alone had is given back by `prune`."""
    said(Repository(**repository), ["forget", snapshot])


def prune(_progress: Progress, *, repository: dict[str, Any]) -> None:
    """Gives back what no snapshot has any more."""
    said(Repository(**repository), ["prune"])
