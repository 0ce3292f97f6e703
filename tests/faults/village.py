"""Logs of any name, a service that has them all open, hooks, and a real daemon that rotates them.

Each log has a content of its own, by which it is found again. The service reopens them on SIGUSR1, which the job's
`command` sends.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from tests.conftest import until
from tests.tree import Tree

from . import odd_names
from .resident import resident

PATH_MAX = 4095
"""The longest path in bytes that a system call takes, without its final NUL."""
LONGEST_TO_ROTATE = 255 - len(".20260101T000000Z.zst")
ARGUMENTS = ["$(touch %s)", ";touch %s", "`touch %s`", "a\nb", 'quote"', "-rf", "%s", "*", "\x1b[31m", "größe"]
JOB = """
[rotate.all]
paths = ["LOGS/**", "LOGS/**/.*"]
max_size = 1
command = {command}
before = {before}
after = {after}
"""
HOOK = """#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done >> "{record}"
env -0 > "{record}.env"
printf 'said: \\033[31m\\377 \\\\ "\\n'
if [ "$1" = tell ]; then kill -USR1 "$(cat "{pid}")"; fi
"""
SERVICE = """
import os, resource, signal, sys

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
paths = sys.stdin.buffer.read().split(b"\\0")
flags = os.O_WRONLY | os.O_APPEND
held = [os.open(path, flags) for path in paths]

def reopen(*_):
    for path, descriptor in zip(paths, held):
        new = os.open(path, flags)
        os.dup2(new, descriptor)
        os.close(new)

signal.signal(signal.SIGUSR1, reopen)
os.write(1, b"ready")
while True:
    signal.pause()
"""


@dataclass
class Village:
    """Logs by their paths, each with its content, and what became of them."""

    tree: Tree
    share: float
    logs: dict[bytes, bytes] = field(default_factory=dict)
    inodes: dict[bytes, int] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def live(self) -> None:
        """Makes the logs, lets the service open them and the daemon rotate them, and keeps what the daemon said."""
        self._found(_sampled(odd_names.groups().values(), self.share))
        self.tree.write_config(self._job())
        before = Path("/", odd_names.TRACE.decode()).exists()
        assert not before, "somebody's shell was here before: remove it"
        output = self.tree.folder / "events"
        expected = sum(len(os.path.basename(path)) <= LONGEST_TO_ROTATE for path in self.logs)
        with self._service(), resident(self.tree, output) as daemon:
            until(lambda: output.read_bytes().count(b'"event":"log.compressed"') >= expected, "all compressed", 120)
            assert daemon.stop() == 0
        self.lines = output.read_bytes().splitlines()
        self.events = [json.loads(line) for line in self.lines]

    def _found(self, names: Iterable[bytes]) -> None:
        folders = [self.tree.logs, *_deep(self.tree.logs)]
        for name in names:
            self._log(os.path.join(os.fsencode(folders[0]), name))
        for folder in folders[1:]:
            room = PATH_MAX - len(os.fsencode(folder)) - 1
            self._log(os.fsencode(folder / ("p" * room)))
            self._log(os.fsencode(folder / '"\n'))

    def _log(self, path: bytes) -> None:
        content = b"content of log %d\n" % len(self.logs)
        with open(path, "xb") as file:
            file.write(content)
            self.inodes[path] = os.fstat(file.fileno()).st_ino
        self.logs[path] = content

    # The hooks and the service

    @property
    def record(self) -> Path:
        return self.tree.folder / "record"

    @property
    def arguments(self) -> list[str]:
        return [word.replace("%s", odd_names.TRACE.decode()) if "touch" in word else word for word in ARGUMENTS]

    def _job(self) -> str:
        place = self.tree.folder / "ho ok;$(touch x)"
        place.mkdir()
        hook = place / 'a "hook"'
        hook.write_text(HOOK.format(record=self.record, pid=self.tree.folder / "pid"))
        hook.chmod(0o755)
        commands = {
            name: json.dumps([str(hook), first, *self.arguments], ensure_ascii=False).replace("\x7f", "\\u007f")
            for name, first in (("command", "tell"), ("before", "before"), ("after", "after"))
        }
        return JOB.format(**commands)

    @contextmanager
    def _service(self) -> Iterator[None]:
        """The service; how it is called is as hostile as its logs are."""
        script = self.tree.folder / 'ser"vice\n\x1b[31m$(touch x) \udcff'
        script.write_text(SERVICE)
        process = subprocess.Popen(
            [sys.executable, "-IS", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(b"\0".join(self.logs))
            process.stdin.close()
            assert process.stdout.read(5) == b"ready"
            (self.tree.folder / "pid").write_text(str(process.pid))
            yield
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]

    def count(self, name: str) -> int:
        return len(self.named(name))


def _sampled(groups: Iterable[list[bytes]], share: float) -> Iterator[bytes]:
    for names in groups:
        count = max(1, ceil(len(names) * share))
        yield from (names[at * len(names) // count] for at in range(count))


def _deep(root: Path) -> Iterator[Path]:
    """Directories in which a path can just be as long as a path may be."""
    for number in range(3):
        path = root / f"deep{number}"
        while len(os.fsencode(path)) < PATH_MAX - 260:
            path /= f"{number}\n\x1b".ljust(200 + number, "d")
        path /= "e" * (PATH_MAX - 100 - len(os.fsencode(path)))
        path.mkdir(parents=True)
        yield path
