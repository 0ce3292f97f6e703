"""`maintd run` on a tree of logs of its own, for tests of a daemon at work."""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import environment, until
from tests.tree import MAINTD, Tree

GROWS = '[rotate.{0}]\npaths = ["LOGS/{0}/*.log"]\nmax_size = "1K"\n'
ONE = GROWS.format("a")
TWO = ONE + GROWS.format("b")
DEADLINE = 60.0


class Daemon:
    """`maintd run` as a process of its own on a tree; its stdout goes to a file unless a test gives another."""

    def __init__(self, folder: Path, jobs: str) -> None:
        self.tree = Tree(folder, jobs)
        self.output = folder / "events"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, stdout: Any = None, under: Sequence[str] = (), **options: Any) -> "Daemon":
        """Starts it, and waits for the new process to say so, or to answer if it cannot be heard."""
        count = len(self.events("daemon.started"))
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*under, MAINTD, "-c", self.tree.config, "run"],
                stdout=stdout or output,
                stderr=subprocess.PIPE,
                env=environment(),
                **options,
            )
        if stdout is None and not options:
            self.event("daemon.started", count=count + 1)
        else:
            until(lambda: self.tree.run("status").returncode == 0, "it answers", DEADLINE)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        _, stderr = self.process.communicate(timeout=10)
        assert b"Traceback" not in stderr, stderr.decode()
        code = self.process.returncode
        self.process = None
        return code

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def hang_up(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        if not self.output.exists():
            return []
        whole = self.output.read_bytes().rpartition(b"\n")[0]
        found = [json.loads(line) for line in whole.splitlines()]
        return [event for event in found if name is None or event["event"] == name]

    def event(self, name: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """Waits for the count-th event of that name with these fields."""

        def matching() -> list[dict[str, Any]]:
            named = self.events(name)
            return [event for event in named if all(event.get(key) == value for key, value in fields.items())]

        def is_over() -> bool:
            return len(matching()) >= count or (self.process is not None and self.process.poll() is not None)

        try:
            until(is_over, f"{count} of {name} {fields}", DEADLINE)
            assert len(matching()) >= count, f"{self._ended()} before there were {count} of {name} {fields}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(map(json.dumps, self.events()[-15:]))) from None
        return matching()[count - 1]

    def _ended(self) -> str:
        assert self.process is not None
        assert self.process.stderr is not None
        return f"maintd ended with {self.process.returncode}: {self.process.stderr.read().decode()}"

    def grow(self, name: str, content: bytes = b"x" * 2000) -> Path:
        """Writes a log that is larger than every max_size here."""
        return self.tree.log(name, content)

    def rotates(self, name: str) -> dict[str, Any]:
        """Lets a log grow, and waits until it was rotated and compressed."""
        count = sum(event["target"] == str(self.tree.logs / name) for event in self.events("log.rotated"))
        log = self.grow(name)
        return self.event("log.rotated", count=count + 1, target=str(log))

    def status(self) -> dict[str, Any]:
        found = self.tree.run("status", "--json")
        return dict(json.loads(found.stdout))

    def state_of(self, job: str) -> str:
        return next(found["state"] for found in self.status()["jobs"] if found["name"] == job)
