"""One odd inode in the place of each file that one job is about: set up, left to `maintd do`, and looked at.

It is there before the plan is made, or it comes between the plan and its execution: then `maintd do` is held up by a
full pipe, which its first step, told before it is done, does not fit into.
"""

import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.conftest import environment, until
from tests.tree import MAINTD, Tree, content

from . import account
from .deeds import COLLAPSE, COMPRESS, DEEDS, IGNORED, NEW, OLD, REFUSED, ROTATE, Deed
from .odd_inodes import ALTERED, INSTEAD, POWERLESS, undo

PATIENCE = 15.0
CONTENT = b"what was there before\n" * 1000
SET_ID = 0o6000
MOST_READ = 1 << 30


@dataclass
class Scene:
    """One odd inode in the place of each file that one job is about, and what came of it, by deed."""

    kind: str
    when: str
    job: str
    outcomes: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0

    def play(self) -> None:
        with tempfile.TemporaryDirectory(prefix="maintd-", ignore_cleanup_errors=True) as folder:
            self.tree = Tree(Path(folder).resolve(), self.job)
            self.outside = self.tree.folder / "outside"
            self.outside.mkdir()
            precious = self.outside / "precious"
            precious.write_bytes(b"precious\n")
            self.tree.make_older(precious, 1e6)
            self._make_honest()
            with ExitStack() as held:
                if self.job == COLLAPSE:
                    for path in (*self.paths.values(), self.tree.logs / "good.log"):
                        held.enter_context(path.open("ab"))
                for path in self.paths.values():
                    held.callback(undo, self.kind, path)
                WHEN[self.when](self)

    @property
    def paths(self) -> Mapping[str, Path]:
        return {name: self.tree.logs / deed.file for name, deed in DEEDS.items() if deed.job == self.job}

    def _make_honest(self) -> None:
        """The files as they would be without malice, and beside them some that are to be done all the same."""
        for path in self.paths.values():
            self.tree.log(path.name, CONTENT, age=1e6)
        if self.job == ROTATE:
            for name in ("archive.log", "expire.log", "clean.log"):
                self.tree.log(name, b"")
            self.tree.log(f"expire.log.{NEW}.zst")
            original = self.tree.log(f"clean.log.{OLD}")
            os.link(original, self.tree.folder / "second name")  # so that it is not compressed itself
        self.tree.log("good.csv" if self.job == COMPRESS else "good.log", CONTENT, age=1e6)

    def swap(self) -> None:
        """Puts the odd inodes in the place of the honest ones."""
        for path in self.paths.values():
            if self.kind in INSTEAD:
                path.unlink()
                INSTEAD[self.kind](path, self.outside)
            else:
                before = path.lstat()
                ALTERED[self.kind](path, self.outside)
                if self.when == "before" and not self.kind.startswith(("chattr", "mount")):
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.before = {path: _identity(path) for path in self.paths.values()}
        self.bystanders = _bystanders(self.outside)

    def look(self, stdout: bytes) -> None:
        """Sees what came of it, from what the program said and from the tree."""
        messages = [json.loads(line) for line in stdout.splitlines() if line]
        events = [message for message in messages if message["type"] == "event"]
        for name, path in self.paths.items():
            self.outcomes[name] = self._outcome(path, DEEDS[name], [e for e in events if e.get("target") == str(path)])
        if _bystanders(self.outside) != self.bystanders:
            self.faults.append("something outside was touched")
        good = [event["event"] for event in events if Path(event.get("target", "")).name.startswith("good.")]
        if not good:
            self.faults.append("the honest file beside it was not done")
        self.slowest_ms = _slowest(events)
        self.faults += [f"left behind: {name}" for name in self._left_over()]

    def _outcome(self, path: Path, deed: Deed, events: list[dict[str, Any]]) -> str:
        if deed.done in [event["event"] for event in events]:
            return deed.done if self._is_well_done(path, deed) else f"{deed.done}, wrongly"
        if not os.path.lexists(path):
            return "gone without a word"
        if _identity(path) != self.before[path]:
            return f"touched: {self.before[path]} is {_identity(path)}"
        reasons = [event for event in events if event.get("reason") or event.get("error_msg")]
        return REFUSED if reasons else IGNORED

    def _is_well_done(self, path: Path, deed: Deed) -> bool:
        if deed.done in ("log.expired", "temporary.removed"):
            return not os.path.lexists(path)
        (made,) = [found for found in self.tree.logs.glob(f"{path.name}.*") if not found.name.endswith("-tmp")]
        live = account.live(path) if deed.done == "log.rotated" else b""
        if deed.done == "log.rotated" and deed.job == ROTATE:
            info = path.lstat()
            if info.st_size or info.st_mode & SET_ID or info.st_ino == self.before[path][1]:
                return False
        if made.lstat().st_size > MOST_READ:
            return made.lstat().st_ino == self.before[path][1]
        return content(made) + live == CONTENT and not (made.suffix == ".zst" and made.lstat().st_mode & SET_ID)

    def _left_over(self) -> Iterator[str]:
        """Temporaries that are none of ours to begin with."""
        for path in self.tree.logs.iterdir():
            if path.name.endswith(".maintd-tmp") and path not in self.paths.values():
                yield path.name


