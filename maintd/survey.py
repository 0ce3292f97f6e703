"""What a set consists of now, as a child finds it: of thousands of files the resident process needs only the number."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from maintd import replies
from maintd.child import Worker
from maintd.folded import Folded
from maintd.headers import Header
from maintd.own_files import OwnFiles
from maintd.patterns import Miss
from maintd.snapshots import Snapshot
from maintd.sources import Database
from maintd.steps import Seen
from maintd.stores import Repository, Store
from maintd.values import dataclass


@dataclass(frozen=True)
class Survey:
    """The sources of a set.

    `having` are the options of which there is anything, `strange` files that should be databases and are none,
    `lacking` what counts as missing, `misses` what is told besides. `half` is another set that is half restored in
    place with one of these files, and of which snapshot; `unread` says why that is not known.
    """

    databases: tuple[Database, ...]
    files: Folded
    having: tuple[str, ...]
    strange: tuple[str, ...]
    lacking: tuple[Miss, ...]
    misses: tuple[Miss, ...]
    half: tuple[str, str] | None = None
    unread: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.databases or self.files.files)

    def fields(self) -> dict[str, Any]:
        """What crosses a pipe."""
        misses = {name: [_written(miss) for miss in getattr(self, name)] for name in ("lacking", "misses")}
        return vars(self) | misses | {"databases": [asdict(one) for one in self.databases], "files": vars(self.files)}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        databases = [Database(Seen(**one["seen"]), Header(**one["header"])) for one in fields["databases"]]
        misses = {name: tuple(map(_read, fields[name])) for name in ("lacking", "misses")}
        known = {
            "databases": tuple(databases),
            "files": Folded(**fields["files"]),
            "strange": tuple(fields["strange"]),
            "having": tuple(fields["having"]),
        }
        return cls(**{**fields, **misses, **known, "half": tuple(fields["half"]) if fields["half"] else None})


@dataclass(frozen=True)
class Request:
    """What the child is asked: what these options of a job name, but for what is maintd's `own`, or lies below `apart`.

    `last` is the last sound snapshot of the set `of`, "" if there is none, in the `store` or the
    `repository`. With `tells_all` what is
    passed over is answered too, and else what keeps the job from its work.
    """

    databases: tuple[str, ...]
    files: tuple[str, ...]
    exclude: tuple[str, ...]
    own: OwnFiles
    apart: str
    of: str
    last: str
    store: Store
    repository: Repository | None
    state_dir: str
    tells_all: bool

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        own = OwnFiles(**{name: tuple(paths) for name, paths in fields["own"].items()})
        repository = Repository(**fields["repository"]) if fields["repository"] else None
        return cls(**{**fields, "own": own, "store": Store.of(fields["store"]), "repository": repository})


def asked(worker: Worker, request: Request) -> Survey:
    """Asks a child. Raises OSError, MaintdError."""
    return Survey.of(worker.call("maintd.surveying:survey", {"request": asdict(request)}))


def last_sound(there: Sequence[Snapshot]) -> str:
    """The path of the last snapshot that is verified; "" if there is none."""
    return next((one.path for one in reversed(there) if one.is_verified), "")


def _written(miss: Miss) -> dict[str, Any]:
    return vars(miss) | {"error": replies.described(miss.error) if miss.error else None}


def _read(fields: Mapping[str, Any]) -> Miss:
    error = replies.raised_again(fields["error"]) if fields["error"] else None
    return Miss(**{**fields, "error": error})
