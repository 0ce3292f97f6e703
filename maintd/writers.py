"""Chooses how each log's writers learn that it was set aside, from who holds it now and what the job allows."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from maintd import durable, holders
from maintd.actions.command import RunCommand, is_runnable
from maintd.actions.tell import Tell
from maintd.errors import MaintdError
from maintd.holders import Holder, Inode
from maintd.steps import Action, Seen
from maintd.supervisor import Supervisor

Mode = Literal["auto", "supervisor", "signal", "command", "none"]
_OPTIONS = (
    'set signal = { name = "USR1", program = "group:name" } or command = […] in the job so that it is told to reopen'
)
_OWN_WAY = 'or reopen = "none" if it reopens its log by itself'


@dataclass(frozen=True, slots=True)
class SignalTo:
    """A configured signal and whom it goes to: a program of supervisord, or the pid in a file."""

    number: int
    program: str | None = None
    pidfile: str | None = None


@dataclass(frozen=True, slots=True)
class Reopening:
    """What a job allows for telling writers."""

    mode: Mode = "auto"
    signal: SignalTo | None = None
    command: tuple[str, ...] | None = None
    supervisor: Supervisor = field(default_factory=lambda: Supervisor(""))


@dataclass(frozen=True, slots=True)
class Recipient:
    """A process that gets a signal; `start` is its start time, which tells a reused pid."""

    pid: int
    start: int
    program: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """How one log's writers are told, and why so; with a `refusal` the log is not to be rotated."""

    reason: str = ""
    holder: str = ""
    recipients: tuple[Recipient, ...] = ()
    command: tuple[str, ...] | None = None
    refusal: str = ""
    advice: str = ""

    def tell(self, needs: tuple[Action, ...], limit: timedelta, why: str = "") -> Iterator[Tell | RunCommand]:
        """The steps that tell the writers, once for all the logs that were set aside in `needs`."""
        reason = why or f"to reopen {_logs(needs)}"
        for recipient in self.recipients:
            yield Tell(
                target=f"{recipient.program} (pid {recipient.pid})",
                reason=reason,
                needs=needs,
                pid=recipient.pid,
                start=recipient.start,
                program=recipient.program,
                number=recipient.number,
            )
        if self.command:
            yield RunCommand(
                target=self.command[0],
                reason=reason,
                needs=needs,
                any_need=True,
                argv=self.command,
                limit=limit,
                tells=True,
            )


def _logs(actions: Sequence[Action]) -> str:
    first = os.path.basename(actions[0].target)
    return first if len(actions) == 1 else f"{first} and {len(actions) - 1} more"


def is_held(seen: Seen) -> bool:
    """Whether any process could still write the file, or that cannot be known; False if the file is gone."""
    try:
        with (
            durable.directory(os.path.dirname(seen.path)) as dir_fd,
            durable.opened(os.path.basename(seen.path), dir_fd=dir_fd) as file,
        ):
            return holders.may_be_written(file)
    except FileNotFoundError:
        return False
    except (OSError, MaintdError):
        return True


def choose(logs: Sequence[Seen], reopening: Reopening) -> dict[Inode, Rung]:
    """The rung for each log, by its inode."""
    held = {log.inode: log for log in logs if is_held(log)}
    found = holders.find(held) if held and reopening.mode != "none" else {}
    rungs = {log.inode: Rung(reason="nobody writes it") for log in logs}
    known: dict[tuple[Holder, ...], Rung] = {}
    for inode in held:
        writing = tuple(holder for holder in found.get(inode, []) if holder.writing)
        if writing not in known:  # asking supervisord once for all logs of one process
            known[writing] = _rung(writing, reopening)
        rungs[inode] = known[writing]
    return rungs


