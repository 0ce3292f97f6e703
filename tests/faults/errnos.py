"""Every system call that changes something fails with each of nine errnos: once, or from there on."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .crew import each, row, spread
from .failures import check_failures
from .lab import Answer, Call, Decide, Fail
from .scenes import ONE_RUN, SCENES, THOROUGH, Scene
from .table import Row
from .trial import Bench, Report

NAME = "errnos"
BUSY = True
CODES = ("ENOSPC", "EIO", "EROFS", "EDQUOT", "EACCES", "EMFILE", "ENOMEM", "EOPNOTSUPP", "EXDEV")
Lasts = Literal["once", "this kind from there on", "all from there on"]
LASTS: tuple[Lasts, ...] = ("once", "this kind from there on", "all from there on")


@dataclass(frozen=True)
class Point:
    """What fails: this call of this scene, how, and for how long."""

    scene: str
    number: int
    code: str
    lasts: Lasts

    def __str__(self) -> str:
        return f"{self.code} in {self.scene!r} at call {self.number}, {self.lasts}"


def run(share: float) -> Row:
    """Every point of the scenes that are one run."""
    with Bench() as bench:
        found = [point for scene in ONE_RUN for point in points(bench, scene)]
    reports = each(spread(found, share), trial)
    return row("each of 9 errnos at every changing system call, once and sticky", "runs", reports)


def points(bench: Bench, scene: Scene) -> Iterator[Point]:
    """Each call with each errno, or with a third of them by turns; once, or from there on, its kind or all of them."""
    for call in bench.play(scene, bench.set(scene)).calls:
        for index, code in enumerate(CODES):
            if scene.name not in THOROUGH and (call.number + index) % 3:
                continue
            is_once = (call.number + index) % 2
            yield Point(scene.name, call.number, code, "once" if is_once else LASTS[1 + index // 2 % 2])


def trial(bench: Bench, point: Point) -> Iterator[Report]:
    """The failure, how the run took it, and the next run."""
    scene, report = SCENES[point.scene], Report(str(point))
    place = bench.set(scene)
    ran = bench.play(scene, place, _failing(point))
    report.reached = len(ran.calls) >= point.number
    if report.reached:
        report.what += f" ({ran.calls[point.number - 1]})"
        check_failures(ran, place, scene, report)
        if point.lasts == "once" and place.look().temporaries:
            report.wrongs.append(f"temporaries were left: {place.names()}")
        bench.recover(scene, place, report)
    yield report


def _failing(point: Point) -> Decide:
    code, kind = getattr(errno, point.code), ""

    def decide(call: Call) -> Answer:
        nonlocal kind
        if call.number < point.number:
            return None
        if call.number == point.number:
            kind = call.name
            return Fail(code)
        if call.name == "pidfd_send_signal":  # kill(2) has none of these, and nobody would wake those who are stopped
            return None
        sticky = point.lasts == LASTS[2] or (point.lasts == LASTS[1] and call.name == kind)
        return Fail(code) if sticky else None

    return decide
