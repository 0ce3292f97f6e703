"""Asking supervisord: each plan asks each question once, and one that hangs costs one deadline, not one a log."""

import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .tree import Tree

ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
HOLD = 'import sys; held = open(sys.argv[1], "ab"); print("held", flush=True); sys.stdin.read()'


class Hanging:
    """What listens where supervisord should, takes connections and never answers; `asked` counts them."""

    def __init__(self, path: Path) -> None:
        self.asked = 0
        self._kept: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._kept.append(connection)
            self.asked += 1

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for taken in (self._listening, *self._kept):
            taken.close()


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve(), ROTATE)


@pytest.fixture
def hanging(tree: Tree) -> Iterator[Hanging]:
    found = Hanging(tree.folder / "supervisor.sock")
    yield found
    found.stop()


@pytest.fixture
def held(tree: Tree) -> Iterator[list[str]]:
    """Three logs, each written by a process of its own."""
    logs = [str(tree.log(f"{name}.log")) for name in "abc"]
    running = []
    for log in logs:
        command = [sys.executable, "-IS", "-c", HOLD, log]
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    for process in running:
        assert process.stdout.readline() == b"held\n"
    yield logs
    for process in running:
        process.communicate()


def test_a_supervisord_that_hangs_is_asked_once_in_a_plan(tree, hanging, held):
    """Three logs with three writers, and a program to signal: one question; every log is refused."""
    tree.write_config(ROTATE + 'signal = { name = "USR1", program = "web" }\n')
    steps = tree.plan()
    assert [step["target"] for step in steps if "does not answer" in step["reason"]] == held
    assert hanging.asked == 1


def test_check_asks_a_supervisord_that_hangs_once(tree, hanging):
    """However many jobs name programs, one that does not answer costs `check` one deadline and one warning."""
    signal = 'signal = { name = "USR1", program = "web" }\n'
    tree.write_config(ROTATE + signal + ROTATE.replace("all", "other").replace("*.log", "*.out") + signal)
    tree.log("a.log")
    tree.log("a.out")
    (warning,) = tree.run("check").stderr.splitlines()
    assert "does not answer" in warning
    assert hanging.asked == 1
