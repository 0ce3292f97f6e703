"""The power goes at every system call that changes something, on a real ext4; what is there after the next start?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from .crew import each, row, spread
from .disk import KEEP_JOURNAL, LOSE_JOURNAL, Disk
from .disk_bench import DiskBench
from .lab import Answer, Call, Fail, Kill
from .promises import check_promises
from .scenes import ONE_RUN, SCENES, THOROUGH, UNSYNCED, Scene
from .table import Row
from .trial import Bench, Report, check_safe

NAME = "power"
BUSY = True
SYNCS = ("fsync", "fdatasync", "syncfs", "sync_file_range")


@dataclass(frozen=True)
class Cut:
    """Where the power goes: before this call of the scene, or after its last. `without` is for the self-test."""

    scene: str
    number: int
    how: int
    without: str = ""

    def __str__(self) -> str:
        lost = "and the journal is lost" if self.how == LOSE_JOURNAL else "and unsynced data is lost"
        self_test = f", without fsync of {self.without}" if self.without else ""
        return f"power cut in {self.scene!r} before call {self.number}, {lost}{self_test}"


def run(share: float) -> Row:
    """Every cut of both kinds; then the self-tests, which must find lines or promises broken."""
    with Bench() as bench:
        found = [cut for scene in (*ONE_RUN, *UNSYNCED) for cut in cuts(bench, scene)]
    reports = list(each(spread(found, share), trial, benches=DiskBench))
    blind = [what for what in ("files", "directories") if not self_test(what)]
    seen = (
        f"it does not notice that {blind} are not synced" if blind else "without fsync of files or directories it fails"
    )
    whole = row("power cut before every changing system call, ext4", "cuts", reports, seen)
    return replace(whole, holds=whole.holds and not blind)


def cuts(bench: Bench, scene: Scene, without: str = "") -> Iterator[Cut]:
    """Before each call of a scene, and after its last; with the journal lost and kept, or by turns."""
    count = len(bench.play(scene, bench.set(scene), beats=False).calls)
    for number in range(1, count + 2):
        both = (LOSE_JOURNAL, KEEP_JOURNAL)
        is_thorough = without or scene.unsynced or scene.name in THOROUGH
        for how in both if is_thorough else both[number % 2 :][:1]:
            yield Cut(scene.name, number, how, without)


def self_test(without: str) -> bool:
    """Whether something goes wrong when files, or directories, are not synced any more: else the proof sees nothing."""
    with Bench() as bench:
        found = [cut for scene in ("nobody", "zstd") for cut in cuts(bench, SCENES[scene], without)]
    return any(report.wrongs for report in each(found, trial, benches=DiskBench, is_quiet=True))


def trial(bench: Bench, cut: Cut) -> Iterator[Report]:
    """Cuts the power, starts again, looks, and recovers."""
    assert isinstance(bench, DiskBench)
    scene, report = SCENES[cut.scene], Report(str(cut))
    place = bench.set(scene)
    ran = bench.play(scene, place, partial(_decide, cut, bench.disk), beats=False)
    if len(ran.calls) < cut.number:
        bench.disk.cut(cut.how)  # after the end of the run
    else:
        report.what += f" ({ran.calls[cut.number - 1]})"
    place.release()
    bench.disk.remount()
    check_safe(place, report)
    check_promises(ran, report)
    if scene.holds:
        place.hold("a.log", scene.holds)  # it is started again too
    bench.recover(scene, place, report)
    yield report


def _decide(cut: Cut, disk: Disk, call: Call) -> Answer:
    if call.number == cut.number:
        disk.cut(cut.how)
        return Kill()
    if cut.without and call.name in SYNCS and call.is_directory == (cut.without == "directories"):
        return Fail(0)  # as if it had been done
    return None
