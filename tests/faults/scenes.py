"""The scenes: a config, the files that are there, what is run, and what must have come of it when all is done."""

import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from maintd import inventory

from .archive import MANIFEST
from .disk import SIZE
from .holder import SUPERVISORD, Holder, Manner
from .lab import Script
from .place import Place

ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
PLAIN = ROTATE + 'compress = "none"\n'
PATIENCE = 5.0


@dataclass(frozen=True)
class Scene:
    """`leave` leaves the files. `ends` are the suffixes of the generations at the end; `script` is for a daemon.

    `later` are the jobs at the end, if they are others by then. `holds`: how somebody has a.log open, and `by` whom.
    `collapses`: it takes a file system that can; `disk`: one of its own, of so many bytes, of which `room` are free, if
    that is not 0. `unsynced`: so many lines are written last, which nobody syncs: a power cut may take
    them. `leaves` are the files at the end, where their names say more than the suffixes.
    """

    name: str
    jobs: str
    leave: Callable[[Place], None]
    ends: tuple[str, ...]
    argv: tuple[str, ...] = ("do", "--all", "--json")
    script: Callable[[Place], Script] | None = None
    holds: Manner | None = None
    by: str = "service"
    later: str = ""
    collapses: bool = False
    disk: int = 0
    room: int = 0
    unsynced: int = 0
    leaves: tuple[str, ...] = ()

    @property
    def repeats(self) -> bool:
        """Whether it does the same over and over, so that a part of the faults is enough at each point."""
        return self.disk > 0

    def set(self, folder: Path, holder: Holder) -> Place:
        """The scene in an empty folder."""
        place = Place(folder, self.jobs, holder)
        self.leave(place)
        if self.holds:
            place.hold("a.log", self.holds)
        return place

    def is_finished(self, place: Place) -> bool:
        """Whether what was to be done is done: so many generations, compressed as they should be."""
        if self.leaves:
            return sorted(name for name in place.names() if MANIFEST not in name) == sorted(self.leaves)
        names = [os.path.basename(name) for name in place.names()]
        found = [_ending(name) for name in names if not name.endswith((".log", ".csv"))]
        return set(found) == set(self.ends) if self.holds else sorted(found) == sorted(self.ends)


def _ending(name: str) -> str:
    return next((suffix for suffix in (".zst", ".gz") if name.endswith(suffix)), "")


def _live(place: Place) -> None:
    os.setxattr(place.fill("a.log", 60), "user.origin", b"here")


def _untold(place: Place) -> None:
    place.fill("a.log", 300)


def _large(place: Place) -> None:
    place.fill("a.log", 280, are_long=True)  # 17.5 MiB, which are collapsed in three slices


def _larger_than_the_room(place: Place) -> None:
    place.fill("a.log", 5_000)


def _set_aside(place: Place) -> None:
    place.fill("a.log.20260101T000000Z", 12_000, of="a.log")  # more than one piece of the codec
    place.fill("a.log", 0)


def _old_files(place: Place) -> None:
    place.fill("c.csv", 3_000, age=2 * 86_400)


def _old_prices(place: Place) -> None:
    place.fill("2026/c.csv", 3_000, of="c.csv", age=2 * 86_400)
    place.fill("d.csv", 20, age=3 * 86_400)


def _dated_prices(place: Place) -> None:
    place.fill("2026/c-2026-02-03.csv", 3_000, of="c-2026-02-03.csv")
    place.fill("d-2026-02-03.csv", 20)
    place.fill("e-2026-02-04.csv", 20)


def _archived(place: Place) -> None:
    """Three files of long ago in the archive, as a run of the job has left them."""
    for number in (1, 2, 3):
        path = place.fill(f"archive/c-{number}.csv", 20, of=f"c-{number}.csv", age=(9 - number) * 86_400)
        info, text = path.stat(), path.read_bytes()
        entry = inventory.Entry(
            name=path.name,
            original=str(place.logs / path.name),
            ino=info.st_ino,
            size=len(text),
            mtime_ns=info.st_mtime_ns,
            mode=0o644,
            uid=info.st_uid,
            gid=info.st_gid,
            sha256=hashlib.sha256(text).hexdigest(),
            codec="none",
            stored_bytes=len(text),
            stored_sha256=hashlib.sha256(text).hexdigest(),
            at="2026-01-01T00:00:00Z",
            why="",
            job="archive.all",
        )
        with (path.parent / MANIFEST).open("ab") as manifest:
            manifest.write(entry.line())
    for number in (1, 2):
        place.book.may_go |= set(place.book.written[f"c-{number}.csv"])
        place.book.may_miss.add(f"c-{number}.csv")