def _rung(writing: Sequence[Holder], reopening: Reopening) -> Rung:
    if reopening.mode == "none":
        return Rung(reason='its writer reopens it by itself (reopen = "none")', holder="its writer")
    if not writing and reopening.mode == "auto" and reopening.command is None:
        return Rung(
            refusal="a process that maintd may not see has it open for writing",
            advice=f"run maintd as root (CAP_SYS_PTRACE), {_OWN_WAY}",
        )
    who = ", ".join(dict.fromkeys(str(holder) for holder in writing)) or "somebody"
    try:
        return _told(writing, reopening, who)
    except MaintdError as error:
        return Rung(refusal=str(error), advice=error.hint or _OPTIONS, holder=who)


def _told(writing: Sequence[Holder], reopening: Reopening, who: str) -> Rung:
    supervisords = [holder for holder in writing if holder.is_supervisord]
    others = [holder for holder in writing if not holder.is_supervisord]
    recipients = [_supervisord(holder) for holder in _unique(supervisords)]
    if reopening.mode == "supervisor" and not recipients:
        pid = reopening.supervisor.pid()
        recipients = [_recipient(pid, "supervisord", signal.SIGUSR2)]
    if (reopening.mode == "supervisor" or not others) and recipients:
        return Rung(reason=f"{who} writes it and reopens it on SIGUSR2", holder=who, recipients=tuple(recipients))
    if reopening.signal and reopening.mode in ("auto", "signal"):
        recipients.append(_configured(reopening.signal, reopening.supervisor, others))
        name = signal.Signals(reopening.signal.number).name
        return Rung(reason=f"{who} writes it and reopens it on {name}", holder=who, recipients=tuple(recipients))
    if reopening.command and reopening.mode in ("auto", "command"):
        if not is_runnable(reopening.command[0]):
            raise MaintdError(
                f"the command {reopening.command[0]} does not exist or may not be run",
                hint="correct command in the job",
            )
        return Rung(
            reason=f"{who} writes it and is told by {reopening.command[0]}",
            holder=who,
            recipients=tuple(recipients),
            command=reopening.command,
        )
    raise MaintdError(f"{who} writes it, and nothing says how to make it reopen", hint=f"{_OPTIONS}, {_OWN_WAY}")


def _unique(found: Sequence[Holder]) -> list[Holder]:
    return list({holder.pid: holder for holder in found}.values())


def _supervisord(holder: Holder) -> Recipient:
    if not holders.catches(holder.pid, signal.SIGUSR2):
        raise MaintdError(
            f"{holder} does not handle SIGUSR2, which would end it", hint="is it supervisord 3.0 or newer?"
        )
    return Recipient(holder.pid, holder.start, holder.program, signal.SIGUSR2)


def _configured(wanted: SignalTo, supervisor: Supervisor, others: Sequence[Holder]) -> Recipient:
    if wanted.program is not None:
        program = supervisor.program(wanted.program)
        if not program.pid:
            raise MaintdError(f"program {program.name} is {program.state}", hint="start it, or correct signal.program")
        return _recipient(program.pid, program.name, wanted.number)
    assert wanted.pidfile is not None
    pid = _read_pid(wanted.pidfile)
    if pid not in {holder.pid for holder in others}:
        raise MaintdError(
            f"process {pid} of {wanted.pidfile} does not have the log open, so it gets no signal",
            hint="correct signal.pidfile, or name the program of supervisord",
        )
    return _recipient(pid, os.path.basename(wanted.pidfile), wanted.number)


def _read_pid(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read(32).strip())
    except (OSError, ValueError) as error:
        raise MaintdError(f"cannot read a pid from {path}: {error}", hint="correct signal.pidfile") from error


def _recipient(pid: int, program: str, number: int) -> Recipient:
    identity = holders.start_and_uid(pid)
    if identity is None:
        raise MaintdError(f"process {pid} ({program}) is gone", hint="it is tried again by itself")
    if not holders.catches(pid, number):
        name = signal.Signals(number).name
        raise MaintdError(f"{program} (pid {pid}) has no handler for {name}, which would end it", hint=_OPTIONS)
    return Recipient(pid, identity[0], program, number)
