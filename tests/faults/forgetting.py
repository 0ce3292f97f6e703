"""The same power cuts on a disk that forgets all that it may: each state that could be found after the next start."""

import copy
import shutil  # noqa: TID251 - clears the stage
from collections.abc import Iterator
from dataclasses import dataclass, replace

from maintd.names import MANIFEST

from .crew import each, row, spread
from .lab import Answer, Call, Ran
from .lines import Book
from .promises import check_promises
from .scenes import RENAMES, SCENES, Scene
from .table import Row
from .trial import Bench, Report, check_safe
from .volatile import State, Volatile, restore

NAME = "forgetting"
BUSY = True
MODELLED = tuple(scene for scene in RENAMES if scene.holds != "watch")
"""Who makes a log by himself makes its name durable by himself, of which the model knows nothing."""


@dataclass(frozen=True)
class Found:
    """What may be found after a power cut before a call, what had been written and said by then."""

    scene: str
    when: str
    variant: int
    state: State
    book: Book
    said: str
    folder: str

    def __str__(self) -> str:
        return f"forgetful disk in {self.scene!r}, power cut {self.when}, variant {self.variant}"


def run(share: float) -> Row:
    """Every state of every scene; then the self-tests, which must find lines lost."""
    with Bench() as bench:
        found = [state for scene in MODELLED for state in states(bench, scene)]
    reports = list(each(spread(found, share), trial))
    blind = [what for what in ("files", "directories") if not self_test(what)]
    seen = (
        f"it does not notice that {blind} are not synced" if blind else "without fsync of files or directories it fails"
    )
    whole = row("power cut at the same points, on a disk that forgets what was not synced", "states", reports, seen)
    return replace(whole, holds=whole.holds and not blind)


def self_test(without: str) -> bool:
    """Whether lines are lost when files, or directories, are not synced any more: else the proof sees nothing."""
    with Bench() as bench:
        found = states(bench, SCENES["zstd"], without)
    return any(report.counts.lost for report in each(found, trial, is_quiet=True))


def states(bench: Bench, scene: Scene, without: str = "") -> list[Found]:
    """Each state that a power cut in a run of the scene may leave, once."""
    place = bench.set(scene)
    disk = Volatile(place.logs, without)
    found: list[Found] = []

    def note(when: str) -> None:
        book, known = copy.deepcopy(place.book), [other.state for other in found[-8:]]
        for variant, state in enumerate(disk.states()):
            if state not in known:
                known.append(state)
                found.append(Found(scene.name, when, variant, state, book, bench.lab.said(), str(place.folder)))

    def decide(call: Call) -> Answer:
        written = place.beat()
        if written is not None:
            disk.synced(written)
        disk.before(call)
        note(f"before {call}")
        return None

    bench.play(scene, place, decide, beats=False)
    disk.end()
    note("after the end")
    return found


def _moved(state: State, there: str, here: str) -> State:
    """The same in another place: the manifest of an archive names the paths of the files."""
    return {
        path: (info, content.replace(there.encode(), here.encode()) if content and MANIFEST in path else content)
        for path, (info, content) in state.items()
    }


def trial(bench: Bench, found: Found) -> Iterator[Report]:
    """Starts again from such a state, looks, and recovers."""
    scene, report = SCENES[found.scene], Report(str(found))
    place = bench.set(scene)
    place.release()
    place.book = copy.deepcopy(found.book)
    shutil.rmtree(place.logs)
    place.logs.mkdir()
    restore(place.logs, _moved(found.state, found.folder, str(place.folder)))
    check_safe(place, report)
    check_promises(Ran(out=found.said.replace(found.folder, str(place.folder))), report)
    if scene.holds:
        place.hold("a.log", scene.holds)  # it is started again too
    bench.recover(scene, place, report)
    yield report
