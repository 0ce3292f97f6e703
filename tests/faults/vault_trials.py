"""A fault at one system call of a backup, a restore or its undoing, and what must hold then."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .lab import Answer, Call, Fail, Kill, Ran
from .trial import Report
from .vault import Scene, State, Vault, VaultBench

CODES = ("ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE", "ENOMEM")


@dataclass(frozen=True)
class Point:
    """What happens at this call: a kill of everything, of the caller alone, or an errno, once or from there on.

    Calls are counted that maintd makes itself, or those of restic, whichever is `of`.
    """

    scene: Scene
    number: int
    what: str
    of: str = "maintd"

    def __str__(self) -> str:
        return f"{self.what} in {self.scene.name!r} at call {self.number} of {self.of}"


class Strike:
    """Has the fault take place in one run; `struck` is the call, once it was reached."""

    def __init__(self, point: Point) -> None:
        self._point, self._count = point, 0
        self.struck: Call | None = None

    def __call__(self, call: Call) -> Answer:
        what = self._point.what
        if maker(call) != self._point.of:
            return None
        self._count += 1
        if self._count == self._point.number:
            self.struck = call
        if self.struck is None or (self.struck is not call and not what.endswith("on")):
            return None
        if what.startswith("kill"):
            return Kill(caller_only=what.endswith("caller"))
        return Fail(getattr(errno, what.split()[0]))


def maker(call: Call) -> str:
    """Which program makes a call."""
    return "restic" if Path(f"/proc/{call.pid}/comm").read_text() == "restic\n" else "maintd"


def points(bench: VaultBench, scene: Scene) -> Iterator[Point]:
    """Each call with a kill, and with three of the errnos in turn, once and from there on."""
    vault, made = bench.set(scene), list[tuple[str, int]]()

    def note(call: Call) -> None:
        made.append((maker(call), call.pid))

    bench.run(vault.tree, *scene.argv, decide=note)
    own = [pid for by, pid in made if by == "maintd"]
    for number, pid in enumerate(own, 1):
        yield Point(scene, number, "kill")
        if pid != own[0]:
            yield Point(scene, number, "kill the caller")
        for turn, rest in enumerate((" once", " from there on", " once")):
            yield Point(scene, number, CODES[(number + turn) % len(CODES)] + rest)
    for number in range(1, len(made) - len(own) + 1):
        yield Point(scene, number, "kill", "restic")


def trial(bench: VaultBench, point: Point) -> Report:
    """The fault, what is there right after it, and what is there after the next run."""
    report, vault, strike = Report(str(point)), bench.set(point.scene), Strike(point)
    ran = bench.run(vault.tree, *point.scene.argv, decide=strike)
    report.reached = strike.struck is not None
    report.noticed = ran.code != 0
    if not report.reached:
        return report
    report.what += f" ({strike.struck})"
    wrong = report.wrongs.append
    if "Traceback" in ran.err:
        wrong(f"a traceback: {ran}")
    if not vault.sound():
        wrong(f"no sound snapshot is left: {ran}")
    CHECKS["undo" if point.scene.is_restored else point.scene.argv[0]](bench, vault, ran, wrong)
    again = bench.do(vault.tree)
    if again.code != 0 or not vault.is_newest_sound():
        wrong(f"the next backup failed: {again}")
    if vault.at_rest():
        wrong(f"programs were left stopped: {vault.at_rest()}: {ran}")
    if vault.temporaries():
        wrong(f"temporaries were left: {vault.temporaries()}")
    return report


Wrong = Callable[[str], None]


def _after_do(_: VaultBench, vault: Vault, ran: Ran, wrong: Wrong) -> None:
    if _without_shm(vault.services()) != _without_shm(vault.old):
        wrong(f"a backup changed what it copies: {sorted(vault.services())} {ran}")


def _after_restore(bench: VaultBench, vault: Vault, ran: Ran, wrong: Wrong) -> None:
    """Either the snapshot exactly, or, at once or after --undo, the old state exactly."""
    note = vault.note
    if note is not None and note["phase"] != "done":
        undone = bench.run(vault.tree, "restore", "app", "--undo")
        if undone.code != 0:
            wrong(f"it could not be undone: {undone}")
    is_done = note is not None and note["phase"] == "done"
    _compare(vault, vault.kept if is_done else vault.old, ran, wrong)
    if ran.code == 0 and not is_done:
        wrong(f"it said that all is well: {ran}")
    if not is_done:
        again = bench.run(vault.tree, "restore", "app", "--in-place")
        if again.code != 0:
            wrong(f"the next restore failed: {again}")
        _compare(vault, vault.kept, again, wrong)


def _after_undo(bench: VaultBench, vault: Vault, ran: Ran, wrong: Wrong) -> None:
    if vault.note is not None:
        undone = bench.run(vault.tree, "restore", "app", "--undo")
        if undone.code != 0:
            wrong(f"it could not be undone the second time: {undone}")
    _compare(vault, vault.old, ran, wrong)


def _compare(vault: Vault, wanted: State, ran: Ran, wrong: Wrong) -> None:
    found = vault.services()
    is_snapshot = wanted is vault.kept
    names = [name for name in wanted if not (is_snapshot and name.endswith(("-wal", "-shm")))]
    if sorted(found) != sorted(names):
        wrong(f"there are {sorted(found)}, not {sorted(names)}: {ran}")
    differing = [name for name in names if name in found and not _is_same(name, found[name], wanted[name], is_snapshot)]
    if differing:
        wrong(f"{differing} are not what they should be: {ran}")


def _is_same(name: str, found: bytes, wanted: bytes, is_snapshot: bool) -> bool:
    if is_snapshot and name.endswith(".db"):  # a copy by the backup interface has other counters in its header
        return found[100:] == wanted[100:] and len(found) == len(wanted)
    return found == wanted


def _without_shm(state: State) -> State:
    """An index that SQLite makes anew from the WAL, by whoever opens it first."""
    return {name: data for name, data in state.items() if not name.endswith("-shm")}


CHECKS: dict[str, Callable[[VaultBench, Vault, Ran, Wrong], None]] = {
    "do": _after_do,
    "restore": _after_restore,
    "undo": _after_undo,
}
