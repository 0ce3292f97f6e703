"""Whose snapshots a place holds: several machines may have a set of one name there, and each counts its own alone."""

import hashlib
import itertools
import socket
from collections.abc import Sequence
from dataclasses import replace

from maintd.errors import MaintdError
from maintd.snapshots import Snapshot

_ID = 32
"""Characters of a machine id; "uninitialized" is none."""
_UNCLEAR = "; it may be another machine's"


def this() -> str:
    """The name under which this machine's snapshots go if its config says nothing else."""
    return socket.gethostname()


def machine() -> str:
    """What tells this machine from others of its name, made of machine-id(5); "" if it has none."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            known = file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return hashlib.sha256(f"maintd {known}".encode()).hexdigest()[:16] if len(known) == _ID else ""


def twins(own: Sequence[Snapshot], machine: str) -> list[Snapshot]:
    """Of the snapshots of one host name, those that another machine made after this one had: both are at work.

    What another had made before is this one's, which took its place.
    """
    made = [(one, one.manifest.machine) for one in own if one.manifest is not None and one.manifest.machine]
    since = itertools.dropwhile(lambda each: each[1] != machine, made)
    return [one for one, by in since if by != machine]


def divided(found: Sequence[Snapshot], host: str) -> tuple[list[Snapshot], list[Snapshot]]:
    """The snapshots of a machine, and those of others. What cannot be read may be anybody's if others are there."""
    others = [one for one in found if one.manifest is not None and one.manifest.host != host]
    if others:
        others += [one for one in found if one.manifest is None]
    return [one for one in found if one not in others], others


def seen(found: Sequence[Snapshot], host: str) -> list[Snapshot]:
    """What a machine is shown: its own, and what may be its own, for it cannot be read and others are there too."""
    _, others = divided(found, host)
    unclear = {one.path for one in others if one.manifest is None}
    own = [one for one in found if one not in others or one.path in unclear]
    return [replace(one, trouble=f"{one.trouble}{_UNCLEAR}") if one.path in unclear else one for one in own]


def of_one(found: Sequence[Snapshot], host: str) -> list[Snapshot]:
    """What is seen of that machine; if it is "", of this one, or else of the only one that has any.

    Raises MaintdError if several others have some.
    """
    own, others = divided(found, host or this())
    if host or own or not others:
        return seen(found, host or this())
    if len(_names(others)) > 1:
        raise MaintdError(
            f"there are snapshots of several machines, and none of {this()}: {told(others)}",
            hint="name one of them by host in the config; or restore SET@STAMP, as maintd backups --in lists them",
        )
    return list(found)


def newer(found: Sequence[Snapshot], chosen: Sequence[Snapshot]) -> list[Snapshot]:
    """What is verified and comes behind the last verified one of the chosen, of those that were `found` in order."""
    paths = {one.path for one in chosen if one.is_verified}
    count = max((number for number, one in enumerate(found, start=1) if one.path in paths), default=0)
    return [one for one in found[count:] if one.is_verified]


def told(others: Sequence[Snapshot]) -> str:
    """How many of whom, in words."""
    counts = {
        name: sum(one.manifest is not None and one.manifest.host == name for one in others) for name in _names(others)
    }
    return ", ".join(f"{count} of {name}" for name, count in counts.items())


def _names(others: Sequence[Snapshot]) -> list[str]:
    return sorted({one.manifest.host for one in others if one.manifest is not None})
