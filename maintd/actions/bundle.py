"""Putting files away together, as one bundle for a day or a month."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from os.path import basename, dirname, join
from typing import Any, ClassVar

from maintd import moves, names, trust, whereabouts
from maintd.actions.archive import ArchiveFailed, FileArchived
from maintd.actions.hands import Hands
from maintd.actions.upload import alone, called
from maintd.bundling import Wanted
from maintd.confinement import Confinement
from maintd.errors import MaintdError, NotYet, Refused
from maintd.events import Event, Failure
from maintd.steps import Action
from maintd.stores import Store
from maintd.units import counted, format_size
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class BundleStored(Event):
    """Files were put away into an archive as one bundle, a tar.zst; each of them has its own event. `left` were not."""

    name: ClassVar[str] = "bundle.stored"

    files: int
    left: int
    in_bytes: int
    out_bytes: int
    sha256: str

    @property
    def msg(self) -> str:
        left = f"; {counted(self.left, 'file')} left where they were" if self.left else ""
        sizes = f"{format_size(self.in_bytes)} as {format_size(self.out_bytes)}"
        return f"holds {counted(self.files, 'file')}, {sizes}{left}"


@dataclass(frozen=True, kw_only=True)
class ArchiveBundle(Action):
    """Puts files away as the bundle `stored` in the archive `root`, a directory. `at` is when, as RFC 3339.

    With `keeps` they also stay where they are. `private` is maintd's own directory for the archive.
    """

    verb: ClassVar[str] = "bundle"
    failure: ClassVar[type[Failure]] = ArchiveFailed

    root: str
    stored: str
    level: int | None
    at: str
    job: str
    keeps: bool
    private: str
    files: tuple[Wanted, ...]

    @property
    def detail(self) -> str:
        return f"{counted(len(self.files), 'file')}: {names.enumerated([file.seen.path for file in self.files])}"

    @property
    def in_bytes(self) -> int:
        return sum(file.seen.size for file in self.files)

    @property
    def common_place(self) -> str:
        return self.root

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        try:
            made = self._made(hands)
        except (Refused, NotYet):
            raise
        except MaintdError:
            self._tidy(hands)
            raise
        reasons = {file.seen.path: file.why for file in self.files}
        for file in made["files"]:
            yield FileArchived(
                target=file["path"],
                archived_to=self._where(),
                codec="zstd",
                in_bytes=file["size"],
                out_bytes=None,
                sha256=file["sha256"],
                reason=reasons[file["path"]],
            )
        left = made["failed"] | made["waiting"]
        if made["files"]:
            yield BundleStored(
                target=self._where(),
                files=len(made["files"]),
                left=len(left),
                in_bytes=sum(file["size"] for file in made["files"]),
                out_bytes=made["out_bytes"],
                sha256=made["sha256"],
            )
        if left:
            path, why = next(iter(left.items()))
            more = f"; and {counted(len(left) - 1, 'file')} more" if len(left) > 1 else ""
            kind = MaintdError if made["failed"] else NotYet
            raise kind(f"{names.printable(path)} was left where it is: {why}{more}")

    def _made(self, hands: Hands) -> dict[str, Any]:
        answer: dict[str, Any] = hands.call(
            "maintd.bundling:store_bundle", self, self._within(), request=self._request()
        )
        if answer["files"]:
            whereabouts.note(self.private)
        return answer

    def _where(self) -> str:
        return join(self.root, self.stored)

    def _request(self) -> dict[str, Any]:
        return {
            "root": self.root,
            "name": self.stored,
            "level": self.level,
            "at": self.at,
            "job": self.job,
            "keeps": self.keeps,
            "files": [asdict(file) for file in self.files],
        }

    def _folders(self) -> list[str]:
        return [*dict.fromkeys(dirname(file.seen.path) for file in self.files), self.root]

    def _within(self) -> Confinement | None:
        owners = {file.seen.uid for file in self.files}
        return trust.confinement(self._folders(), self.files[0].seen if len(owners) == 1 else None)

    def _tidy(self, hands: Hands) -> None:
        """Removes the temporary of a child that was killed."""
        path = join(self.root, names.temporary(basename(self.stored)))
        with suppress(OSError, MaintdError):
            hands.work(moves.tidy, trust.confinement([self.root]), path=path, beside=None)


@dataclass(frozen=True, kw_only=True)
class StoreBundle(ArchiveBundle):
    """The same for an object store; `root` is the private directory for it."""

    store: Store

    @property
    def common_place(self) -> str:
        return self.store.to

    def _made(self, hands: Hands) -> dict[str, Any]:
        within = self._within() or alone(*self._folders())
        made: dict[str, Any] = called(
            hands,
            self,
            "maintd.bundling:upload_bundle",
            self.root,
            within,
            request=self._request(),
            store=self.store.fields(),
        )
        return made

    def _where(self) -> str:
        return f"{self.store.to.rstrip('/')}/{self.stored}"
