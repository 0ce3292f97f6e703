"""Taking back what a manifest says of objects that an archive has lost, while their files are still here."""

from collections.abc import Iterator
from typing import ClassVar

from maintd import dropping, inventory, trust
from maintd.actions.archive import ArchiveFailed
from maintd.actions.hands import Hands
from maintd.events import Event, Failure
from maintd.steps import Action
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class ObjectLost(Event):
    """An object of an archive is gone or damaged; what is still here of its files is stored anew."""

    name: ClassVar[str] = "object.lost"
    level: ClassVar[str] = "warning"

    reason: str

    @property
    def msg(self) -> str:
        return f"lost from the archive: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Disown(Action):
    """Takes the lines of the object `stored` off the manifest in `root`: those of `members`, whose files are here.

    If it `is_spoilt` its name is not given again, and what lies there stays. If it `is_noted`, `root` is the private
    directory of a store, and has a note of what that has lost. `at` is when, as RFC 3339.
    """

    verb: ClassVar[str] = "disown"
    failure: ClassVar[type[Failure]] = ArchiveFailed

    root: str
    stored: str
    members: tuple[str, ...]
    is_spoilt: bool
    is_noted: bool
    at: str

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        said: dict[str, str | bool] = {"why": self.reason, "at": self.at}
        said |= {"spoilt": True} if self.is_spoilt else {}
        lines = b"".join(inventory.void_line(self.stored, member, **said) for member in self.members).decode()
        noted = self.stored if self.is_noted else None
        hands.work(dropping.disown, trust.confinement([self.root]), root=self.root, lines=lines, noted=noted)
        yield ObjectLost(target=self.target, reason=self.reason)
