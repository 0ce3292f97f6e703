"""How the archives of one log are called, and what becomes of each when it is rotated: pure functions of names.

The rules were found by running logrotate -f on trees of files. A generation is numbered (app.log.1, the youngest, to
app.log.7) or dated (app.log-20261124). Only names that logrotate itself would give are looked at; they are compared
literally, also where logrotate takes a `*` in them for a pattern.
"""

import itertools
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import field
from datetime import datetime

from maintd.logrotate.due import is_older
from maintd.logrotate.stamps import Order, Stamps
from maintd.logrotate.stamps import stamps as of_stanza
from maintd.logrotate.stanza import Options
from maintd.values import dataclass

_NUMBER = re.compile(r"\.(0|[1-9][0-9]*)")

Move = tuple[str, str]
"""Old name, new name."""


@dataclass(frozen=True)
class Removal:
    """An archive that goes, with its reason: before the log is rotated (`is_early`), or when all else is done.

    What `is_replaced` by another goes without preremove and without mail: logrotate just writes over it.
    """

    name: str
    reason: str
    is_early: bool = True
    is_replaced: bool = False


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What one rotation does to the names in the directory of the archives, in the order of the fields.

    Of the removals the early ones come before the shifts. If it `is_blocked`, the log stays, and so does what would be
    removed late; what comes before that is done all the same, as logrotate does.
    """

    backups: tuple[Move, ...] = ()
    """What stands where a file is to be made, and is set aside under a name that nothing looks at."""
    compressions: tuple[Move, ...] = ()
    """What an earlier rotation left uncompressed (delaycompress)."""
    shifts: tuple[Move, ...] = ()
    target: str | None = None
    """What the log becomes; None with `rotate 0` and a copy that would go at once, which is not made then."""
    called: str = ""
    """The target as scripts are told of it, also if it is not made."""
    compressed: str | None = None
    """What the target becomes, if it is compressed at once."""
    removals: tuple[Removal, ...] = ()
    is_blocked: str | None = None
    """Why the log cannot be rotated."""


@dataclass(frozen=True)
class _Naming:
    """An archive is called stem, generation, end and, if archives are compressed, suffix."""

    stem: str
    end: str
    suffix: str

    def plain(self, generation: int | str) -> str:
        mark = f".{generation}" if isinstance(generation, int) else generation
        return self.stem + mark + self.end

    def final(self, generation: int | str) -> str:
        return self.plain(generation) + self.suffix

    def mark(self, name: str, *, suffix: str) -> str | None:
        """What stands for the generation in the name of an archive with this suffix; None in any other name."""
        end = self.end + suffix
        if len(name) < len(self.stem) + len(end) or not (name.startswith(self.stem) and name.endswith(end)):
            return None
        return name[len(self.stem) : len(name) - len(end)]


@dataclass
class _Draft:
    """A rotation while it is made up: the names that there would be so far, each with its mtime in nanoseconds."""

    files: dict[str, int]
    now: datetime
    backups: list[Move] = field(default_factory=list)
    compressions: list[Move] = field(default_factory=list)
    shifts: list[Move] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)

    def set_aside(self, name: str) -> None:
        self._move(self.backups, name, backup(name, self.files, self.now))

    def compress(self, name: str, suffix: str) -> None:
        if name + suffix in self.files:
            self.set_aside(name + suffix)
        self._move(self.compressions, name, name + suffix)

    def shift(self, name: str, new: str) -> None:
        self._move(self.shifts, name, new)

    def remove(self, name: str, reason: str, *, is_replaced: bool = False) -> None:
        self.removals.append(Removal(name, reason, is_replaced=is_replaced))
        del self.files[name]

    def remove_late(self, name: str, reason: str) -> None:
        self.removals.append(Removal(name, reason, is_early=False))

    def _move(self, moves: list[Move], name: str, new: str) -> None:
        moves.append((name, new))
        self.files[new] = self.files.pop(name)


def backup(name: str, taken: Container[str], now: datetime) -> str:
    """The name under which a file is set aside that is in the way, as logrotate gives it; nothing looks at such."""
    made = f"{name}-{now:%Y%m%d%H}.backup"
    return next(
        free for count in itertools.count(1) if (free := made if count == 1 else f"{made}.{count}") not in taken
    )


def archive_directory(log: str, options: Options) -> str:
    """The directory of the archives of the log with this path; of a relative one as logrotate writes it."""
    folder = os.path.dirname(log) or "."
    if options.olddir is None:
        return folder
    joined = os.path.join(folder, options.olddir)
    return ("./" if joined.startswith("./") else "") + os.path.normpath(joined)


def stem(log: str, options: Options) -> str:
    """What the names of all archives of this log begin with; `log` is a path or a name."""
    return _naming(log, options).stem


def is_archive(name: str, log: str, options: Options, now: datetime) -> bool:
    """Whether a name is one that archives of this log get, compressed or not."""
    naming, stamps = _naming(log, options), of_stanza(options, now)
    marks = [mark for suffix in ("", naming.suffix) if (mark := naming.mark(name, suffix=suffix)) is not None]
    is_one = stamps.order if options.dateext else _NUMBER.fullmatch
    return any(is_one(mark) is not None for mark in marks)


def plan(log: str, archives: Mapping[str, int], options: Options, now: datetime) -> Rotation:
    """What rotating a log, given by its path or name, does to the names in its `archive_directory`.

    `archives` are these with their mtimes in nanoseconds; those that begin with `stem` are enough. `now` is local time.
    """
    name = os.path.basename(log)
    draft = _Draft({other: mtime for other, mtime in archives.items() if other != name}, now)
    naming = _naming(name, options)
    generation = _dated(draft, naming, options) if options.dateext else _numbered(draft, naming, options)
    return _finished(draft, naming, options, generation)


def _naming(log: str, options: Options) -> _Naming:
    """Of extension and addextension, the latter counts first, if the name of the log ends with it."""
    name = os.path.basename(log)
    suffix = options.compressext if options.compress else ""
    for end in (options.addextension, options.extension):
        if end and name.endswith(end):
            return _Naming(name[: -len(end)], end, suffix)
    return _Naming(name, options.addextension or "", suffix)


def _finished(draft: _Draft, naming: _Naming, options: Options, generation: int | str) -> Rotation:
    target, final = naming.plain(generation), naming.final(generation)
    is_compressed = bool(naming.suffix) and not options.delaycompress
    makes_archive = options.rotate != 0 or _goes_at_once(options)
    blocked = _blocked(draft, naming, generation)
    if is_compressed and target in draft.files and makes_archive and not blocked:
        if _goes_at_once(options):
            draft.remove(target, "the log takes its name, and goes at once (rotate is 0)", is_replaced=True)
        else:
            draft.set_aside(target)  # as logrotate does with copytruncate; else it writes over what a crash left there
    if _goes_at_once(options):
        draft.remove_late(final if is_compressed else target, "rotate is 0")
    return Rotation(
        backups=tuple(draft.backups),
        compressions=tuple(draft.compressions),
        shifts=tuple(draft.shifts),
        target=target if makes_archive else None,
        called=target,
        compressed=final if is_compressed and makes_archive else None,
        removals=tuple(removal for removal in draft.removals if removal.is_early or not blocked),
        is_blocked=blocked,
    )


def _goes_at_once(options: Options) -> bool:
    """Whether the new archive is the one to go, and not one before it."""
    return options.rotate == 0 and not (options.copy or options.copytruncate)


def _blocked(draft: _Draft, naming: _Naming, generation: int | str) -> str | None:
    if isinstance(generation, int):
        return None
    if not generation or "/" in generation:
        return f"with the date {generation!r} there is no name for an archive"
    name = naming.final(generation)
    return f"destination {name} already exists" if name in draft.files else None


def _numbered(draft: _Draft, naming: _Naming, options: Options) -> int:
    """Frees the number of the youngest generation, which is returned: each goes a number up, from the oldest on."""
    start, last = options.start, options.start + max(options.rotate, 1) - 1
    if naming.suffix and options.delaycompress and naming.plain(start) in draft.files:
        draft.compress(naming.plain(start), naming.suffix)
    numbers = [number for number in _numbers(draft.files, naming) if number >= start]
    for number in sorted(numbers, reverse=True):
        name, older = naming.final(number), naming.final(number + 1)
        if options.rotate >= 0 and number > last:
            continue
        if _is_aged(draft, name, options):
            draft.remove(name, f"it is older than maxage, {options.criteria.maxage} days")
            continue
        if older in draft.files:
            draft.remove(older, f"the next generation takes its name, rotate is {options.rotate}", is_replaced=True)
        draft.shift(name, older)
    beyond = naming.final(last + 1)
    if options.rotate >= 0 and beyond in draft.files and not _goes_at_once(options):
        draft.remove_late(beyond, f"generation {last + 2 - start}, rotate is {options.rotate}")
    return start


def _numbers(names: Iterable[str], naming: _Naming) -> Iterator[int]:
    for name in names:
        match = _NUMBER.fullmatch(naming.mark(name, suffix=naming.suffix) or "")
        if match:
            yield int(match[1])


def _dated(draft: _Draft, naming: _Naming, options: Options) -> str:
    """Removes what is too old or too many, and returns the date of the new generation.

    The last one to go waits until the log is rotated. If the new one goes at once, that one stays to the next time.
    """
    stamps = of_stanza(options, draft.now)
    if naming.suffix and options.delaycompress:
        for name in _in_order(draft.files, naming, stamps, suffix=""):
            draft.compress(name, naming.suffix)
    there = _in_order(draft.files, naming, stamps, suffix=naming.suffix)
    surplus = len(there) - max(options.rotate, 1) + 1 if options.rotate >= 0 else 0
    going: list[Removal] = []
    for index, name in enumerate(there):
        if index < surplus:
            going.append(Removal(name, f"generation {len(there) - index + 1}, rotate is {options.rotate}"))
        elif _is_aged(draft, name, options):
            going.append(Removal(name, f"it is older than maxage, {options.criteria.maxage} days"))
    for removal in going[:-1]:
        draft.remove(removal.name, removal.reason)
    if going and not _goes_at_once(options):
        draft.remove_late(going[-1].name, going[-1].reason)
    return stamps.now


def _in_order(names: Iterable[str], naming: _Naming, stamps: Stamps, *, suffix: str) -> list[str]:
    """The dated archives with this suffix, oldest first; those of one time in order of their names."""
    found: list[tuple[Order, bytes, str]] = []
    for name in names:
        mark = naming.mark(name, suffix=suffix)
        order = stamps.order(mark) if mark is not None else None
        if order is not None:
            found.append((order, os.fsencode(name), name))
    return [name for *_, name in sorted(found)]


def _is_aged(draft: _Draft, name: str, options: Options) -> bool:
    maxage = options.criteria.maxage
    return maxage > 0 and is_older(draft.files[name], maxage, draft.now)
