"""Running a configured command: an argv list, a clean environment, a time limit, its whole process group ended."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from maintd.actions.hands import Hands
from maintd.errors import MaintdError, TimedOut
from maintd.events import Event, Failure
from maintd.steps import Action, Lane
from maintd.units import format_duration

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "LANG": "C.UTF-8"}
_TAIL = 1000
_MOST_OUTPUT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class CommandFinished(Event):
    """A configured command ended with status 0. `output` is the end of what it printed."""

    name: ClassVar[str] = "command.finished"

    command: str
    output: str

    @property
    def msg(self) -> str:
        return f"ran {self.command}"


@dataclass(frozen=True, kw_only=True)
class CommandFailed(Failure):
    """A configured command failed, could not be started, or took too long and was ended."""

    name: ClassVar[str] = "command.failed"


@dataclass(frozen=True, kw_only=True)
class RunCommand(Action):
    """Runs `argv` (never through a shell). Lane and needs say when: before, to tell a writer, or after."""

    verb: ClassVar[str] = "run"
    failure: ClassVar[type[Failure]] = CommandFailed
    lane: ClassVar[Lane] = Lane.ROTATE

    argv: tuple[str, ...]
    limit: timedelta
    tells: bool = False
    any_need: bool = False

    def is_possible(self, done: AbstractSet[int]) -> bool:
        if self.any_need:
            return not self.needs or any(id(need) in done for need in self.needs)
        return super().is_possible(done)

    @property
    def detail(self) -> str:
        return f"at most {format_duration(self.limit)}"

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        output = os.memfd_create("output", os.MFD_CLOEXEC)
        try:
            status = self._run(output, hands)
            tail = _tail(output)
        finally:
            os.close(output)
        if status != 0:
            how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
            raise MaintdError(f"{self.argv[0]} {how}" + (f": {tail}" if tail else ""))
        if self.tells:
            hands.told_at = time.monotonic()
        yield CommandFinished(target=self.target, command=shlex.join(self.argv), output=tail)

    def _run(self, output: int, hands: Hands) -> int:
        process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        try:
            return self._wait(process, output, hands)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def _wait(self, process: "subprocess.Popen[bytes]", output: int, hands: Hands) -> int:
        end = time.monotonic() + self.limit.total_seconds()
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.02)
            hands.check()
            if os.fstat(output).st_blocks * 512 > _MOST_OUTPUT:
                os.ftruncate(output, 0)  # memory, no file: a command that prints without end must not fill it
            if time.monotonic() >= end:
                raise TimedOut(
                    f"{self.argv[0]} took longer than {format_duration(self.limit)} and was ended",
                    hint="raise command_timeout, or let the command end earlier",
                )


def is_runnable(program: str) -> bool:
    """Whether a command can be found, by its path or in the PATH that commands get, and may be run."""
    places = [program] if "/" in program else [os.path.join(place, program) for place in _PATH.split(":")]
    return any(os.path.isfile(place) and os.access(place, os.X_OK) for place in places)


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _TAIL, max(0, size - _TAIL)).decode(errors="replace").strip("\0 \n\t")