def _outdated(place: Place) -> None:
    for day in (1, 2, 3):
        place.fill(f"old/a.log.2026010{day}T000000Z", 20, of="a.log")
    place.book.may_go = set(place.book.written["a.log"][:40])
    place.fill("gone/b.log.20260101T000000Z", 20, of="b.log")
    place.book.may_go |= set(place.book.written["b.log"])
    place.fill("gone/b.log.20260102T000000Z", 0, of="b.log")


def _generations(place: Place) -> None:
    for day in (1, 2, 3):
        place.fill(f"a.log.2026010{day}T000000Z", 20, of="a.log")
    place.book.may_go = set(place.book.written["a.log"][:40])
    place.fill("a.log", 0)


def _too_much(place: Place) -> None:
    for day in (1, 2, 3, 4):
        place.fill(f"a.log.2026010{day}T000000Z", 3_000, of="a.log")
    place.book.may_go = set(
        place.book.written["a.log"][:9_000]
    )  # all but keep_min: one that cannot be deleted is stepped over
    place.fill("a.log", 0)


def _two_logs(place: Place) -> None:
    for log in ("a.log", "b.log"):
        place.fill(f"{log}.20260101T000000Z", 20, of=log)
        place.book.may_go |= set(place.book.written[log])
        place.fill(f"{log}.20260102T000000Z-1", 20, of=log)
        place.log(log, place.book.text(log, 60))


def _waited(word: str, times: int = 1) -> Script:
    """Waits until a word was said so many times, or something failed, or it takes too long; returns what was said."""
    end = time.monotonic() + PATIENCE
    while (said := (yield)).count(word) < times and '.failed"' not in said and time.monotonic() < end:
        pass
    return said


def _told(said: str, number: int) -> None:
    """Sends the daemon a signal, if it has said that it is there."""
    found = next((line for line in said.splitlines() if '"daemon.started"' in line), None)
    if found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(found)["pid"], number)


def _first_start(_: Place) -> Script:
    """The daemon starts for the first time, and is told to end."""
    _told((yield from _waited('"daemon.started"')), signal.SIGTERM)
    return (yield from _waited('"daemon.stopped"'))


def _reload(place: Place) -> Script:
    """Another job comes by SIGHUP; its log is due as soon as it is known, since it is too large."""
    said = yield from _waited('"log.compressed"')
    place.write_config(RELOADED)
    _told(said, signal.SIGHUP)
    _told((yield from _waited('"log.compressed"', 2)), signal.SIGTERM)
    return (yield from _waited('"daemon.stopped"'))


def _grown(place: Place) -> None:
    place.fill("a.log", 60)
    place.log("b.log", place.book.text("b.log", 60))


def started_again(scene: Scene) -> Scene:
    """The same, but the daemon is only started and ended."""
    return replace(scene, script=_first_start)


ARCHIVE = '[archive.all]\npaths = ["LOGS/**/*.csv"]\nto = "LOGS/archive"\ncron = "@daily"\nolder_than = "1d"\n'
GROWN = '[rotate.a]\npaths = ["LOGS/a.log"]\nmax_size = "1K"\n'
RELOADED = GROWN + '[rotate.b]\npaths = ["LOGS/b.log"]\nmax_size = "1K"\n'

