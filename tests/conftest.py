"""What tests of any part may need: the real program, a place with logs and a config, an answering control socket."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from maintd.control import Control
from maintd.requests import Request

PROGRAM = Path(__file__).parents[1] / ".venv" / "bin" / "maintd"
"""The program in the environment that holds the runtime's lock and nothing else."""

Snapshot = dict[bytes, tuple[int, ...]]


def environment(**extra: str) -> dict[str, str]:
    """The environment of a command: ours, without what would configure maintd or say how wide a terminal is.

    Its modules are compiled once, as when it is installed.
    """
    ours = ("MAINTD_", "SUPERVISOR_", "NO_COLOR", "_MAINTD", "COLUMNS", "PYTHONDONTWRITEBYTECODE")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)} | extra


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """The first true value of `condition`; fails if it takes longer than `seconds`.

    One that takes long, since it starts a program, is asked half of the time, so that it does not hold up what it is
    waiting for.
    """
    end = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        if value := condition():
            return value
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(min(max(0.01, time.monotonic() - begun), 0.25))


def snapshot(root: Path) -> Snapshot:
    """Everything below a directory by name: inode, mode, owner, size and times, all but the access time."""
    found: Snapshot = {}
    for folder, _, files in os.walk(os.fsencode(root)):
        for path in [folder, *(os.path.join(folder, name) for name in files)]:
            info = os.lstat(path)
            found[path] = (
                info.st_ino,
                info.st_mode,
                info.st_uid,
                info.st_gid,
                info.st_nlink,
                info.st_size,
                info.st_mtime_ns,
                info.st_ctime_ns,
            )
    return found


@dataclass
class Site:
    """A place with logs and a config; `root` is short enough for a socket's path."""

    root: Path
    logs: Path = field(init=False)
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.logs = self.root / "logs"
        self.logs.mkdir()
        self.config = self.root / "maintd.toml"

    @property
    def state_dir(self) -> Path:
        return self.root / "state"

    @property
    def runtime_dir(self) -> Path:
        return self.root / "run"

    def configure(self, jobs: str) -> Path:
        """Writes the config: the directories of this site, and these jobs, in which {logs} stands for their place."""
        head = f'[daemon]\nstate_dir = "{self.state_dir}"\nruntime_dir = "{self.runtime_dir}"\n'
        head += f'[supervisor]\nurl = "unix://{self.root}/no-supervisor.sock"\n'
        self.config.write_text(head + jobs.replace("{logs}", str(self.logs)), encoding="utf-8")
        self.config.chmod(0o644)
        return self.config

    def log(self, name: str | bytes, content: bytes = b"a line\n" * 100) -> Path:
        """A log with this content."""
        path = self.logs / os.fsdecode(name)
        path.write_bytes(content)
        return path

    def names(self) -> list[str]:
        """The names of the files among the logs, sorted."""
        return sorted(entry.name for entry in self.logs.iterdir())


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as root:
        yield Site(Path(root).resolve())


@dataclass
class Command:
    """The real program. Called, it runs to its end; `start` leaves it running, and it is ended with the test."""

    site: Site
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __call__(
        self, *arguments: str | bytes, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        found = subprocess.run(
            self._argv(arguments),
            input=stdin,
            capture_output=True,
            check=False,
            env=environment(**env or {}),
            timeout=60,
            cwd="/",
        )
        out, err = (data.decode("utf-8", "surrogateescape") for data in (found.stdout, found.stderr))
        return subprocess.CompletedProcess(found.args, found.returncode, out, err)

    def on_terminal(self, *arguments: str | bytes, columns: int = 80, **env: str) -> tuple[int, list[str]]:
        """Runs it on a terminal so wide: its exit code, and the lines that appear there, without their colours."""
        reader, writer = pty.openpty()
        termios.tcsetwinsize(writer, (24, columns))
        process = self.start(*arguments, stdout=writer, env=environment(TERM="xterm", **env))
        os.close(writer)
        data = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while chunk := os.read(reader, 65536):
                data += chunk
        os.close(reader)
        text = re.sub(r"\x1b\[[\d;]*m", "", data.decode().replace("\r\n", "\n"))
        return process.wait(60), text.splitlines()

    def start(self, *arguments: str | bytes, **options: Any) -> subprocess.Popen[bytes]:
        pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(self._argv(arguments), **({"env": environment(), "cwd": "/"} | pipe | options))
        self.running.append(process)
        return process

    def _argv(self, arguments: tuple[str | bytes, ...]) -> list[str | bytes]:
        return [str(PROGRAM), "--config", str(self.site.config), *arguments]


@pytest.fixture
def maintd(site: Site) -> Iterator[Command]:
    command = Command(site)
    yield command
    for process in command.running:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


class Responder:
    """A control server with somebody behind it who answers by verb; what was asked is kept in `asked`."""

    def __init__(self, path: str) -> None:
        self.requests: SimpleQueue[Request | None] = SimpleQueue()
        self.asked: list[Request] = []
        self.answers: dict[str, Callable[[Request], None]] = {}
        self.says("status", {"jobs": []})
        self.control = Control(path, self.requests.put)
        self.thread = threading.Thread(target=self._answer)

    def says(self, verb: str, *messages: dict[str, Any]) -> None:
        """Has `verb` answered with these messages."""

        def answer(request: Request) -> None:
            for message in [*messages, None]:
                request.reply.put(message)

        self.answers[verb] = answer

    def start(self) -> None:
        self.control.start()
        self.thread.start()

    def stop(self) -> None:
        self.control.stop()
        self.requests.put(None)
        self.thread.join()

    def _answer(self) -> None:
        while (request := self.requests.get()) is not None:
            self.asked.append(request)
            self.answers[request.verb](request)


@pytest.fixture
def responder(site: Site) -> Iterator[Responder]:
    found = Responder(str(site.runtime_dir / "control.sock"))
    found.start()
    yield found
    found.stop()
