"""Putting files away into an object store: one look whether it can be reached, the uploads, then the manifest."""

from collections.abc import Iterator
from dataclasses import dataclass
from os.path import dirname
from typing import Any, ClassVar

from maintd import durable, grounds, trust
from maintd.actions.archive import ArchiveFailed, FileArchived, PutAway
from maintd.actions.hands import Hands
from maintd.confinement import Confinement
from maintd.events import Event, Failure
from maintd.steps import Action
from maintd.stores import Store


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


def _given(action: "ReachStore | UploadManifest") -> dict[str, Any]:
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
class ConfirmStored(Action):
    """Asks the store whether it has the object `stored`, of `size` bytes, before the file that it is of is given up.

    `directory` is the private one for it.
    """

    verb: ClassVar[str] = "confirm"
    failure: ClassVar[type[Failure]] = ArchiveFailed

    store: Store
    directory: str
    stored: str
    size: int

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        given: dict[str, Any] = {"store": self.store.fields(), "name": self.stored, "size": self.size}
        called(hands, self, "maintd.remote:require_stored", self.directory, **given)
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
        yield FileArchived(
            target=self.target,
            archived_to=self.detail,
            codec=self.codec,
            in_bytes=made["in_bytes"],
            out_bytes=made["out_bytes"],
            sha256=made["sha256"],
            reason=self.reason,
        )


@dataclass(frozen=True, kw_only=True)
class UploadManifest(Action):
    """Stores the manifest, so that another machine finds what lies there; whatever became of the uploads before it."""

    verb: ClassVar[str] = "list"
    failure: ClassVar[type[Failure]] = ArchiveFailed

    store: Store
    directory: str

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        size = called(hands, self, "maintd.remote:upload_manifest", self.directory, **_given(self))
        if size is not None:
            yield ManifestUploaded(target=self.target, out_bytes=size)
