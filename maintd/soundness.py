"""Whether the data of restic's snapshots is whole, in a child: read through, and noted by their tags.

A snapshot that is found damaged loses the tag that calls it whole; nothing gives it back.
"""

from collections.abc import Callable
from typing import Any

from maintd import restic
from maintd.errors import Damaged, MaintdError
from maintd.stores import DAMAGED, PROVEN, WHOLE, Repository

Progress = Callable[[int], None]
MEND = (
    "older snapshots stay; restic stores what is damaged again once its pack is moved away and the index made anew "
    "(docs/backups.md: In a repository of restic)"
)


def check(progress: Progress, *, repository: dict[str, Any], only: str, at: str) -> None:
    """Reads all the data of a repository. If that is not what it was, each whole snapshot of the set is read.

    Those that are damaged are noted, and Damaged is raised. Whatever else fails says nothing of a snapshot.
    """
    where = Repository(**repository)
    try:
        restic.said(where, ["check", "--read-data", "--no-lock", "--no-cache"], is_kept=False)
    except Damaged as error:
        there = restic.snapshots(progress, repository=repository, only=only)
        bad = [one["id"] for one in there if WHOLE in one["tags"] and _is_damaged(where, one["id"])]
        known = sum(any(tag.startswith(DAMAGED) for tag in one["tags"]) for one in there)
        told = f"of the {len(there)} snapshots of {only} {len(bad) + known} are damaged"
        try:
            for one in bad:
                condemn(progress, repository=repository, snapshot=one, at=at)
        except MaintdError as other:
            told += f", which could not be noted ({other})"
        raise Damaged(f"{told}: {error}", hint=MEND) from error


def _is_damaged(where: Repository, snapshot: str) -> bool:
    try:
        _read(where, snapshot)
    except Damaged:
        return True
    return False


def _read(where: Repository, snapshot: str) -> None:
    """Reads all of a snapshot. Of a directory that it cannot read `restic dump` says nothing, `restic ls` does."""
    restic.said(where, ["ls", "--no-lock", "--no-cache", snapshot], is_kept=False)
    restic.said(where, ["dump", "--no-lock", "--no-cache", snapshot, "/"], is_kept=False)


def certify(progress: Progress, *, repository: dict[str, Any], snapshot: str, at: str) -> None:
    """Calls a new snapshot whole if all of it can be read. Raises Damaged, after that was noted."""
    where = Repository(**repository)
    try:
        _read(where, snapshot)
    except Damaged as error:
        condemn(progress, repository=repository, snapshot=snapshot, at=at)
        raise MaintdError(f"what it shares with older snapshots is damaged: {error}", hint=MEND) from error
    restic.said(where, ["tag", "--add", WHOLE, snapshot])


def condemn(_progress: Progress, *, repository: dict[str, Any], snapshot: str, at: str) -> None:
    """Notes that a snapshot is damaged: it is not whole any more, and no restore of it is proven."""
    where = Repository(**repository)
    gone = [tag for one in restic.tags(where, snapshot) for tag in one if tag == WHOLE or tag.startswith(PROVEN)]
    restic.said(where, ["tag", "--add", DAMAGED + at, *(part for tag in gone for part in ("--remove", tag)), snapshot])
