"""Whether a user who exchanges names in its own directory can lead root, who works there, to anything else of root's.

For each name that matters a process of nobody's exchanges it with a lure, as fast as it can, while root does maintd's
actions one after the other: as they are; again without Landlock, by descriptors alone, as on an older kernel; and as
whole runs, planned each time. After each try it is looked whether anything has changed where nothing may. That the
lures are any good shows the same work done by paths, as one would write it: that has to be led out.
"""

import itertools
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from maintd import config, contexts, copies, durable, grounds, holders, inplace, intents, moves, trust
from maintd.actions.compress import Compress
from maintd.actions.delete import Clean, Expire
from maintd.actions.hands import Hands
from maintd.actions.inplace import FinishInPlace, RotateInPlace
from maintd.actions.rename import FinishRotation, MakeDirectory, SetAside
from maintd.child import Worker
from maintd.durable import Ownership
from maintd.errors import MaintdError
from maintd.steps import Action, Seen
from maintd.triggers import Asked
from tests.tree import NOBODY

from .lures import ARCHIVE, LOG, MADE, SWAPS, TEMPORARY, Arena, Swap, arena, swapping
from .table import Row, Skipped

NAME = "races"
LONG = True
TRIES, SWAPPED = 100_000, 1_000_000
BARE, SHIPPED, BARE_IN_PLACE, SHIPPED_IN_PLACE, RUNS = 0.9, 0.25, 0.01, 0.01, 0.01
"""Of the tries, with something over: where nobody's exchange was there first there is nothing to try."""
NAIVE = 5_000
ENOUGH = 20
"""Escapes of the naive variant that show enough of one lure."""

Try = Callable[[Arena, int], Action]
Way = Callable[[Action], None]


@dataclass
class Account:
    """How many tries were made, how many of them did their work, and how many changed what is not to be changed."""

    tries: int = 0
    done: int = 0
    swaps: int = 0
    escapes: Counter[str] = field(default_factory=Counter)


def run(share: float) -> Row:
    if os.geteuid() != 0:
        raise Skipped("root is who is to be misled: sudo .venv-dev/bin/python -m tests.faults races")
    holders.ignore_lease_breaks()  # as maintd does: what is tried here takes leases, too
    naive, real = Account(), Account()
    with arena() as made:
        for swap in SWAPS:
            _race(made, swap, naive, [by_paths], max(round(NAIVE * share), 100))
            _race(made, swap, naive, [by_paths], max(round(NAIVE * share / 50), 2), actions=IN_PLACE)
        with Worker(background=False) as quick, Hands(quick=quick) as hands:
            for swap in SWAPS:
                each = TRIES * share / len(SWAPS)
                _race(made, swap, real, [by_descriptors(quick)], max(round(each * BARE), 12))
                _race(made, swap, real, [as_shipped(hands)], max(round(each * SHIPPED), 12))
                _race(made, swap, real, [by_descriptors(quick)], max(round(each * BARE_IN_PLACE), 2), actions=IN_PLACE)
                _race(made, swap, real, [as_shipped(hands)], max(round(each * SHIPPED_IN_PLACE), 2), actions=IN_PLACE)
                if "root's" not in swap.what:
                    _run_whole(made, swap, real, hands, max(round(TRIES * share * RUNS / 6), 2))
    for what, count in real.escapes.items():
        print(f"races: {what}: led out {count} times", file=sys.stderr)
    missed = {swap.what for swap in SWAPS} - set(naive.escapes)
    return Row(
        "races: names exchanged under root's hands",
        f"{real.tries:,} tries, {real.swaps:,} swaps",
        not real.escapes and bool(naive.escapes) and real.tries >= TRIES * share and real.swaps >= SWAPPED * share,
        f"{sum(real.escapes.values())} escapes ({real.done:,} tries did their work); self-test by paths: "
        f"{sum(naive.escapes.values()):,} of {naive.tries:,} escaped"
        + (f", none with: {', '.join(sorted(missed))}" if missed else ""),
    )


# What is tried


def _set_aside(made: Arena, uid: int, folder: str = "") -> Action:
    seen = _seen(made, LOG, uid)
    archive = made.logs / folder / ARCHIVE
    inside = os.fstat(made.old_fd if folder else made.logs_fd)
    return SetAside(
        target=seen.path,
        reason="",
        seen=seen,
        archive=str(archive),
        folder=(inside.st_dev, inside.st_ino),
        ownership=Ownership(0o644, uid, uid),
    )


