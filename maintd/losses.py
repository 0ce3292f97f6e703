"""Which objects an archive has lost: what is listed and gone, or cut off.

Of a directory that is looked at; of an object store, what it said when it was last asked for all that it has counts. It
is asked by a guard before anything is given up, by a policy before something goes, and now and then by the job itself.
"""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from maintd.inventory import Entry
from maintd.values import dataclass

NOTE = "losses"
"""The file in the private directory of a store that says what it lacked when it was last asked."""
ASKED_EVERY = timedelta(days=1)


@dataclass(frozen=True)
class Losses:
    """Objects that are not as they are listed, by name: the bytes that are there; None if the object is gone.

    `at` is when a store was asked; None if it never was.
    """

    found: Mapping[str, int | None]
    at: datetime | None = None

    def has(self, entry: Entry) -> bool:
        """Whether its object is lost; what was stored after the store was asked is not."""
        return entry.name in self.found and (self.at is None or _moment(entry.at) <= self.at)

    def is_due(self, now: datetime) -> bool:
        """Whether the store is to be asked again."""
        return self.at is None or not timedelta(0) <= now - self.at < ASKED_EVERY


def _moment(text: str) -> datetime:
    """When; without a zone it is taken for UTC, and what somebody has made unreadable was long ago."""
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)


def in_directory(root: str, entries: Iterable[Entry]) -> Losses:
    """Of an archive that is a directory; what cannot be looked at is not taken for lost."""
    found: dict[str, int | None] = {}
    for name, size in {entry.name: entry.stored_bytes for entry in entries}.items():
        try:
            there = os.lstat(os.path.join(root, name)).st_size
        except FileNotFoundError:
            found[name] = None
        except OSError:
            continue
        else:
            if there != size:
                found[name] = there
    return Losses(found)


def noted(directory: str) -> Losses:
    """Of an object store, as it said last; nothing if it never was asked, or that cannot be read."""
    try:
        with open(os.path.join(directory, NOTE), "rb") as file:
            said = json.loads(file.read())
        at = datetime.fromisoformat(said["at"]).astimezone(UTC)
        return Losses({str(name): size for name, size in said["lost"].items()}, at)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Losses({})


def written(at: datetime, found: Mapping[str, int | None]) -> bytes:
    """The note, as `noted` reads it."""
    return json.dumps({"at": at.isoformat(), "lost": dict(found)}).encode()


def compared(entries: Iterable[Entry], sizes: Mapping[str, int]) -> dict[str, int | None]:
    """What is listed and not there as it is listed, of what there is."""
    listed = {entry.name: entry.stored_bytes for entry in entries}
    return {name: sizes.get(name) for name, size in listed.items() if sizes.get(name) != size}
