"""`maintd restore`: a snapshot into a directory, or in place so that it can be undone."""

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import click

from maintd import contexts, durable, grounds, names, restoring, scratch, trust
from maintd.asides import Aside
from maintd.at_hand import Local, at_hand, brought
from maintd.child import Worker
from maintd.cli import output, tables, undoing
from maintd.cli.alone import alone
from maintd.cli.exits import Exit, usage
from maintd.cli.invocation import Invocation, config_option
from maintd.cli.orders import Order, placeable
from maintd.cli.sets import PLACE_HELP, snapshot
from maintd.cli.showing import Json, People
from maintd.config import Config, load
from maintd.errors import MaintdError, Refused, trouble
from maintd.manifest import Entry
from maintd.names import printable
from maintd.restoring import Deed, InPlace, Places, Told
from maintd.snapshots import Snapshot
from maintd.stores import NOT_UTF8, Repository, Store
from maintd.units import counted, format_size


@click.command(
    short_help="Restore a snapshot into a directory, or in place.",
    epilog="\b\nExamples:\n  maintd restore app --to /tmp/look\n"
    "  maintd restore app@20260101T020000Z --only /srv/app/data/trading.db --to /tmp/look\n"
    "  maintd restore app --in-place --plan\n  maintd restore app --in-place\n  maintd restore app --undo\n"
    "  maintd restore app --in s3://bucket/prefix --to /srv/new --identity key.txt",
)
@click.argument("what", metavar="SET[@STAMP]", required=False)
@click.option("--to", metavar="DIR", help="Restore into this directory, which is made.")
@click.option("--in-place", is_flag=True, help="Restore to where it was; what is there is kept aside.")
@click.option("--undo", is_flag=True, help="Put back what the last restore in place of the set has kept aside.")
@click.option(
    "--forget", is_flag=True, help="Delete what restores in place of the set have kept aside, also after --undo."
)
@click.option(
    "--only", multiple=True, metavar="PATH", help="Only this file, directory, pattern or output; may be repeated."
)
@click.option("--in", "place", metavar="PLACE", help=PLACE_HELP)
@click.option("--identity", metavar="FILE", help="The secret key of age, for encrypted snapshots.")
@click.option(
    "--scratch",
    metavar="DIR",
    help="Where there is room for what is brought from a bucket or by restic; default: beside --to, or state_dir.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@config_option()
@click.pass_obj
def restore(called: Invocation, /, what: str | None, **options: Any) -> int:
    """Restores the newest verified snapshot of a set, or the one that was taken at STAMP.

    For --undo and --forget SET may be left out if it is the only one that has something kept aside.

    Every file is compared with its checksum, and every database is opened and checked, before anything is replaced. A
    restore in place that fails puts everything back as it was.
    """
    ways = [name for name in ("to", "in_place", "undo", "forget") if options[name]]
    if len(ways) != 1:
        raise usage("give one of --to DIR, --in-place, --undo, --forget")
    if what is None and ways[0] in ("to", "in_place"):
        raise usage("which set? maintd backups lists them")
    if ways[0] in ("undo", "forget"):
        act = undoing.undo if ways[0] == "undo" else undoing.forget
        with _interruptible():
            return act(called, load(called.config), what, plan_only=options["plan_only"])
    set_name, _, stamp = str(what).partition("@")
    show = Json() if options["as_json"] else People()
    given = {name: options[name] for name in ("only", "place", "identity", "scratch")}
    order = Order(called, set_name, stamp, show=show, **given)
    with _interruptible():
        if ways == ["to"]:
            return _to(order, _target(options["to"]), plan_only=options["plan_only"])
        return _in_place(order, load(called.config), plan_only=options["plan_only"])


# Into a directory


def _target(given: str) -> str:
    """The path of --to, without symbolic links above it, as far as root may follow them."""
    parent, name = os.path.split(os.path.abspath(given))
    target = os.path.join(grounds.resolve(parent), name)
    if os.path.islink(target):
        raise Refused(f"{target} is a symbolic link", hint="name the directory itself, or one that is not there")
    return target


def _to(order: Order, target: str, *, plan_only: bool) -> int:
    if os.path.lexists(target) and (not os.path.isdir(target) or os.listdir(target)):
        raise Refused(f"{target} is there, and not an empty directory", hint="name one that is not there")
    store = order.store(None)
    found = snapshot(store, order.set_name, order.stamp)
    entries = order.entries(found)
    _tell_what_is_not(found, store)
    directory = order.brought(names.temporary_beside(f"{target}.packs"))
    with Worker() as worker, at_hand(store, found, entries, directory) as local:
        deeds = [*local.deeds, *_deeds_to(local, entries, target, order, worker)]
        if plan_only:
            return _show_plan(found, deeds)
        scratch.make_anew(names.temporary_beside(target), is_fenced=True)
        try:
            _do(order, found, deeds)
        except BaseException:
            _discard(target)
            raise
    return Exit.OK


def _deeds_to(local: Local, entries: Sequence[Entry], target: str, order: Order, worker: Worker) -> Iterator[Deed]:
    found = local.snapshot
    assert found.manifest is not None
    invariants, making = found.manifest.invariants, names.temporary_beside(target)
    paths = [(entry.name, os.path.join(making, entry.name)) for entry in entries]
    size = sum(entry.size for entry in entries)
    yield Deed(
        "verify",
        found.path,
        "every file of the snapshot is compared with its checksum",
        lambda told: restoring.verify(worker, found.path, local.packs, told),
    )
    yield Deed(
        "unpack",
        target,
        f"{counted(len(entries), 'file')}, {format_size(size)}",
        lambda told: restoring.unpack(
            worker, found.path, paths, told, within=trust.confinement([making]), identity=order.identity
        ),
        size,
    )
    for entry, (_, path) in zip(entries, paths, strict=True):
        if entry.kind == "sqlite":
            yield Deed(
                "check",
                entry.path,
                "integrity_check, invariants, and as its manifest says",
                partial(_prove, worker, entry, path, invariants.get(entry.path, ())),
            )
    yield Deed("name", target, "all is there and checked", lambda _: _publish(target))


def _tell_what_is_not(found: Snapshot, store: Store | Repository) -> None:
    """Restic cannot tell every name; what other engines have left out they told when they made the snapshot."""
    known = found.manifest.left_out if found.manifest and isinstance(store, Repository) else ()
    output.complain(*(f"maintd: not restored: {one}" for one in known if one.endswith(NOT_UTF8)))


def _prove(worker: Worker, entry: Entry, path: str, invariants: Sequence[str], _: Told) -> None:
    if doubt := restoring.prove(worker, entry, path, invariants):
        output.complain(f"maintd: {doubt}")


def _discard(target: str) -> None:
    with suppress(FileNotFoundError), durable.directory(os.path.dirname(target)) as dir_fd:
        durable.discard_tree(names.temporary(os.path.basename(target)), dir_fd=dir_fd)


def _publish(target: str) -> None:
    parent, name = os.path.split(target)
    if os.path.isdir(target):
        durable.remove_empty(target)
    with durable.directory(parent) as dir_fd:
        durable.publish_directory(names.temporary(os.path.basename(target)), name, dir_fd=dir_fd)


# In place


def _in_place(order: Order, config: Config, *, plan_only: bool) -> int:
    state_dir = config.settings.state_dir
    before = Aside.read(state_dir, order.set_name)
    if before is not None:
        is_done = before.phase == "done"
        how = "can still be undone" if is_done else "was cut off"
        way = f"maintd restore {order.set_name}"
        raise Refused(
            f"an earlier restore of {order.set_name}, of {before.snapshot}, {how}: {way} --undo",
            hint=f"or delete what it has kept aside: {way} --forget" if is_done else "put it back first",
        )
    store = order.store(config)
    found = snapshot(store, order.set_name, order.stamp)
    entries = placeable(order, found)
    _tell_what_is_not(found, store)
    directory = order.brought(brought(contexts.stores(config), order.set_name))
    with Worker() as worker, at_hand(store, found, entries, directory) as local:
        places = Places(state_dir, contexts.supervisor(config), worker)
        restoration = InPlace(local.snapshot, entries, places, order.identity)
        restoration.packs = local.packs
        deeds = [*local.deeds, *restoration.deeds()]
        undoing.tell(places)
        if plan_only:
            return _show_plan(found, deeds)
        with alone(order.called, config) as hold, hold.renewed(restoration.paused_until):
            try:
                _do(order, found, deeds)
            except BaseException as error:
                _put_back(restoration, error)
                undoing.tell(places)
                raise
    undoing.tell(places)
    output.complain(f"maintd: what was there is kept; undo it with: maintd restore {order.set_name} --undo")
    return Exit.OK


def _put_back(restoration: InPlace, failure: BaseException) -> None:
    """After this failure. If that fails too, both are told, and what a person is to do then."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        kept = restoration.put_back()
    except (MaintdError, OSError) as error:
        why = "it was interrupted" if isinstance(failure, KeyboardInterrupt) else trouble(failure).error_msg
        then = trouble(error)
        still = f"; until then {', '.join(restoration.programs)} may stand still" if restoration.programs else ""
        raise MaintdError(
            f"{why}; and it could not be put back: {then.error_msg}",
            hint="; then: ".join(
                filter(None, [then.advice, f"maintd restore {restoration.manifest.set} --undo{still}"])
            ),
        ) from failure
    output.complain("maintd: it failed, and everything was put back as it was")
    for path in kept:
        output.complain(f"maintd: what others had put in its place meanwhile is in {printable(path)}")


# Both


def _show_plan(found: Snapshot, deeds: Sequence[Deed]) -> int:
    output.say(output.paint(f"{found.label}:", bold=True))
    rows = [[deed.verb, printable(deed.target), printable(deed.reason)] for deed in deeds]
    for line in tables.table(rows, indent=2, below=1):
        output.say(line)
    return Exit.OK


def _do(order: Order, found: Snapshot, deeds: Sequence[Deed]) -> None:
    for index, deed in enumerate(deeds):
        step = {"type": "step", "job": found.label, "index": index, "of": len(deeds), "verb": deed.verb}
        order.show(step | {"target": deed.target, "in_bytes": deed.in_bytes})
        try:
            deed.run(partial(_progress, order, deed))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise MaintdError(
                f"there is no room for it: {trouble(error).error_msg}",
                hint="free some space there, or restore a part (--only), or into a directory with room (--to)",
            ) from error


def _progress(order: Order, deed: Deed, count: int) -> None:
    order.show({"type": "progress", "target": deed.target, "bytes": count})


@contextmanager
def _interruptible() -> Iterator[None]:
    """A signal to end breaks off what goes on, in order."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    yield
