"""SIGKILL at every system call that changes something, and again at those of the recovery from it."""

from collections.abc import Iterator
from dataclasses import dataclass

from .crew import each, row, spread
from .lab import Answer, Call, Decide, Kill
from .place import Place
from .scenes import SCENES, Scene, started_again
from .table import Row
from .trial import Bench, Report, check_safe

NAME = "kills"
BUSY = True
AGAIN = 30
"""At each how many-th call of a recovery it is killed again, beginning with another one for each first kill."""


@dataclass(frozen=True)
class Point:
    """Where to kill: at this call of this scene. `caller_only`: only the process that makes the call."""

    scene: str
    number: int
    caller_only: bool = False

    def __str__(self) -> str:
        return f"kill {'the caller ' if self.caller_only else ''}in {self.scene!r} at call {self.number}"


def run(share: float) -> Row:
    """Every point, and the points of the recovery from it."""
    with Bench() as bench:
        found = [point for scene in SCENES.values() if not scene.unsynced for point in points(bench, scene)]
    reports = each(spread(found, share), trials)
    return row("kill -9 at every changing system call, and again in the recovery", "runs", reports)


def points(bench: Bench, scene: Scene) -> Iterator[Point]:
    """Every point of a scene, as a run of it has them."""
    calls = bench.play(scene, bench.set(scene)).calls
    yield from (Point(scene.name, call.number) for call in calls)
    program = calls[0].pid
    yield from (Point(scene.name, call.number, caller_only=True) for call in calls if call.pid != program)


def trials(bench: Bench, point: Point, again: int = AGAIN) -> Iterator[Report]:
    """The kill, and the recovery; then once more with a second kill, for every how many-th call of the recovery."""
    scene = SCENES[point.scene]
    report = Report(str(point))
    place = killed(bench, point, report)
    calls = recovered(bench, scene, place, report)
    yield report
    if not report.reached or point.caller_only:
        return
    again *= 5 if scene.repeats else 1
    for second in range(1 + point.number % again, calls + 1, again):
        twice = Report(f"{point}, and at call {second} of the recovery")
        place = killed(bench, point, twice)
        twice.reached &= bench.do(place, kill_at(second)).code == -9
        check_safe(place, twice)
        recovered(bench, scene, place, twice)
        yield twice


def killed(bench: Bench, point: Point, report: Report) -> Place:
    """The scene after the kill, in which every line is somewhere."""
    scene = SCENES[point.scene]
    place = bench.set(scene)
    ran = bench.play(scene, place, kill_at(point.number, caller_only=point.caller_only))
    report.reached = len(ran.calls) >= point.number
    if report.reached:
        report.what += f" ({ran.calls[point.number - 1]})"
    if ran.orphans:
        report.wrongs.append(f"{ran.orphans} processes outlived it: {ran}")
    check_safe(place, report)
    return place


def recovered(bench: Bench, scene: Scene, place: Place, report: Report) -> int:
    """Recovers, and returns how many changing calls the first run of the recovery had."""
    if scene.script:
        again = bench.play(started_again(scene), place)
        if again.code != 0 or again.events("state.reset") or again.events(".failed"):
            report.wrongs.append(f"the daemon did not start again: {again}")
    return bench.recover(scene, place, report)


def kill_at(number: int, *, caller_only: bool = False) -> Decide:
    def decide(call: Call) -> Answer:
        return Kill(caller_only) if call.number == number else None

    return decide