def _finish(made: Arena, uid: int) -> Action:
    return FinishRotation(target=str(made.logs / LOG), reason="", seen=_seen(made, TEMPORARY, uid))


def _clean(made: Arena, uid: int) -> Action:
    return Clean(target=str(made.logs / TEMPORARY), reason="", seen=_seen(made, TEMPORARY, uid))


def _expire(made: Arena, uid: int) -> Action:
    return Expire(target=str(made.logs / ARCHIVE), reason="", seen=_seen(made, ARCHIVE, uid))


def _compress(made: Arena, uid: int) -> Action:
    seen = _seen(made, ARCHIVE, uid)
    return Compress(target=seen.path, reason="", seen=seen, codec="zstd", level=None)


def _rotate_in_place(made: Arena, uid: int) -> Action:
    _forget_intents(made)
    seen, inside = _seen(made, LOG, uid), os.fstat(made.logs_fd)
    return RotateInPlace(
        target=seen.path,
        reason="",
        seen=seen,
        archive=str(made.logs / f"{ARCHIVE}.zst"),
        codec="zstd",
        level=None,
        way="lossy",  # of all the ways the one that needs no writer and no ext4; the names are used alike
        intents=str(made.root / intents.DIRECTORY),
        adopt=False,
        folder=(inside.st_dev, inside.st_ino),
    )


class CutOff(BaseException):
    """Where a kill would have been."""


def _finish_in_place(made: Arena, uid: int) -> Action:
    """Of a rotation that was cut off before its archive had its name; OSError if it did not come to that."""
    begun = _rotate_in_place(made, uid)
    assert isinstance(begun, RotateInPlace)
    publish = durable.publish
    durable.publish = _cut_off  # type: ignore[assignment]
    try:
        inplace.rotate(_ignore, request=_request(begun))
    except CutOff:
        journal = intents.journal_of(begun.intents, begun.target)
        return FinishInPlace(target=begun.target, reason="", archive=begun.archive, journal=journal)
    except MaintdError as error:
        raise OSError(str(error)) from error
    finally:
        durable.publish = publish
    raise OSError("it was whole before it could be cut off")


def _cut_off(*_: object, **__: object) -> None:
    raise CutOff


def _request(action: RotateInPlace) -> dict[str, object]:
    named = {name: getattr(action, name) for name in ("archive", "codec", "level", "way", "intents", "adopt", "folder")}
    return {"path": action.target, "seen": asdict(action.seen)} | named


def _forget_intents(made: Arena) -> None:
    with suppress(FileNotFoundError):
        for path in (made.root / intents.DIRECTORY).iterdir():
            path.unlink()


def _make(made: Arena, _uid: int) -> Action:
    inside = os.fstat(made.logs_fd)
    return MakeDirectory(target=str(made.logs / MADE), reason="", parent=(inside.st_dev, inside.st_ino))


def _seen(made: Arena, name: str, uid: int) -> Seen:
    return Seen.of(str(made.logs / name), made.put(name, uid))


ACTIONS: tuple[Try, ...] = (
    _set_aside,
    lambda made, uid: _set_aside(made, uid, "old"),
    _finish,
    _clean,
    _expire,
    _compress,
    _make,
)
IN_PLACE: tuple[Try, ...] = (_rotate_in_place, _finish_in_place)
"""These look through all processes of the machine, and take a hundred times as long."""


def _race(
    made: Arena, swap: Swap, account: Account, ways: list[Way], tries: int, *, actions: tuple[Try, ...] = ACTIONS
) -> None:
    """Does every action in turn, on files of nobody's and of root's, while the names are exchanged."""
    turns = itertools.cycle(itertools.product((NOBODY, 0), ways, actions))
    begun = sum(account.escapes.values())
    with swapping(made, swap) as count:
        for uid, way, action in itertools.islice(turns, tries):
            made.tidy()
            try:
                planned = action(made, uid)
            except OSError:  # nobody's exchange was there first
                continue
            account.tries += 1
            with suppress(OSError, MaintdError):
                way(planned)
                account.done += 1
            _look(made, swap, account)
            if by_paths in ways and sum(account.escapes.values()) - begun >= ENOUGH:
                break
        account.swaps += int.from_bytes(count, sys.byteorder)


def _look(made: Arena, swap: Swap, account: Account) -> None:
    if made.is_touched():
        account.escapes[swap.what] += 1
        made.restore()