def _before_the_plan(scene: Scene) -> None:
    scene.swap()
    process = subprocess.Popen(_argv(scene), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    scene.look(_output(process, scene))


def _after_the_plan(scene: Scene) -> None:
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"\n" * size)
    process = subprocess.Popen(_argv(scene), stdout=writer, stderr=subprocess.PIPE, env=environment())
    os.close(writer)
    try:
        until(lambda: _is_writing(process.pid), "the plan is made, and its first step told", PATIENCE)
        scene.swap()
        process.stdout = open(reader, "rb")
        scene.look(_output(process, scene))
    finally:
        if process.stdout is None:
            os.close(reader)
        process.kill()
        process.communicate()


WHEN: dict[str, Callable[[Scene], None]] = {"before": _before_the_plan, "after": _after_the_plan}


def _argv(scene: Scene) -> list[str | Path]:
    """As root, or as root without any capability, for whom the rights of files count."""
    under = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if scene.kind == POWERLESS else []
    return [*under, MAINTD, "-c", scene.tree.config, "do", "--all", "--json"]


def _output(process: "subprocess.Popen[bytes]", scene: Scene) -> bytes:
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        scene.faults.append(f"hung for {PATIENCE:.0f} s: {(stdout.splitlines() or [b''])[-1].decode()[:300]}")
    if b"Traceback" in stderr:
        scene.faults.append(stderr.decode())
    return stdout


def _is_writing(pid: int) -> bool:
    """Whether a thread of a process waits in write(2) to its stdout (proc_pid_syscall(5))."""
    calls = []
    with suppress(OSError):
        calls = [path.read_text().split()[:2] for path in Path(f"/proc/{pid}/task").glob("*/syscall")]
    return ["1", "0x1"] in calls or ["64", "0x1"] in calls  # write(2) on x86-64, on aarch64


def _identity(path: Path) -> tuple[int, ...]:
    info = path.lstat()
    return info.st_dev, info.st_ino, info.st_mode, info.st_nlink, info.st_size, info.st_mtime_ns, info.st_uid


def _bystanders(outside: Path) -> dict[str, tuple[bytes, int]]:
    """What lies outside, without how often it is linked: removing a name of ours is no harm."""
    return {
        path.name: (path.read_bytes() if path.lstat().st_size < 1 << 20 else b"", path.lstat().st_mode)
        for path in outside.iterdir()
    }


def _slowest(events: list[dict[str, Any]]) -> float:
    """The longest time between two events, in milliseconds: no answer took longer than that."""
    times = [datetime.fromisoformat(event["ts"]) for event in events]
    return max(((later - earlier).total_seconds() * 1000 for earlier, later in pairwise(times)), default=0)