SCENES = {
    scene.name: scene
    for scene in (
        Scene("nobody", PLAIN, _live, ("",)),
        Scene(
            "signal",
            ROTATE + 'signal = { name = "HUP", pidfile = "HERE/writer.pid" }\n',
            _live,
            (".zst",),
            holds="append",
        ),
        Scene("supervisord", ROTATE, _live, (".zst",), holds="append", by=SUPERVISORD),
        Scene("command", PLAIN + 'command = ["/bin/sh", "HERE/tell"]\n', _live, ("",), holds="append"),
        Scene("by itself", ROTATE + 'reopen = "none"\n', _live, (".zst",), holds="watch"),
        Scene("olddir", PLAIN + 'olddir = "old"\n', _live, ("",)),
        Scene("zstd", ROTATE, _set_aside, (".zst",)),
        Scene("gzip", ROTATE + 'compress = "gzip"\n', _set_aside, (".gz",)),
        Scene(
            "old files",
            '[compress.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1d"\n',
            _old_files,
            (".zst",),
        ),
        Scene("archive", ARCHIVE, _old_prices, (), leaves=("archive/2026/c.csv.zst", "archive/d.csv.zst")),
        Scene(
            "archive, renamed",
            ARCHIVE + 'compress = "none"\n',
            _old_prices,
            (),
            leaves=("archive/2026/c.csv", "archive/d.csv"),
        ),
        Scene(
            "archive, bundled",
            ARCHIVE + 'bundle = "day"\nbase = "LOGS"\n',
            _dated_prices,
            (),
            leaves=("archive/2026-02-03.tar.zst", "archive/2026-02-04.tar.zst"),
        ),
        Scene(
            "archive, thinned out",
            ARCHIVE + 'keep_last = 1\nmax_share = "100%"\n',
            _archived,
            (),
            leaves=("archive/c-3.csv",),
        ),
        Scene(
            "expire files",
            '[expire.all]\npaths = ["LOGS/**/*Z"]\ncron = "@daily"\nper = "log"\nkeep_last = 1\nmax_share = "100%"\n',
            _outdated,
            (),
            leaves=("gone/b.log.20260102T000000Z", "old/a.log.20260103T000000Z"),
        ),
        Scene("expire", PLAIN + "keep = 1\n", _generations, ("",)),
        Scene(
            "guard",
            PLAIN + '[guard.logs]\ndirectory = "LOGS"\nmax_used = "512K"\n',
            _too_much,
            ("", ""),
        ),
        Scene("two logs", ROTATE + "keep = 2\n", _two_logs, (".zst",) * 4),
        Scene("first start", ROTATE, _live, (".zst",), ("run",), _first_start),
        Scene("reload", GROWN, _grown, (".zst",) * 2, ("run",), _reload, later=RELOADED),
    )
}
PAUSE = "pause_writers = true\n"
IN_PLACE = (
    Scene("collapse", ROTATE, _untold, (".zst",), holds="append", collapses=True),
    Scene("collapse, gzip", ROTATE + 'compress = "gzip"\n', _untold, (".gz",), holds="append", collapses=True),
    Scene("collapse, plain", PLAIN, _untold, ("",), holds="append", collapses=True),
    Scene("collapse, slices", ROTATE, _large, (".zst",), holds="append", disk=64 << 20),
    Scene(
        "collapse, part by part", ROTATE, _larger_than_the_room, (".zst",), holds="append", disk=SIZE, room=256 << 10
    ),
    Scene("adopt", PLAIN + "adopt = true\n", _untold, ("",), holds="offset", collapses=True),
    Scene("pause", PLAIN + PAUSE, _untold, ("",), holds="append"),
    Scene("lossy", PLAIN + "lossy = true\n", _untold, ("",), holds="append"),
)
"""A writer that cannot be told, on a file system that can collapse its log, and on one that cannot."""
RENAMES = tuple(scene for scene in SCENES.values() if not scene.script)
"""The scenes that are one run of `maintd do`, with the same calls each time; those in place apart."""
ONE_RUN = (*RENAMES, *IN_PLACE)
THOROUGH = ("zstd", "collapse")
"""Those in which each call fails in each way; the others share most calls with these, and get the ways by turns."""
UNSYNCED = tuple(
    replace(scene, name=f"{scene.name}, unsynced", unsynced=300)
    for scene in IN_PLACE
    if scene.name in ("collapse", "pause", "lossy")
)
"""For power cuts alone."""
SCENES |= {scene.name: scene for scene in (*IN_PLACE, *UNSYNCED)}
