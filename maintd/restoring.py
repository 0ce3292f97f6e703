"""A restore in place, deed by deed: everything is made ready first, then switched, and put back whole if it fails."""

import os
import stat as st
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import field, replace
from functools import partial
from itertools import count
from typing import Any, Literal

from maintd import asides, capabilities, headers, in_use, names, swapping, undone
from maintd.asides import Aside, Item
from maintd.child import Worker
from maintd.confinement import Confinement
from maintd.errors import Denied, MaintdError, Refused
from maintd.manifest import Entry
from maintd.names import printable
from maintd.snapshots import Snapshot
from maintd.supervisor import Supervisor
from maintd.units import counted, format_size
from maintd.values import dataclass

_STOPPED = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
_PATIENCE = 120.0
"""Seconds in which a program must have stopped, or have come up (startsecs and all)."""
_POLL = 0.1
_CHECK = 300.0
"""Seconds that a check, or an invariant, may take."""
Told = Callable[[int], None]


@dataclass(frozen=True)
class Deed:
    """One part of a restore: shown by `--plan`, done by `run`, which gets whom to tell how many bytes are done."""

    verb: str
    target: str
    reason: str
    run: Callable[[Told], object] = field(repr=False, compare=False)
    in_bytes: int | None = None


@dataclass
class Places:
    """What maintd works with: its state, supervisord, the child. `doubts` is what a person is to be told."""

    state_dir: str
    supervisor: Supervisor
    worker: Worker
    doubts: list[str] = field(default_factory=list)

    def state(self, program: str) -> str:
        """As supervisord has it. What it does not know does not run: nobody may have a file open in any case."""
        try:
            return self.supervisor.state(program)
        except Denied:
            self.doubts.append(f"supervisord knows no program {program}, which the set names: it counts as stopped")
            return "UNKNOWN"

    def start(self, program: str) -> None:
        """Starts one that ran before."""
        try:
            start(self.supervisor, program)
        except Denied as error:
            self.doubts.append(f"{program} ran before, and was not started: {error}")


def within(entry: Entry, directory: str) -> Confinement | None:
    """How a restored database is opened in that directory: by root fenced, and as its owner if the directory is his.

    Otherwise as root: he may not be able to enter it, as one that maintd has made for itself.
    """
    if os.geteuid() != 0:
        return None
    info = os.stat(directory)
    is_his = info.st_uid == entry.uid != 0 and info.st_mode & st.S_IRWXU == st.S_IRWXU
    uid = entry.uid if is_his and capabilities.may_become_others() else None
    return Confinement(((directory, info.st_dev, info.st_ino),), uid, entry.gid if uid else None)


def to_prove(entry: Entry, path: str) -> dict[str, Any]:
    """What livedb.prove is asked of a restored database."""
    return {"where": _where(path), "promised": entry.database or {}}


def to_hold(path: str, invariants: Sequence[str], temporaries: str = "") -> dict[str, Any]:
    """What livedb.hold is asked of it; `temporaries` is a directory of our own for what SQLite sorts."""
    where = _where(path) | {"temporaries": temporaries}
    return {"where": where, "invariants": list(invariants), "seconds": _CHECK}


def _where(path: str) -> dict[str, str]:
    directory, name = os.path.split(path)
    return {"directory": directory, "name": name}


def prove(worker: Worker, entry: Entry, path: str, invariants: Sequence[str]) -> str:
    """Opens a restored database, checks it, and compares it with its manifest. Raises MaintdError.

    Returns what is told of an invariant that does not hold by now, "" if all do: the database is as it was taken.
    """
    fence = within(entry, os.path.dirname(path))
    try:
        worker.call("maintd.livedb:prove", to_prove(entry, path), within=fence)
    except MaintdError as error:
        raise type(error)(f"{printable(entry.path)}: {error}", hint=error.hint) from error
    try:
        worker.call("maintd.livedb:hold", to_hold(path, invariants), within=fence)
    except MaintdError as error:
        return f"{printable(entry.path)} is as it was taken, but: {error}"
    return ""


def unpack(
    worker: Worker,
    snapshot: str,
    targets: Sequence[tuple[str, str]],
    told: Told,
    *,
    within: Confinement | None = None,
    **options: Any,
) -> None:
    """Writes files of a snapshot to these paths; see unpacking.Request."""
    request = {"snapshot": snapshot, "targets": list(targets)} | options
    worker.call("maintd.unpacking:unpack", {"request": request}, within=within, progress=told)


