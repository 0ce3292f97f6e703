"""A daemon on a tree of its own, for campaigns that ask it directly and read its stdout, or do not."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from maintd import client
from maintd.errors import MaintdError
from tests.conftest import environment, until
from tests.tree import MAINTD, Tree

PATIENCE = 30.0


class Resident:
    """`maintd run` as a process of its own; its stderr goes to a file, which is to stay empty."""

    def __init__(self, tree: Tree, stdout: int, *, under: Sequence[str] = (), **options: Any) -> None:
        self.tree = tree
        self.stderr = tree.folder / "stderr"
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*under, MAINTD, "-c", tree.config, "run"],
                stdout=stdout,
                stderr=stderr,
                env=environment(),
                cwd="/",
                **options,
            )
        until(self._answers, "the daemon answers", PATIENCE)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.stderr.read_text()}"
        with suppress(MaintdError):
            return bool(self.status())
        return False

    @property
    def socket(self) -> str:
        return client.socket_path(f"{self.tree.folder}/run")

    def status(self) -> dict[str, Any]:
        return client.ask(self.socket, "GET", "/status", timeout=PATIENCE)

    def do(self, *jobs: str) -> list[dict[str, Any]]:
        """What `maintd do JOB…` tells through the daemon."""
        return list(client.stream(self.socket, "/do", {"jobs": jobs, "due_only": False}))

    def reload(self) -> dict[str, Any]:
        """Reads the config again, and returns the verdict."""
        return client.ask(self.socket, "POST", "/reload", {"force": False}, timeout=PATIENCE)

    def stop(self) -> int:
        """Ends it in order; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def resident(tree: Tree, stdout: int | Path, **options: Any) -> Iterator[Resident]:
    """A daemon that is ended with the block; `stdout` is a descriptor, or a file that is begun anew."""
    output = os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644) if isinstance(stdout, Path) else stdout
    try:
        one = Resident(tree, output, **options)
    finally:
        if isinstance(stdout, Path):
            os.close(output)
    try:
        yield one
    finally:
        one.kill()
