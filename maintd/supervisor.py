"""supervisord: what its XML-RPC interface says of its programs, and signals to exactly the process that was seen."""

import math
import os
import signal
import stat
import time
from dataclasses import field, replace
from typing import Any, Self

from maintd import grounds
from maintd.errors import Denied, Refused, Unreachable
from maintd.holders import catches, start_and_uid
from maintd.values import dataclass

_LEAST = 0.05
"""Seconds that a question has in any case."""
_WITHIN = bytes(range(0x80, 0xC0))
"""Bytes that are in UTF-8 within a character."""
_URL = "set [supervisor] url to the serverurl of supervisorctl"


@dataclass(frozen=True)
class Program:
    """A program of supervisord: `name` is `group:name`, pid 0 if it does not run, `error` why it cannot be started.

    `stopped_for` is how many seconds ago it stopped last, or was last tried to be started, by supervisord's clock: very
    many if it never was, or if nobody can say. `exit_status` is -1 after a signal. `started` is when, by its clock.
    """

    name: str
    state: str
    pid: int
    error: str = ""
    exit_status: int = 0
    stopped_for: float = 0.0
    started: float = 0.0

    @classmethod
    def of(cls, info: dict[str, Any]) -> Self:
        """From what supervisord tells (getProcessInfo)."""
        return cls(
            f"{info['group']}:{info['name']}",
            str(info["statename"]),
            int(info["pid"]),
            str(info["spawnerr"]),
            int(info["exitstatus"]),
            _stopped_for(info),
            float(info["start"]),
        )

    def is_as(self, before: "Program") -> bool:
        """Whether nothing has happened to it since; one that has EXITED may have been started again, and have ended."""
        is_another = self.state == "EXITED" and self.started != before.started
        return (self.state, self.pid) == (before.state, before.pid) and not is_another

    def is_named(self, wanted: str) -> bool:
        """Whether `wanted` names it: "api", "web:nginx", or "web:*" for a whole group."""
        group, _, name = self.name.partition(":")
        return wanted in (self.name, f"{group}:*") or (group == name and wanted == name)


def _stopped_for(info: dict[str, Any]) -> float:
    last = max(info["stop"], info["start"])
    ago = float(info["now"] - last)
    return ago if ago >= 0 else float(info["now"])  # the clock was set back: how long, nobody can say


@dataclass(frozen=True)
class Habits:
    """How a program is started and stopped: seconds until it counts as RUNNING, and until it is killed.

    Without `as_group` its children are not stopped with it: supervisord tells killasgroup, without which stopasgroup
    is off as well.
    """

    start_seconds: float
    stop_seconds: float
    as_group: bool