def _run_whole(made: Arena, swap: Swap, account: Account, hands: Hands, runs: int) -> None:
    """Plans and does what a job of the log's directory says, with an olddir every other time."""
    jobs = list(_jobs(made))
    with swapping(made, swap) as count:
        for plan in itertools.islice(itertools.cycle(jobs), runs):
            made.tidy()
            with suppress(OSError):
                made.put(LOG, NOBODY)
            for action in plan():
                account.tries += 1
                with suppress(OSError, MaintdError):
                    _apply(action, hands)
                    account.done += 1
                _look(made, swap, account)
        account.swaps += int.from_bytes(count, sys.byteorder)


def _jobs(made: Arena) -> Iterator[Callable[[], list[Action]]]:
    for olddir in ("", 'olddir = "old"\n'):
        path = made.root / "maintd.toml"
        path.write_text(f'[rotate.all]\npaths = ["{made.logs}/*.log"]\ncron = "@daily"\nkeep = 1\n{olddir}')
        loaded = config.load(str(path))

        def plan(loaded: config.Config = loaded) -> list[Action]:
            ctx = contexts.context(loaded, "rotate.all", datetime.now(UTC), Asked())
            with suppress(OSError, MaintdError):
                return [step for step in loaded.jobs["rotate.all"].plan(ctx) if isinstance(step, Action)]
            return []

        yield plan


# How it is done


def as_shipped(hands: Hands) -> Way:
    return lambda action: _apply(action, hands)


def _apply(action: Action, hands: Hands) -> None:
    for _ in action.apply(hands):
        pass


def by_descriptors(worker: Worker) -> Way:
    """The same functions without Landlock, as root; here, but for what asks how it is confined."""

    def do(action: Action) -> None:
        match action:
            case SetAside(seen=seen, archive=archive, folder=folder, ownership=made):
                assert made
                ownership = asdict(made)
                moves.set_aside(_ignore, seen=asdict(seen), archive=archive, folder=folder, ownership=ownership)
            case FinishRotation(target=log, seen=seen):
                moves.finish(_ignore, seen=asdict(seen), log=log)
            case Clean(target=path, seen=seen):
                moves.clean(_ignore, path=path, seen=asdict(seen))
            case Expire(seen=seen):
                moves.delete(_ignore, seen=asdict(seen))
            case Compress(target=path, seen=seen, codec=codec):
                assert seen
                request = {"path": path, "seen": asdict(seen), "codec": codec, "level": None}
                copies.compress_file(_ignore, request=request | {"undisturbed": False, "grows": False})
            case RotateInPlace():
                inplace.rotate(_ignore, request=_request(action))
            case FinishInPlace(journal=journal):
                inplace.finish(_ignore, journal=journal)
            case MakeDirectory(target=path, parent=parent):
                ground = grounds.survey(os.path.dirname(path))
                within = trust.to_make_directory(ground, NOBODY, NOBODY)
                assert within
                ownership = {"mode": 0o755, "uid": NOBODY, "gid": NOBODY}
                arguments = {"path": path, "parent": parent, "ownership": ownership}
                worker.call("maintd.moves:make_directory", arguments, within=replace(within, fenced=False))

    return do


def _ignore(_count: int) -> None:
    pass


def by_paths(action: Action) -> None:
    """What one would write without a thought of it."""
    target = action.target
    match action:
        case SetAside(archive=archive, ownership=made):
            assert made
            os.rename(target, archive)
            with open(target, "a", encoding="ascii"):
                os.chown(target, made.uid, made.gid)
                os.chmod(target, made.mode)
        case FinishRotation(seen=seen):
            os.rename(seen.path, target)
        case Clean() | Expire():
            os.unlink(target)
        case Compress():
            with open(target, "rb") as source, open(f"{target}.zst.maintd-tmp", "wb") as copy:
                copy.write(source.read())
                os.chown(copy.name, NOBODY, NOBODY)
            os.rename(copy.name, f"{target}.zst")
            os.unlink(target)
        case RotateInPlace(archive=archive) | FinishInPlace(archive=archive):
            with open(target, "r+b") as log, open(f"{archive}.maintd-tmp", "wb") as copy:
                copy.write(log.read())
                os.chown(copy.name, NOBODY, NOBODY)
                log.truncate(0)
            os.rename(copy.name, archive)
        case MakeDirectory():
            os.mkdir(target, 0o700)
            os.chown(target, NOBODY, NOBODY)
