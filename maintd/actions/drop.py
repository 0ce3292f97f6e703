"""Removing what a policy gives up of an archive: the object, then its lines of the manifest."""

from collections.abc import Iterator
from dataclasses import asdict
from os.path import dirname
from typing import ClassVar

from maintd import dropping, inventory, trust
from maintd.actions.delete import ExpireFailed
from maintd.actions.expire import FileExpired
from maintd.actions.hands import Hands
from maintd.actions.upload import called
from maintd.events import Event, Failure
from maintd.steps import Action, Seen
from maintd.stores import Store
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class DropObject(Action):
    """Removes the object `stored` from the archive `root`, a directory; `seen` is None if it is gone already.

    `members` are what is listed of it: the files of a bundle, or "" for the object itself. `at` is when (RFC 3339), and
    `size` how large it was.
    """

    verb: ClassVar[str] = "drop"
    failure: ClassVar[type[Failure]] = ExpireFailed

    root: str
    stored: str
    members: tuple[str, ...]
    seen: Seen | None
    size: int
    at: str

    @property
    def in_bytes(self) -> int:
        return self.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        self._drop(hands)
        yield FileExpired(target=self.target, reason=self.reason, freed_bytes=self.size)

    def _drop(self, hands: Hands) -> None:
        within = trust.confinement([dirname(self.target), self.root], self.seen)
        seen = asdict(self.seen) if self.seen else None
        hands.work(dropping.drop, within, root=self.root, lines=self._lines(), seen=seen)

    def _lines(self) -> str:
        said = {"why": self.reason, "at": self.at}
        return b"".join(inventory.void_line(self.stored, member, **said) for member in self.members).decode()


@dataclass(frozen=True, kw_only=True)
class DropStored(DropObject):
    """The same in an object store; `root` is the private directory for it."""

    store: Store

    def _drop(self, hands: Hands) -> None:
        called(
            hands,
            self,
            "maintd.dropping:drop_object",
            self.root,
            store=self.store.fields(),
            root=self.root,
            name=self.stored,
            lines=self._lines(),
        )
