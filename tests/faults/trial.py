"""One trial: a scene, a fault in it, the recovery from it, and whatever is wrong then."""

import os
import shutil  # noqa: TID251 - clears the stage
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.conftest import snapshot

from .disk import Disk
from .holder import Holder
from .lab import Call, Decide, Lab, Ran, proceed
from .place import Place
from .scenes import Scene
from .table import Counts

MOST_RECOVERIES = 5
"""A writer that was not told before the kill is waited for, and told by the run after that."""


@dataclass
class Report:
    """What came of a trial. `reached`: the fault took place; `noticed`: the run failed; `wrongs` are sentences."""

    what: str
    reached: bool = True
    noticed: bool = False
    wrongs: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    def __str__(self) -> str:
        return "\n  ".join([self.what, *self.wrongs])


class Bench:
    """What a worker needs for its trials: a lab, those who hold logs, and a folder that is empty before each."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="faults-", dir=self._root)
        self.folder = Path(self._temporary.name).resolve() / "site"
        self._on_disk = tempfile.TemporaryDirectory(prefix="faults-")
        self.collapsing = Path(self._on_disk.name).resolve() / "site"
        self._holders: dict[str, Holder] = {}
        self._mounted = ExitStack()
        self._own: Disk | None = None
        self.lab = Lab().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.lab.__exit__(kind, error, at)
        for holder in self._holders.values():
            holder.end()
        self._mounted.close()
        self._temporary.cleanup()
        self._on_disk.cleanup()

    def set(self, scene: Scene) -> Place:
        """The scene, in a folder in which nothing is left of the last one."""
        self.let_go()
        folder, disk = self.collapsing if scene.collapses else self.folder, None
        if scene.disk:
            disk = self.own_disk()
            disk.renew(scene.disk)
            folder = disk.folder / "site"
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        place = scene.set(folder, self._holder(scene.by))
        if disk and scene.room:
            disk.fill(leave=scene.room)
        return place

    def let_go(self) -> None:
        """Has everybody close the log that they hold."""
        for holder in self._holders.values():
            holder.close()

    def own_disk(self) -> Disk:
        """A small file system for the scenes that take one. Raises Skipped where there cannot be any."""
        self._own = self._own or self._mounted.enter_context(Disk())
        return self._own

    def _holder(self, name: str) -> Holder:
        return self._holders.setdefault(name, self._holders.get(name) or Holder(name))

    def play(self, scene: Scene, place: Place, decide: Decide = proceed, *, beats: bool = True) -> Ran:
        """Runs what the scene runs; whoever holds a log writes a line before each call, and syncs it."""
        script = scene.script(place) if scene.script else None
        return self._run(place, scene.argv, _beating(place, decide) if beats else decide, script)

    def do(self, place: Place, decide: Decide = proceed) -> Ran:
        """Runs all jobs now, as the recovery does."""
        return self._run(place, ("do", "--all", "--json"), decide)

    def _run(self, place: Place, argv: Sequence[str], decide: Decide, script=None) -> Ran:
        return self.lab.run(place.folder, "-c", str(place.config), *argv, decide=decide, script=script)

    def recover(self, scene: Scene, place: Place, report: Report) -> int:
        """Runs maintd until a run changes nothing, and notes what is wrong with that, or with what is there then.

        Returns how many changing calls the first of these runs had.
        """
        runs = []
        if scene.later:
            place.write_config(scene.later)
        for _ in range(MOST_RECOVERIES):
            before = snapshot(place.logs)
            runs.append(self.do(place))
            _check_run(runs[-1], report)
            if snapshot(place.logs) == before and not _waits(runs[-1]):
                break
        else:
            report.wrongs.append(f"still at work after {len(runs)} recoveries: {runs[-1]}")
        if len(runs) > 2 and not scene.holds:
            report.wrongs.append(f"the second recovery changed something: {runs[1]}")
        check(place, report)
        if not scene.is_finished(place):
            report.wrongs.append(f"not everything is done: {place.names()}")
        return len(runs[0].calls)


def _beating(place: Place, decide: Decide) -> Decide:
    def beat(call: Call):
        place.beat()
        return decide(call)

    return beat


def _waits(ran: Ran) -> bool:
    return any(message.get("waiting") for message in ran.messages)


def _check_run(ran: Ran, report: Report) -> None:
    failed = ran.events(".failed")
    if "Traceback" in ran.err or ran.orphans or failed or ran.code not in (0, 5) or (ran.code and not _waits(ran)):
        report.wrongs.append(f"a recovery failed: {ran}")


def check_safe(place: Place, report: Report) -> None:
    """Notes what is wrong right after the fault: a line may be there twice, as long as a run can see to it."""
    verdict = place.look()
    if not verdict.is_safe:
        report.wrongs.append(f"right after it: {verdict} {place.names()}")


def check(place: Place, report: Report) -> None:
    """Notes what is wrong with the lines at the end."""
    verdict = place.look()
    report.counts = verdict.counts
    if not verdict.is_clean:
        report.wrongs.append(f"at the end: {verdict} {place.names()}")