def verify(worker: Worker, snapshot: str, packs: Sequence[str] | None, told: Told) -> None:
    """Compares a snapshot's files with its checksums, of its packs these, or all."""
    arguments = {"snapshot": snapshot, "packs": None if packs is None else list(packs)}
    worker.call("maintd.unpacking:verify", arguments, progress=told)


class InPlace:
    """The restore of some files of a snapshot to where they were; `packs` are those that are here, None is all."""

    packs: Sequence[str] | None = None

    def __init__(self, snapshot: Snapshot, entries: Sequence[Entry], places: Places, identity: str | None) -> None:
        assert snapshot.manifest is not None
        self.snapshot, self.manifest, self.entries = snapshot, snapshot.manifest, tuple(entries)
        self._places, self._identity = places, identity
        self._stamp = str(snapshot.name).removeprefix(f"{snapshot.name.log}.")
        self.programs: tuple[str, ...] = ()
        self._folder = ""
        self._aside: Aside | None = None
        self._left: dict[str, list[Item]] = {}
        self.paused = ""
        self._noting = threading.Lock()

    def deeds(self) -> Iterator[Deed]:
        """All of it, in order. Programs stand still from the moment on when everything is ready beside its place."""
        path = self.snapshot.path
        running = {program: self._places.state(program) for program in self.manifest.programs}
        self.programs = tuple(program for program, state in running.items() if state not in _STOPPED)
        self._places.doubts += self._made_anyhow()
        yield Deed("verify", path, "every file of the snapshot is compared with its checksum", self._verify)
        yield Deed("note", self._places.state_dir, "so that what is cut off can be put back", self._note)
        size = sum(entry.size for entry in self.entries)
        files = counted(len(self.entries), "file")
        yield Deed("unpack", path, f"{files}, {format_size(size)}, each beside its place", self._unpack, size)
        for entry in self.entries:
            if entry.kind == "sqlite":
                why = "integrity_check, invariants, and as its manifest says"
                yield Deed("check", entry.path, why, partial(self._prove, entry))
        for program in self.programs:
            why = f"it is {running[program]}, and the set names it"
            yield Deed("stop", program, why, partial(self._stop, program))
        yield Deed("look", path, "nobody may have what is there open", self._arm)
        for entry in self.entries:
            there = "what is there is kept aside" if os.path.lexists(entry.path) else "nothing is there"
            yield Deed("replace", entry.path, there, partial(self._replace, entry))
        for program in self.programs:
            yield Deed("start", program, "it ran before", partial(self._start, program))
        for argv in self.manifest.checks:
            yield Deed("run", argv[0], "a check of the set", partial(self._check, argv))
        yield Deed("keep", path, "it can be undone: maintd restore --undo", self._done)

    def _made_anyhow(self) -> Iterator[str]:
        """What is told of directories that are missing, and of which an older snapshot does not say how they were."""
        for path in sorted({os.path.dirname(entry.path) for entry in self.entries}):
            if path not in self.manifest.directories and not os.path.lexists(path):
                yield f"{printable(path)} is missing, and the snapshot does not say whose it was: it is made with 0755"

    def put_back(self) -> list[str]:
        """After a failure: the state of before, byte for byte, and the programs as they were. Raises what fails."""
        with self._noting:
            kept = back(self._aside, self._places, keep=False) if self._aside else []
            self._aside = None
        return kept

    def paused_until(self, until: str) -> None:
        """The daemon is paused for it until then; the note, if there is one by now, says so."""
        with self._noting:
            self.paused = until
            if self._aside is not None:
                self._aside = replace(self._aside, paused=until)
                self._aside.write(self._places.state_dir)

    def _in_phase(self, phase: Literal["unpacking", "placing", "done"]) -> None:
        self._folder = self._folder or self._free_folder()
        items = self._noted.items if phase == "done" else self._items()
        with self._noting:
            aside = Aside(self.manifest.set, self.snapshot.label, phase, items, self.programs, self.paused)
            aside.write(self._places.state_dir)
            self._aside = aside

    def _items(self) -> tuple[Item, ...]:
        taken = {entry.path for entry in self.entries}
        return tuple(_item(entry, self._folder, taken) for entry in self.entries)

    def _free_folder(self) -> str:
        """A name for the aside directories that is free beside every file: an undone restore may have left its own."""
        places = {os.path.dirname(entry.path) for entry in self.entries}
        base = f".{self.manifest.set}.{self._stamp}"
        tried = (f"{base}{f'-{n}' if n else ''}{names.ASIDE}" for n in count())
        return next(name for name in tried if not any(os.path.lexists(os.path.join(at, name)) for at in places))

    @property
    def _noted(self) -> Aside:
        assert self._aside is not None
        return self._aside

    def _verify(self, told: Told) -> None:
        verify(self._places.worker, self.snapshot.path, self.packs, told)

    def _note(self, _: Told) -> None:
        self._in_phase("unpacking")

    def _done(self, _: Told) -> None:
        self._in_phase("done")

    def _stop(self, program: str, _: Told) -> None:
        stop(self._places.supervisor, program)

    def _start(self, program: str, _: Told) -> None:
        start(self._places.supervisor, program)

    def _unpack(self, told: Told) -> None:
        targets = [(entry.name, _fresh(entry)) for entry in self.entries]
        unpack(self._places.worker, self.snapshot.path, targets, told, identity=self._identity, private=False)

    def _prove(self, entry: Entry, _: Told) -> None:
        doubt = prove(self._places.worker, entry, _fresh(entry), self.manifest.invariants.get(entry.path, ()))
        self._places.doubts += filter(None, [doubt])

    def _arm(self, _: Told) -> None:
        in_use.require_unused(self._noted.items)
        self._in_phase("placing")
        swapping.prepare(self._noted.items)
        self._left = swapping.by_directory(self._noted.items)

    def _replace(self, entry: Entry, _: Told) -> None:
        """With the first file of a directory all that are there: services do not wait for the disk with each."""
        if items := self._left.pop(os.path.dirname(entry.path), None):
            swapping.put_in_place(items)

    def _check(self, argv: Sequence[str], _: Told) -> None:
        arguments = {"argv": list(argv), "limit": _CHECK, "user": None}
        with Worker(background=False) as worker:
            answer = worker.call("maintd.commands:run", arguments)
        if answer["status"] != 0:
            raise MaintdError(f"the check {argv[0]} ended with {answer['status']}: {answer['output']}")


