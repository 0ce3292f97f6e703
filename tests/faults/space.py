"""A disk that is really full, to 64 degrees, and one that becomes read-only in the middle of the work."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from .crew import each, row, spread
from .disk_bench import DiskBench
from .failures import check_failures
from .lab import Answer, Call
from .place import Place
from .scenes import SCENES
from .table import Row
from .trial import Bench, Report

NAME = "space"
BUSY = True
LEVELS = 64
KINDS = ("ext4", "tmpfs")
AFTER_THE_LOCK = 4
LOG = 6_000
"""Lines of the log; the free space goes from nothing to twice its size."""


@dataclass(frozen=True)
class Level:
    """So many parts of 63 of twice the log's size are free."""

    kind: str
    scene: str
    level: int

    def __str__(self) -> str:
        return f"full {self.kind}, {self.scene!r}, free space {self.level}/{LEVELS - 1} of twice the log"


@dataclass(frozen=True)
class ReadOnly:
    """The disk is read-only from this call on: `breaks` after an error of the file system, else an operator did it."""

    kind: str
    scene: str
    number: int
    breaks: bool

    def __str__(self) -> str:
        how = "breaks down" if self.breaks else "is remounted read-only"
        return f"{self.kind} {how} in {self.scene!r} at call {self.number}"


def run(share: float) -> Row:
    """All levels on both file systems, with both codecs and in place, and read-only at every call."""
    reports = [report for kind in KINDS for report in _on(kind, share)]
    return row("full disk (64 levels), read-only in the middle", "runs", reports)


def _on(kind: str, share: float) -> Iterator[Report]:
    benches = partial(DiskBench, kind)
    yield from each(spread(levels(kind), share), fill, benches=benches)
    yield from each(spread(list(read_onlies(kind)), share), stop, benches=benches)


def levels(kind: str) -> Sequence[Level]:
    return [Level(kind, scene, level) for scene in (*CODECS, IN_PLACE[kind]) for level in range(LEVELS)]


def read_onlies(kind: str) -> Iterator[ReadOnly]:
    """Each call of some scenes; an error of the file system can be made on ext4 only.

    While somebody has a log open for writing, it takes such an error to make its file system read-only.
    """
    with Bench() as bench:
        for scene in ("nobody", "zstd", "two logs", *([IN_PLACE[kind]] if kind == "ext4" else [])):
            for call in bench.play(SCENES[scene], bench.set(SCENES[scene]), beats=False).calls[AFTER_THE_LOCK:]:
                if not SCENES[scene].holds:
                    yield ReadOnly(kind, scene, call.number, breaks=False)
                if kind == "ext4":
                    yield ReadOnly(kind, scene, call.number, breaks=True)


def fill(bench: Bench, level: Level) -> Iterator[Report]:
    assert isinstance(bench, DiskBench)
    scene, report = FULL[level.scene], Report(str(level))
    place = bench.set(scene)
    size = (place.logs / "a.log").stat().st_size
    filler = bench.disk.fill(leave=2 * size * level.level // (LEVELS - 1))
    check_failures(bench.play(scene, place, beats=False), place, scene, report)
    if place.temporaries():
        report.wrongs.append(f"temporaries were left: {place.names()}")
    filler.unlink()
    bench.recover(scene, place, report)
    yield report


def stop(bench: Bench, point: ReadOnly) -> Iterator[Report]:
    assert isinstance(bench, DiskBench)
    scene, report = SCENES[point.scene], Report(str(point))
    place, disk = bench.set(scene), bench.disk
    if not point.breaks:
        bench.keep_state_elsewhere()
    stopped: list[Call] = []

    def decide(call: Call) -> Answer:
        if call.number >= point.number and not stopped and (point.breaks or disk.make_read_only()):
            if point.breaks:
                disk.break_down()
            stopped.append(call)
        return None

    ran = bench.play(scene, place, decide, beats=False)
    report.reached = bool(stopped)
    if report.reached:
        check_failures(ran, place, scene, report)
        if point.breaks:
            place.release()
            disk.remount()
            if scene.holds:
                place.hold("a.log", scene.holds)  # it is started again too
        else:
            disk.make_writable()
        bench.recover(scene, place, report)
    yield report


def _grown(place: Place) -> None:
    place.fill("a.log", LOG)


_leave: Callable[[Place], None] = _grown
CODECS = ("zstd", "gzip")
IN_PLACE = {"ext4": "collapse", "tmpfs": "pause"}
FULL = {
    name: replace(SCENES[name], leave=_leave, ends=ends)
    for name, ends in (("zstd", (".zst",)), ("gzip", (".gz",)), ("collapse", (".zst",)), ("pause", ("",)))
}
