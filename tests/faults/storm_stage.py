"""A storm at work: a folder with its logs, their writers, and the real maintd that rotates them as fast as it can."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from maintd.cli.exits import Exit
from tests.conftest import environment
from tests.tree import MAINTD, Tree

from . import account
from .account import Account
from .ground import ground
from .storm_scenes import Scene, Storm
from .writers import ENDS_WITH_US, Writers

MARK = "STORM_OF_MAINTD"
"""In the environment of the daemon, and so of every worker that it starts."""


class Stage:
    """The logs of a storm in `folder`, being written; maintd is started and ended by whoever uses this."""

    def __init__(self, folder: Path, storm: Storm) -> None:
        self.tree = Tree(folder)
        self.events = folder / "events"
        self.scenes = {scene.name: scene for scene in storm.scenes}
        self.writers: dict[str, Writers] = {}
        self.daemon: subprocess.Popen[bytes] | None = None
        try:
            for name, scene in self.scenes.items():
                self.writers[name] = Writers(self.log(name), folder / name, scene.cast)
            for writers in self.writers.values():
                writers.await_lines()
        except BaseException:
            self.kill()
            raise
        self.tree.write_config("".join(map(self._job, storm.scenes)))

    def _job(self, scene: Scene) -> str:
        if scene.options is None:
            return ""
        options = scene.options.replace("{pidfile}", str(self.writers[scene.name].pidfile))
        return f'[rotate.{scene.name}]\npaths = ["{self.log(scene.name)}"]\nmax_size = "1K"\n{options}'

    def log(self, name: str) -> Path:
        return self.tree.logs / f"{name}.log"

    def rotations(self, name: str) -> int:
        return account.rotations(account.archives(self.log(name)))

    def start(self) -> subprocess.Popen[bytes]:
        """Starts maintd; its events are added to those of the ones before."""
        self.begun_at = self.events.stat().st_size if self.events.exists() else 0
        with self.events.open("ab") as events, (self.tree.folder / "stderr").open("ab") as errors:
            self.daemon = subprocess.Popen(
                [*ENDS_WITH_US, MAINTD, "-c", self.tree.config, "run"],
                stdin=subprocess.DEVNULL,
                stdout=events,
                stderr=errors,
                env=environment(**{MARK: str(self.tree.folder)}),
                cwd="/",
            )
        return self.daemon

    def said(self, name: str = "", begun_at: int = 0) -> list[dict[str, Any]]:
        """What all maintds said from a place in their file on; a line that one was killed in is left out."""
        found = []
        with self.events.open("rb") as events:
            events.seek(begun_at)
            for line in events:
                with suppress(json.JSONDecodeError):
                    found.append(json.loads(line))
        return [event for event in found if not name or event["event"] == name]

    def is_at_work(self) -> bool:
        """Whether the maintd that was started last has said so."""
        return bool(self.said("daemon.started", self.begun_at))

    def has_rotated(self, name: str) -> bool:
        """Whether the maintd that was started last has rotated this log."""
        return any(event["job"] == f"rotate.{name}" for event in self.said("log.rotated", self.begun_at))

    def last_words(self) -> str:
        """What the last maintd wrote to stderr, and its last events."""
        errors = (self.tree.folder / "stderr").read_text(errors="replace").strip()[-300:]
        events = [f"{event['event']}: {event['msg']}"[:120] for event in self.said(begun_at=self.begun_at)[-3:]]
        return "; ".join([*([errors] if errors else []), *events])

    def family(self) -> list[int]:
        """The pids of every process that descends from a daemon of this stage, it included, by its environment."""
        wanted = f"{MARK}={self.tree.folder}".encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(int(pid))
        return found

    def stopped(self) -> list[str]:
        """The logs of which a writer is stopped now (SIGSTOP)."""
        return [name for name, writers in self.writers.items() if writers.are_stopped()]

    def end(self, number: int = signal.SIGTERM) -> float:
        """Sends the daemon a signal and waits for its end; returns how long that took, in seconds."""
        assert self.daemon
        begun = time.monotonic()
        self.daemon.send_signal(number)
        self.daemon.wait(30)
        return time.monotonic() - begun

    def settle(self) -> dict[str, Account]:
        """Stops the writers, then maintd; has `maintd do` finish what was begun, and counts every log's lines."""
        for writers in self.writers.values():
            writers.end()
        written = {name: writers.ended() for name, writers in self.writers.items()}
        if self.daemon and self.daemon.poll() is None:
            self.end()
        done = self.tree.do()
        if done.code == Exit.PARTLY:  # a rotation in place that was cut off is completed first, the next one put off
            done = self.tree.do()
        accounts = {name: account.settle(self.log(name), lines) for name, lines in written.items()}
        if done.code:
            why = [
                event["msg"] for event in done.events() if event["event"].endswith((".failed", ".refused", ".waiting"))
            ]
            next(iter(accounts.values())).strays.append(f"maintd do ended with {done.code}: {why[:3]} {done.stderr}")
        return accounts

    def kill(self) -> None:
        """Ends everything that is left, at once."""
        for writers in self.writers.values():
            writers.kill()
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()


@contextmanager
def staged(storm: Storm) -> Iterator[Stage]:
    """A stage on a file system of the storm's kind; everything on it ends with the block."""
    with ground(storm.place) as folder:
        stage = Stage(folder, storm)
        try:
            yield stage
        finally:
            stage.kill()


def reached(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
