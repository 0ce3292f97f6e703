"""`maintd restore --undo` and `--forget`: what restores in place have kept aside is put back, or deleted."""

from collections.abc import Iterator, Sequence

from maintd import asides, contexts, names, restoring, swapping, undone
from maintd.asides import Aside
from maintd.child import Worker
from maintd.cli import output, tables
from maintd.cli.alone import alone
from maintd.cli.exits import Exit, usage
from maintd.cli.invocation import Invocation
from maintd.config import Config
from maintd.errors import MaintdError, Refused
from maintd.names import printable
from maintd.restoring import Places
from maintd.units import counted


def undo(called: Invocation, config: Config, what: str | None, *, plan_only: bool) -> int:
    """Puts back what the last restore in place of a set has kept aside."""
    aside = _read(config, of := _set(what, asides.noted(config.settings.state_dir)))
    if aside is None:
        raise MaintdError(f"there is no restore of {of} in place that could be undone")
    if plan_only:
        rows = [["put back", printable(item.path), "from " + printable(item.aside)] for item in aside.items]
        for line in tables.table(rows, below=1):
            output.say(line)
        return Exit.OK
    with alone(called, config, left=aside.paused), Worker() as worker:
        places = Places(config.settings.state_dir, contexts.supervisor(config), worker)
        kept = restoring.back(aside, places, keep=aside.phase == "done")
    tell(places)
    output.say(f"put back {counted(len(aside.items), 'file')} as before the restore of {aside.snapshot}")
    for path in kept:
        output.say(f"what had been restored, and was changed since, is in {printable(path)}")
    if kept:
        output.complain(f"maintd: when you do not need that any more: maintd restore {of} --forget")
    return Exit.OK


def tell(places: Places) -> None:
    """Tells the doubts that have come up, each once."""
    output.complain(*(f"maintd: {doubt}" for doubt in dict.fromkeys(places.doubts)))
    places.doubts.clear()


def forget(called: Invocation, config: Config, what: str | None, *, plan_only: bool) -> int:
    """Deletes what restores in place of a set have kept aside: of the last one, and of those that were undone."""
    state_dir = config.settings.state_dir
    of = _set(what, sorted({*asides.noted(state_dir), *undone.sets(state_dir)}))
    aside = _read(config, of)
    if aside is not None and aside.phase == "placing":
        _require_no_only_copy(aside)
    is_begun = aside is not None and aside.phase == "unpacking"
    moved = aside.items if aside and not is_begun else ()
    paths = sorted({*(item.aside for item in moved), *undone.left(state_dir, of)})
    if not (paths or is_begun):
        raise MaintdError(f"nothing of {of} is kept aside")
    for path in paths:
        output.say(f"{'would delete' if plan_only else 'deleting'} {printable(path)}")
    if not plan_only:
        with alone(called, config):
            _forget(config, of, aside, paths)
    return Exit.OK


def _require_no_only_copy(aside: Aside) -> None:
    """Of a restore that was cut off."""
    if not swapping.lost(aside):
        raise Refused("it was cut off, and what is aside is the only whole state", hint="put it back first: --undo")
    if only := [printable(path) for path in swapping.only_aside(aside)]:
        raise Refused(
            f"it was cut off, and what is aside is the only copy of {names.enumerated(only)}",
            hint="move it back yourself first, as --undo cannot",
        )


def _forget(config: Config, of: str, aside: Aside | None, paths: Sequence[str]) -> None:
    state_dir = config.settings.state_dir
    swapping.drop(paths)
    if aside is not None and aside.phase == "unpacking":  # nothing was moved, but programs may stand still for it
        with Worker() as worker:
            places = Places(state_dir, contexts.supervisor(config), worker)
            restoring.back(aside, places, keep=False)
        tell(places)
    elif aside is not None:
        aside.forget(state_dir)
    undone.forget(state_dir, of)


def standing(config: Config, of: str) -> Iterator[str]:
    """What is kept aside of a set, and what to do about it, in words."""
    aside = _read(config, of)
    if aside is not None:
        what = "was restored in place" if aside.phase == "done" else "was being restored in place, which was cut off"
        then = f"; or maintd restore {of} --forget" if aside.phase == "done" else ""
        yield f"{aside.snapshot} {what}: maintd restore {of} --undo{then}"
    for path in undone.left(config.settings.state_dir, of):
        yield f"{printable(path)} is left of a restore that was undone: maintd restore {of} --forget deletes it"


def _read(config: Config, of: str) -> Aside | None:
    return Aside.read(config.settings.state_dir, of)


def _set(what: str | None, there: list[str]) -> str:
    """The set that is meant: the named one, or the only one that has something aside."""
    if what is not None:
        return what.partition("@")[0]
    if len(there) != 1:
        raise usage(f"which set? there are restores in place of: {', '.join(there) or 'none'}")
    return there[0]
