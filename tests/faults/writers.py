"""Writers of a log as real processes: through supervisord or by themselves, however many, and what each has written."""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import until

from .table import Skipped

SCRIBE = Path(__file__).with_name("scribe.py")
SUPERVISORD = Path(sys.executable).with_name("supervisord")
PATIENCE = 30.0
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Before a command: no disk gets full because a test was killed."""


@dataclass(frozen=True)
class Cast:
    """Who writes a log: a kind of scribe.py, and the ids of each of its processes.

    "ab" are two children that share one open file, ("a", "b") two processes that opened it each. `rate` in lines a
    second of each writer, 0 for as fast as it goes.
    """

    kind: str
    processes: tuple[str, ...] = ("a",)
    rate: int = 0


class Writers:
    """The writers of one log, at work from the start until `stop`; they end by themselves if their parent dies."""

    def __init__(self, log: Path, folder: Path, cast: Cast) -> None:
        self.log, self.folder, self.cast = log, folder, cast
        self.pidfile = folder / "pid"
        folder.mkdir()
        commands = [
            [sys.executable, SCRIBE, cast.kind, log, "--ids", ids, "--report", folder, "--rate", str(cast.rate)]
            for ids in cast.processes
        ]
        if cast.kind == "pipe":
            commands = [self._supervised(command) for command in commands]
        self.processes = [_started(list(map(str, command)), folder / "stderr") for command in commands]
        self.pidfile.write_text(f"{self.processes[0].pid}\n")

    def _supervised(self, command: list[str | Path]) -> list[str | Path]:
        """A supervisord that has the command as its only program, and the log as its stdout_logfile."""
        if not SUPERVISORD.exists():
            raise Skipped(f"there is no {SUPERVISORD}: make setup")
        config = self.folder / "supervisord.conf"
        config.write_text(
            f"[supervisord]\nlogfile={self.folder}/supervisord.log\npidfile={self.folder}/supervisord.pid\n"
            "nodaemon=true\nsilent=true\n"
            f"[program:scribe]\ncommand={' '.join(map(str, command))}\nautorestart=false\nstartsecs=0\n"
            f"stdout_logfile={self.log}\nstdout_logfile_maxbytes=0\nstderr_logfile={self.folder}/stderr\n"
        )
        return [SUPERVISORD, "-c", config]

    def await_lines(self) -> None:
        """Returns when each of them has begun to write."""
        until(lambda: min(self.lines().values()), f"the writers of {self.log.name} write", PATIENCE)

    def lines(self) -> dict[str, int]:
        """How many lines each writer has written so far, at least."""
        return {ident: int(self._report(ident)[0]) for ident in "".join(self.cast.processes)}

    @property
    def worst_ms(self) -> float:
        """How long the longest write of any of them took; known at their end."""
        return max(float(self._report(ident)[1]) for ident in "".join(self.cast.processes))

    def _report(self, ident: str) -> list[str]:
        report = self.folder / ident
        return (report.read_text() if report.exists() else "").split() or ["0", "0"]

    def are_stopped(self) -> bool:
        """Whether any of them is stopped now (SIGSTOP)."""
        own = [psutil.Process(process.pid) for process in self.processes]
        return any(
            one.status() == psutil.STATUS_STOPPED
            for parent in own
            for one in [parent, *parent.children(recursive=True)]
        )

    def end(self) -> None:
        """Tells the writers to end, each after a whole line."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)

    def ended(self) -> dict[str, int]:
        """Waits for their end; returns how many lines each has written."""
        for process in self.processes:
            code = process.wait(PATIENCE)
            assert code == 0, f"a writer of {self.log.name} ended with {code}: {(self.folder / 'stderr').read_text()}"
        return self.lines()

    def kill(self) -> None:
        """Ends whatever is left of them, at once."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _started(command: list[str], stderr: Path) -> subprocess.Popen[bytes]:
    with stderr.open("ab") as errors:
        return subprocess.Popen(
            [*ENDS_WITH_US, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