def back(aside: Aside, places: Places, *, keep: bool) -> list[str]:
    """Puts everything back as it was before a restore in place; returns the directories that still hold something.

    Refused, before anything is moved, if not all of that is still aside.
    """
    if lost := [printable(path) for path in swapping.lost(aside)]:
        raise Refused(
            f"nothing was put back: what was there before is not aside any more: {names.enumerated(lost)}",
            hint=f"bring it back into the directory …{names.ASIDE} beside it; or leave what was restored in place, and "
            f"delete the rest: maintd restore {aside.set} --forget",
        )
    if aside.phase != "unpacking":
        for program in aside.programs:
            if places.state(program) not in _STOPPED:
                stop(places.supervisor, program)
        in_use.require_unused(aside.items)
    for items in swapping.by_directory(aside.items).values():
        if aside.phase != "unpacking" or swapping.may_be_entered(items[0]):  # nothing was moved, whatever is there now
            swapping.put_back(items, keep=keep)
    kept = swapping.remove_empty(aside.items)
    for program in aside.programs:
        places.start(program)
    if kept:
        undone.add(places.state_dir, aside.set, kept)
    aside.forget(places.state_dir)
    return kept


def _fresh(entry: Entry) -> str:
    """Beside its place; SQLite adds to the name of a database."""
    return names.temporary_beside(entry.path, names.LONGEST - max(map(len, headers.BESIDE)))


def _item(entry: Entry, folder: str, taken: Collection[str]) -> Item:
    return Item(
        path=entry.path,
        fresh=_fresh(entry),
        aside=os.path.join(os.path.dirname(entry.path), folder),
        new=asides.inode_of(_fresh(entry)),
        old=asides.inode_of(entry.path),
        is_database=entry.kind == "sqlite",
        beside=asides.beside(entry.path, taken),
    )


def stop(supervisor: Supervisor, program: str) -> None:
    """Stops a program, and waits until it has."""
    supervisor.stop(program)
    _await(supervisor, program, lambda state: state in _STOPPED, "stop")


def start(supervisor: Supervisor, program: str) -> None:
    """Starts a program if it does not run, and waits until it does. Raises MaintdError if it does not come up."""
    if supervisor.state(program) in ("RUNNING", "STARTING"):
        return
    supervisor.start(program)
    _await(supervisor, program, lambda state: state == "RUNNING", "start")


def _await(supervisor: Supervisor, program: str, is_so: Callable[[str], bool], verb: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not is_so(state := supervisor.state(program)):
        if time.monotonic() > end or (verb == "start" and state in ("FATAL", "EXITED")):
            raise MaintdError(f"program {program} did not {verb}: it is {state}", hint="see its own log")
        time.sleep(_POLL)
