"""What `maintd restore` was ordered to bring: of which snapshots, which of their files, and with what."""

import os
from collections.abc import Callable, Sequence

from maintd import names
from maintd.at_hand import brought
from maintd.cli import output
from maintd.cli.invocation import Invocation
from maintd.cli.sets import place, place_of
from maintd.cli.showing import Message
from maintd.config import Config, load
from maintd.errors import MaintdError, Refused
from maintd.manifest import Entry
from maintd.matching import is_match
from maintd.names import printable
from maintd.snapshots import Snapshot
from maintd.stores import Repository, Store
from maintd.values import dataclass


@dataclass(frozen=True)
class Order:
    """What was ordered."""

    called: Invocation
    set_name: str
    stamp: str
    only: tuple[str, ...]
    place: str | None
    identity: str | None
    scratch: str | None
    show: Callable[[Message], None]

    def entries(self, found: Snapshot) -> list[Entry]:
        """What is wanted of a snapshot. MaintdError if that is nothing."""
        assert found.manifest is not None
        entries = [entry for entry in found.manifest.entries if _is_wanted(entry, self.only)]
        if not entries:
            raise MaintdError(
                f"{found.label} has nothing of {', '.join(self.only)}",
                hint="give paths as they were when it was taken; its manifest.json, or restic ls, lists them",
            )
        return entries

    def brought(self, default: str) -> str:
        """The directory, not there yet, for what is brought from elsewhere."""
        return default if self.scratch is None else brought(os.path.realpath(self.scratch), self.set_name)

    def store(self, config: Config | None) -> Store | Repository:
        """Where the snapshot is."""
        if self.place:
            return place_of(self.place)
        return place(config or load(self.called.config), self.set_name)


def _is_wanted(entry: Entry, only: Sequence[str]) -> bool:
    return not only or any(_is_named(entry, given) for given in only)


def _is_named(entry: Entry, given: str) -> bool:
    """By its path; or as its manifest has it, which is how the output of a command is called."""
    path = os.path.abspath(given)
    if entry.kind == "output":
        return given.rstrip("/") in (entry.path, entry.name, os.path.dirname(entry.name))
    return f"{entry.path}/".startswith(f"{path}/") or is_match(entry.path, path)


def placeable(order: Order, found: Snapshot) -> list[Entry]:
    """What is wanted and has a place; the outputs of commands, which have none, are told. Refused if that is all."""
    wanted = order.entries(found)
    outputs = [entry for entry in wanted if entry.kind == "output"]
    entries = [entry for entry in wanted if entry.kind != "output"]
    told = names.enumerated([printable(entry.path) for entry in outputs])
    if not entries:
        of = f"what --only names in {found.label}" if order.only else f"all that {found.label} has"
        raise Refused(f"{of} is output of commands, which has no place: {told}", hint=_elsewhere(order, found, outputs))
    if outputs:
        hint = _elsewhere(order, found, outputs)
        output.complain(f"maintd: not restored, as commands have put it out: {told}; {hint}")
    return entries


def _elsewhere(order: Order, found: Snapshot, outputs: Sequence[Entry]) -> str:
    """How outputs are restored: one by its name, several by the directory that the snapshot has them in."""
    only = outputs[0].path if len(outputs) == 1 else f"{os.path.dirname(outputs[0].name)}/"
    place = f" --in {printable(order.place)}" if order.place else ""
    return f"restore it into a directory: maintd restore {found.label}{place} --only {printable(only)} --to DIR"