@dataclass(frozen=True)
class Supervisor:
    """A supervisord, by the URL of its interface (`unix:///run/supervisor.sock`, `http://127.0.0.1:9001`).

    Each plan has one of its own, which asks each question once; one that did not answer is asked nothing more. No
    question lasts beyond `deadline` (time.monotonic()), nor longer than 2 s. `without` says why it has no password.
    """

    url: str
    username: str = ""
    password: str = ""
    without: str = ""
    deadline: float = math.inf
    _answers: dict[tuple[str, ...], Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _silence: list[Unreachable] = field(default_factory=list, init=False, repr=False, compare=False)

    def until(self, deadline: float) -> "Supervisor":
        """The same one, asked anew and until then (time.monotonic()) at most."""
        return replace(self, deadline=deadline)

    def pid(self) -> int:
        """The pid of supervisord. Raises Unreachable."""
        return int(self._call("supervisor.getPID"))

    def program(self, name: str) -> Program:
        """One program by `name` or `group:name`. Raises Unreachable; Denied if there is no such program."""
        try:
            info = self._call("supervisor.getProcessInfo", name)
        except Denied as error:
            raise Denied(f"there is no program {name}: {error}", hint="supervisorctl status names them all") from error
        return self._program(info)

    def programs(self) -> list[Program]:
        """All its programs. Raises Unreachable."""
        return self._programs(self._call("supervisor.getAllProcessInfo"))

    def state(self, name: str) -> str:
        """The state of a program as it is now (STOPPED, RUNNING, …), asked anew. Raises Unreachable, Denied."""
        return str(self._asked("supervisor.getProcessInfo", name)["statename"])

    def now(self, name: str) -> Program:
        """A program as it is now, asked anew. Raises Unreachable, Denied."""
        return self._program(self._asked("supervisor.getProcessInfo", name))

    def all_now(self) -> list[Program]:
        """All programs as they are now, asked anew. Raises Unreachable."""
        return self._programs(self._asked("supervisor.getAllProcessInfo"))

    def last_output(self, name: str, size: int) -> str:
        """The last `size` bytes of what a program has logged, stderr if that has a log of its own. Raises Unreachable.

        Nothing if supervisord keeps no log for it. What it cannot pass on, a byte that is no UTF-8 or a character of
        which the last `size` bytes hold a part, is read where it lies.
        """
        for stream in ("Stderr", "Stdout"):
            try:
                text = str(self._asked(f"supervisor.readProcess{stream}Log", name, -size, 0))
            except Denied:
                continue
            except Unreachable:
                info = self._asked("supervisor.getProcessInfo", name)
                text = _end_of(str(info.get(f"{stream.lower()}_logfile") or ""), size)
            if text.strip():
                return text
        return ""

    def _program(self, info: Any) -> Program:
        try:
            return Program.of(info)
        except (LookupError, TypeError, ValueError) as error:
            raise Unreachable(f"what answers at {self.url} is not supervisord", hint=_URL) from error

    def _programs(self, found: Any) -> list[Program]:
        return [self._program(info) for info in (found if isinstance(found, list) else [found])]

    def habits(self, name: str) -> Habits:
        """How supervisord starts and stops a program. Raises Unreachable; Denied if there is no such program."""
        for config in self._call("supervisor.getAllConfigInfo"):
            full = f"{config['group']}:{config['name']}"
            if name in (full, config["name"]):
                return Habits(float(config["startsecs"]), float(config["stopwaitsecs"]), bool(config["killasgroup"]))
        raise Denied(f"there is no program {name}", hint="supervisorctl status names them all")

    def start(self, name: str) -> None:
        """Has a program started, and does not wait for it. Raises Unreachable, Denied."""
        self._asked("supervisor.startProcess", name, False)  # noqa: FBT003 - wait, as XML-RPC has it

    def stop(self, name: str) -> None:
        """Has a program stopped, and does not wait for it. Raises Unreachable, Denied."""
        self._asked("supervisor.stopProcess", name, False)  # noqa: FBT003 - as above

    def own_rollovers(self) -> dict[str, int]:
        """The log files that supervisord itself rolls over at a size: path → stdout_logfile_maxbytes (bytes)."""
        found: dict[str, int] = {}
        for config in self._call("supervisor.getAllConfigInfo"):
            for stream in ("stdout", "stderr"):
                path, limit = config.get(f"{stream}_logfile"), config.get(f"{stream}_logfile_maxbytes")
                if isinstance(path, str) and path.startswith("/") and limit:
                    found[grounds.real(path)] = int(limit)
        return found

    def logs(self) -> dict[str, bool]:
        """The logs that it writes for its programs, by path, and whether one that writes there is running; asked anew.

        Raises Unreachable.
        """
        found: dict[str, bool] = {}
        for info in self._asked("supervisor.getAllProcessInfo"):
            for path in filter(None, (info.get("stdout_logfile"), info.get("stderr_logfile"))):
                real = grounds.real(path)
                found[real] = found.get(real, False) or info["statename"] == "RUNNING"
        return found

    def _call(self, method: str, *arguments: str) -> Any:
        question = (method, *arguments)
        if question not in self._answers:
            if self._silence:
                raise Unreachable(str(self._silence[0]), hint=self._silence[0].hint)
            try:
                self._answers[question] = self._asked(method, *arguments)
            except Unreachable as error:
                self._silence.append(error)
                raise
        return self._answers[question]

    def _asked(self, method: str, *arguments: str | bool | int) -> Any:
        socket = self.url.removeprefix("unix://")
        if socket.startswith("/") and not os.path.exists(socket):
            raise Unreachable(f"supervisord at {self.url} does not answer: there is no such socket", hint=_URL)
        from maintd import rpc  # noqa: PLC0415 - its libraries take 30 ms to load, which most commands never need

        within = min(max(self.deadline - time.monotonic(), _LEAST), rpc.DEADLINE)
        try:
            return rpc.call(self.url, (self.username, self.password), method, *arguments, within=within)
        except Unreachable as error:
            if not self.without:
                raise
            hint = "it is asked without its password: see [supervisor] password_file and password_env"
            raise Unreachable(f"{error}; {self.without}", hint=hint) from error


def _end_of(path: str, size: int) -> str:
    """The last bytes of a log, as a file name would be read; nothing of what is no file with this name alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
                return ""
            file.seek(max(info.st_size - size, 0))
            return os.fsdecode(file.read(size).lstrip(_WITHIN))
    except OSError:
        return ""


def send(pid: int, identity: tuple[int, int], number: int, hint: str) -> None:
    """Sends a signal to the process that was seen, by its start time and uid, and to no other that got its pid since.

    Raises Refused, with the `hint`, if it has no handler for the signal (it would be ended), ProcessLookupError if it
    is gone.
    """
    descriptor = os.pidfd_open(pid)
    try:
        if start_and_uid(pid) != identity:
            raise ProcessLookupError(f"process {pid} is gone, or is another user's by now")
        if not catches(pid, number):
            raise Refused(
                f"process {pid} has no handler for {signal.Signals(number).name}, which would end it",
                hint=hint,
            )
        signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
