"""Putting files away into an object store: one look whether it can be reached, the uploads, then the manifest."""

import math
import time
from collections.abc import Iterator
from os.path import dirname
from typing import Any, ClassVar

from maintd import durable, grounds, names, trust
from maintd.actions.archive import ArchiveFailed, PutAway
from maintd.actions.hands import Hands
from maintd.confinement import Confinement
from maintd.errors import OutOfReach, Refused
from maintd.events import Event, Failure
from maintd.silent import LONGEST, Silent
from maintd.steps import Action
from maintd.stores import Store
from maintd.units import counted
from maintd.values import dataclass

_FRESH = 60.0
"""Seconds for which a list of what a store has is believed."""


@dataclass(frozen=True, kw_only=True)
class ManifestUploaded(Event):
    """The manifest of an archive in an object store was stored there."""

    name: ClassVar[str] = "manifest.uploaded"

    out_bytes: int

    @property
    def msg(self) -> str:
        return "stored the archive's manifest beside what it lists"


def called(
    hands: Hands,
    action: Action,
    function: str,
    private: str,
    within: Confinement | None = None,
    **given: Any,
) -> Any:
    """Runs it in a process that is forked for it alone: the library starts threads, which nobody may fork with.

    `private` is the directory for the store.
    """
    durable.private_directory(private)
    return hands.call(function, action, within or alone(private), **given)


def _given(action: "ReachStore | AskStore | ConfirmStored | UploadManifest") -> dict[str, Any]:
    return {"store": action.store.fields(), "directory": action.directory}


def alone(*directories: str) -> Confinement:
    grounded = [grounds.survey(path) for path in dict.fromkeys(directories)]
    return Confinement(tuple((ground.path, ground.dev, ground.ino) for ground in grounded))


@dataclass(frozen=True, kw_only=True)
class ReachStore(Action):
    """Sees whether the store answers, the bucket exists and the key is right, once for all that is to go there.

    `directory` is the private one for it.
    """

    verb: ClassVar[str] = "reach"
    failure: ClassVar[type[Failure]] = ArchiveFailed

    store: Store
    directory: str

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        called(hands, self, "maintd.remote:reach", self.directory, **_given(self))
        yield from ()


@dataclass(frozen=True, kw_only=True)
class AskStore(Action):
    """Asks the store for a list of what it has, once for all that is given up because of it.

    If one of the objects `relied_on` is not there, nothing goes: Refused. `directory` is the private one for the store.
    With `silent` it is a guard that asks, and notes there that the store does not answer.
    """

    verb: ClassVar[str] = "ask"
    failure: ClassVar[type[Failure]] = ArchiveFailed

    store: Store
    directory: str
    relied_on: tuple[str, ...] = ()
    silent: Silent | None = None

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        sizes = asked(hands, self)
        missing = [name for name in self.relied_on if name not in sizes]
        if missing:
            raise Refused(
                f"{counted(len(missing), 'object')} that the policy keeps {'is' if len(missing) == 1 else 'are'} not "
                f"there any more ({names.printable(names.enumerated(missing))}): nothing goes before it is judged anew",
                hint="the next run counts without them; look at rules by which the store expires objects",
            )
        yield from ()


def asked(hands: Hands, action: "AskStore | ConfirmStored") -> dict[str, int]:
    """What the store has of what is listed here, by name with the bytes, as it says now; noted in these hands.

    A guard asks for a few seconds, and not again at once.
    """
    silent = action.silent
    if silent and silent.has(action.directory):
        raise OutOfReach(
            f"the object store of {action.store.to} did not answer just now", hint="it is asked again later"
        )
    longest = LONGEST if silent else 0
    try:
        sizes: dict[str, int] = called(
            hands, action, "maintd.remote:ask", action.directory, longest=longest, **_given(action)
        )
    except OutOfReach:
        if silent:
            silent.note(action.directory)
        raise
    hands.listings[action.directory] = time.monotonic(), sizes
    return sizes


@dataclass(frozen=True, kw_only=True)
class ConfirmStored(Action):
    """Sees that the store has the object `stored`, of `size` bytes, before the file that it is of is given up.

    It goes by the list that the store gave a minute ago at most. `directory` is the private one for it, `silent` as
    when it is asked.
    """

    verb: ClassVar[str] = "confirm"
    failure: ClassVar[type[Failure]] = ArchiveFailed

    store: Store
    directory: str
    stored: str
    size: int
    silent: Silent | None = None

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        at, sizes = hands.listings.get(self.directory, (-math.inf, {}))
        if time.monotonic() - at > _FRESH:
            sizes = asked(hands, self)
        found = sizes.get(self.stored)
        if found != self.size:
            there = "is not there any more" if found is None else f"has {found} bytes there, and not {self.size}"
            raise Refused(
                f"{names.printable(self.stored)} {there}: what is here may be the only copy, and stays",
                hint="its job stores it anew at its next run; look at rules by which the store expires objects",
            )
        yield from ()


@dataclass(frozen=True, kw_only=True)
class StoreObject(PutAway):
    """Uploads one file, reads it back, lists it, and removes the file. `directory` is the private one for the store."""

    verb: ClassVar[str] = "archive"

    store: Store
    directory: str

    @property
    def detail(self) -> str:
        return f"{self.store.to.rstrip('/')}/{self.stored}"

    @property
    def common_place(self) -> str:
        return self.store.to

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        request = self.request(self.directory)
        folder = dirname(self.target)
        within = trust.confinement([folder, self.directory], self.seen) or alone(folder, self.directory)
        made = called(
            hands,
            self,
            "maintd.remote:store_object",
            self.directory,
            within,
            store=self.store.fields(),
            request=request,
        )
        yield from self.archived(made)


@dataclass(frozen=True, kw_only=True)
class UploadManifest(Action):
    """Stores the manifest, so that another machine finds what lies there; whatever became of the uploads before it."""

    verb: ClassVar[str] = "list"
    failure: ClassVar[type[Failure]] = ArchiveFailed

    store: Store
    directory: str

    @property
    def common_place(self) -> str:
        return self.store.to

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        size = called(hands, self, "maintd.remote:upload_manifest", self.directory, **_given(self))
        if size is not None:
            yield ManifestUploaded(target=self.target, out_bytes=size)
