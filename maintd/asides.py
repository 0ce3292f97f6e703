"""What a restore in place has kept aside, and how far it got: a file in `state_dir/restores` for each set.

It is durable before anything is moved, so that a restore that is cut off can be put back byte for byte.
"""

import json
import os
from collections.abc import Collection
from dataclasses import asdict
from typing import Any, Literal, Self

from maintd import durable, headers, names
from maintd.errors import MaintdError
from maintd.values import dataclass

DIRECTORY = "restores"


@dataclass(frozen=True)
class Item:
    """One file: `path` gets what lies at `fresh`, beside it; what was there goes into the directory `aside`.

    `old` and `new` are inodes as (device, inode); `old` is None if nothing was there, `new` until it is unpacked.
    `beside` are the names of what SQLite keeps beside a database, of any file, for who knows what it is by now; only of
    those that are restored by themselves they are left out.
    """

    path: str
    fresh: str
    aside: str
    new: tuple[int, int] | None
    old: tuple[int, int] | None
    is_database: bool
    beside: tuple[str, ...]

    @property
    def is_used_as_database(self) -> bool:
        """Whether a process that only reads it may write it, or what is beside it, in the next moment."""
        directory = os.path.dirname(self.path)
        return self.is_database or any(os.path.isfile(os.path.join(directory, name)) for name in self.beside)


def beside(path: str, taken: Collection[str]) -> tuple[str, ...]:
    """What SQLite keeps beside a database of that path, by name; without what is `taken`, as paths."""
    own = os.path.basename(path)
    return tuple(own + added for added in headers.BESIDE if path + added not in taken and names.fits(own + added))


@dataclass(frozen=True)
class Aside:
    """A restore in place: nothing is moved while `unpacking`; `placing` until its checks have passed, `done` then.

    `programs` are those that ran before it; the daemon is paused for it until `paused`, "" if it is not.
    """

    set: str
    snapshot: str
    phase: Literal["unpacking", "placing", "done"]
    items: tuple[Item, ...]
    programs: tuple[str, ...] = ()
    paused: str = ""

    @classmethod
    def read(cls, state_dir: str, of: str) -> Self | None:
        """The one of a set; None if there is none. Raises MaintdError if it cannot be understood."""
        path = _path(state_dir, of)
        try:
            with open(path, "rb") as file:
                fields: dict[str, Any] = json.loads(file.read())
            items = tuple(Item(**item | _tuples(item)) for item in fields["items"])
            return cls(**fields | {"items": items, "programs": tuple(fields["programs"])})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise MaintdError(f"{path} cannot be understood: {error!r}") from error

    def write(self, state_dir: str) -> None:
        """Keeps it, durable."""
        folder, name = os.path.split(_path(state_dir, self.set))
        durable.private_directory(folder)
        data = json.dumps(asdict(self)).encode()
        with durable.directory(folder) as dir_fd:
            durable.write_whole(name, data, dir_fd=dir_fd)

    def forget(self, state_dir: str) -> None:
        """Removes the note of it, for good."""
        folder, name = os.path.split(_path(state_dir, self.set))
        with durable.directory(folder) as dir_fd:
            durable.discard(names.temporary(name), dir_fd=dir_fd)
            durable.unlink_own(name, dir_fd=dir_fd)
            os.fsync(dir_fd)


def noted(state_dir: str) -> list[str]:
    """The sets of which there is a restore in place that can be undone."""
    try:
        names_there = sorted(os.listdir(os.path.join(os.path.realpath(state_dir), DIRECTORY)))
    except FileNotFoundError:
        return []
    return [name.removesuffix(".json") for name in names_there if name.endswith(".json")]


def half_done(state_dir: str, of: str) -> str:
    """Of which snapshot a set is half restored in place now, or was when that was cut off; "" if it is not.

    Raises MaintdError.
    """
    found = Aside.read(state_dir, of)
    return found.snapshot if found is not None and found.phase == "placing" else ""


def is_begun(state_dir: str, of: str) -> bool:
    """Whether a restore of a set in place unpacks what it has brought, or was cut off there. Raises MaintdError."""
    found = Aside.read(state_dir, of)
    return found is not None and found.phase == "unpacking"


def half_done_by_others(state_dir: str, of: str, paths: Collection[str]) -> tuple[str, str] | None:
    """Another set that is half restored in place with one of these files among its own, and of which snapshot.

    Raises MaintdError.
    """
    for other in noted(state_dir):
        found = None if other == of else Aside.read(state_dir, other)
        if found and found.phase == "placing" and any(item.path in paths for item in found.items):
            return other, found.snapshot
    return None


def _path(state_dir: str, of: str) -> str:
    return os.path.join(os.path.realpath(state_dir), DIRECTORY, f"{of}.json")


def _tuples(item: dict[str, Any]) -> dict[str, Any]:
    """Values of JSON as an item has them; an older maintd has noted nothing of what is beside it."""
    inodes = {key: tuple(item[key]) if item[key] else None for key in ("new", "old")}
    before = beside(item["path"], ()) if item["is_database"] else ()
    return inodes | {"beside": tuple(item.get("beside", before))}


def inode_of(path: str) -> tuple[int, int] | None:
    """(device, inode) of what has that name; None if nothing has."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return None
    return info.st_dev, info.st_ino
