"""Chooses the rung for each log: how its writers learn that it was set aside, or in which way it is rotated in place.

It goes by who holds the log now, by what its file system can do, and by what the job allows.
"""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

from maintd import allocation, capabilities, descriptors, durable, grounds, holders
from maintd.actions.command import is_runnable
from maintd.errors import MaintdError, Refused
from maintd.holders import Holder, Inode
from maintd.names import printable
from maintd.rungs import Recipient, Reopening, Rung, SignalTo
from maintd.steps import Seen
from maintd.supervisor import Supervisor

_OPTIONS = (
    'set signal = { name = "USR1", program = "group:name" } or command = […] in the job so that it is told to reopen'
)
_PID_LENGTH = 32
_OWN_WAY = 'or reopen = "none" if it reopens its log by itself'
UNSEEN = Rung(
    refusal="a process that /proc does not show has it open for writing, one of another namespace perhaps",
    advice=f"run maintd where that process can be seen, {_OWN_WAY}",
)
AT_WORK = Rung(put_off="maintd itself is at work on it")
MOVED = Rung(put_off="somebody else puts another file in its place")


def is_held(seen: Seen) -> bool:
    """Whether any process could still write the file, or that cannot be known; False if the file is gone."""
    return _is(holders.may_be_written, seen)


def _is(asked: Callable[[int], bool], seen: Seen) -> bool:
    try:
        with (
            durable.directory(os.path.dirname(seen.path)) as dir_fd,
            durable.opened(os.path.basename(seen.path), dir_fd=dir_fd) as file,
        ):
            return asked(file)
    except FileNotFoundError:
        return False
    except (OSError, MaintdError):
        return True


def is_open(seen: Seen) -> bool:
    """Whether any process has the file open, also for reading, or that cannot be known; False if the file is gone."""
    return _is(holders.is_open_elsewhere, seen)


def choose(logs: Sequence[Seen], reopening: Reopening) -> dict[Inode, Rung]:
    """The rung for each log, by its inode."""
    held = {log.inode: log for log in logs if is_held(log)}
    found = holders.find(held) if held and reopening.mode != "none" else {}
    rungs = {log.inode: Rung(reason="nobody writes it") for log in logs}
    known: dict[tuple[tuple[Holder, ...], bool], Rung] = {}
    for inode, log in held.items():
        every = [holder for holder in found.get(inode, []) if holder.writing]
        # maintd itself is in the last step of the rotation before this one
        writing = tuple(holder for holder in every if not holder.is_at_work)
        if every and not writing:
            rungs[inode] = AT_WORK
            continue
        if not writing and not is_held(log):  # who held it has just let go
            continue
        if not writing and _has_moved(log):
            rungs[inode] = MOVED
            continue
        alike = writing, allocation.unit(log.path) > 0
        if alike not in known:  # asking supervisord once for all logs of one process
            known[alike] = _rung(*alike, reopening)
        rungs[inode] = known[alike]
    return rungs | _mapped([inode for inode, rung in rungs.items() if rung.way or rung == UNSEEN])


def _has_moved(seen: Seen) -> bool:
    """Whether its name means another file by now, which is the one that was found to be held."""
    try:
        info = os.lstat(seen.path)
    except OSError:
        return True
    return (info.st_dev, info.st_ino) != seen.inode


def _mapped(unsure: Sequence[Inode]) -> dict[Inode, Rung]:
    """A refusal for each log that nothing would be done in place with, since a process writes it through a mapping."""
    found = holders.mappers(unsure) if unsure else {}
    return {
        inode: Rung(refusal=f"{mapping[0]} {descriptors.MAPPED}", advice=_OPTIONS, holder=str(mapping[0]))
        for inode, mapping in found.items()
        if mapping
    }


def _unseen() -> Rung:
    """A refusal of a log that is held, or may be, by nobody who can be seen."""
    missing = capabilities.missing()
    if "CAP_SYS_PTRACE" not in missing:
        return UNSEEN
    if "CAP_LEASE" in missing:
        return Rung(
            refusal="whether anybody has it open for writing cannot be known",
            advice=f"run maintd as root, in a container with cap_add: CAP_LEASE or CAP_SYS_PTRACE, {_OWN_WAY}",
        )
    return Rung(
        refusal="a process that maintd may not see has it open for writing",
        advice=f"run maintd as root (CAP_SYS_PTRACE), {_OWN_WAY}",
    )


def _rung(writing: Sequence[Holder], collapses: bool, reopening: Reopening) -> Rung:  # noqa: FBT001 - as found
    if reopening.mode == "none":
        return Rung(reason='its writer reopens it by itself (reopen = "none")', holder="its writer")
    if not writing and (reopening.mode == "collapse" or (reopening.mode == "auto" and reopening.command is None)):
        return _unseen()
    who = ", ".join(dict.fromkeys(str(holder) for holder in writing)) or "somebody"
    try:
        if reopening.mode != "collapse":
            rung = _told(writing, reopening, who)
            if rung is not None:
                return rung
        return _in_place(writing, collapses, reopening, who)
    except MaintdError as error:
        return Rung(refusal=str(error), advice=error.hint or _OPTIONS, holder=who)


def _told(writing: Sequence[Holder], reopening: Reopening, who: str) -> Rung | None:
    """How the writers are told; None if the job leaves that open, and nothing says how."""
    supervisords = [holder for holder in writing if holder.is_supervisord]
    written = f"{who} {_verb('write', writing)} it"
    reopened = f"{written} and {_verb('reopen', writing)} it on"
    others = [holder for holder in writing if not holder.is_supervisord]
    recipients = [_supervisord(holder) for holder in _unique(supervisords)]
    if reopening.mode == "supervisor" and not recipients:
        pid = reopening.supervisor.pid()
        recipients = [replace(_recipient(pid, "supervisord", signal.SIGUSR2), is_supervisord=True)]
    if (reopening.mode == "supervisor" or not others) and recipients:
        return Rung(reason=f"{reopened} SIGUSR2", holder=who, recipients=tuple(recipients))
    if reopening.signal and reopening.mode in ("auto", "signal"):
        told = _configured(reopening.signal, reopening.supervisor, others)
        name = signal.Signals(reopening.signal.number).name
        reason = f"{reopened} {name}"
        if any(holder.pid != told.pid for holder in others):
            reason = f"{written}; {told.program} (pid {told.pid}) is told by {name}, for all of them"
        return Rung(reason=reason, holder=who, recipients=(*recipients, told))
    if reopening.command and reopening.mode in ("auto", "command"):
        if not is_runnable(reopening.command[0]):
            raise MaintdError(
                f"the command {reopening.command[0]} does not exist or may not be run",
                hint="correct command in the job",
            )
        return Rung(
            reason=f"{written}; {reopening.command[0]} has it open anew",
            holder=who,
            recipients=tuple(recipients),
            command=reopening.command,
            user=reopening.user,
        )
    if reopening.mode == "auto":
        return None
    raise MaintdError(f"{written}, and nothing says how to make it reopen", hint=f"{_OPTIONS}, {_OWN_WAY}")


def _in_place(writing: Sequence[Holder], collapses: bool, reopening: Reopening, who: str) -> Rung:  # noqa: FBT001
    """The way that loses nothing with these writers on this file system; lossy only if the job says so."""
    written = f"{who} {_verb('write', writing)} it"
    if "CAP_SYS_PTRACE" in capabilities.missing():
        raise MaintdError(
            f"{written}, and to see whether nobody else does takes CAP_SYS_PTRACE", hint=f"{_OPTIONS}, {_OWN_WAY}"
        )
    others = [holder for holder in writing if not holder.appending]
    apart = next((holder for holder in others if holder.thread), None)
    if apart and not reopening.lossy:
        raise MaintdError(
            f"a thread of {apart} writes it without appending, with a descriptor of its own",
            hint=f"nobody else can change that one; {_OPTIONS}, {_OWN_WAY}",
        )
    if collapses and not others:
        reason = f"{who} {_verb('append', writing)} to it: archived, then collapsed in place"
        return Rung(reason=reason, holder=who, way="collapse", adopt=reopening.adopt)
    if collapses and reopening.adopt:
        reason = f"{others[0]} is made to append to it (adopt): archived, then collapsed in place"
        return Rung(reason=reason, holder=who, way="collapse", adopt=True)
    if reopening.pause_writers:
        return Rung(reason=f"{who} stopped for the moment of the cut (pause_writers)", holder=who, way="pause")
    if reopening.lossy:
        return Rung(reason=f"{written} while it is cut, which may lose lines (lossy)", holder=who, way="lossy")
    if collapses:
        raise MaintdError(
            f"{others[0]} writes it without appending, and nothing says how to make it reopen",
            hint=f"adopt = true has it append, and the log is rotated in place; or {_OPTIONS}, {_OWN_WAY}",
        )
    raise MaintdError(
        f"{written}, nothing says how to make it reopen, and this file system cannot collapse files",
        hint=f"pause_writers = true stops it for the milliseconds of a cut; or {_OPTIONS}, {_OWN_WAY}",
    )


def _verb(verb: str, writing: Sequence[Holder]) -> str:
    """What one does, or several do; who is not seen counts as one."""
    return verb if len({holder.pid for holder in writing}) > 1 else f"{verb}s"


def _unique(found: Sequence[Holder]) -> list[Holder]:
    return list({holder.pid: holder for holder in found}.values())


def _supervisord(holder: Holder) -> Recipient:
    if not holders.catches(holder.pid, signal.SIGUSR2):
        raise MaintdError(
            f"{holder} does not handle SIGUSR2, which would end it", hint="is it supervisord 3.0 or newer?"
        )
    identity = (holder.pid, holder.start, holder.uid)
    return Recipient(*identity, holder.program, signal.SIGUSR2, is_writer=True, is_supervisord=True)


def _configured(wanted: SignalTo, supervisor: Supervisor, others: Sequence[Holder]) -> Recipient:
    writing = {holder.pid for holder in others}
    if wanted.program is not None:
        program = supervisor.program(wanted.program)
        if not program.pid:
            raise MaintdError(f"program {program.name} is {program.state}", hint="start it, or correct signal.program")
        return _recipient(program.pid, program.name, wanted.number, is_writer=program.pid in writing)
    assert wanted.pidfile is not None
    pid = _read_pid(wanted.pidfile)
    if pid not in writing:
        if "CAP_SYS_PTRACE" in capabilities.missing():
            raise MaintdError(
                f"to see whether process {pid} of {wanted.pidfile} has the log open takes CAP_SYS_PTRACE", hint=_OPTIONS
            )
        raise MaintdError(
            f"process {pid} of {wanted.pidfile} does not have the log open, so it gets no signal",
            hint="correct signal.pidfile, or name the program of supervisord",
        )
    named = next(holder.program for holder in others if holder.pid == pid)
    return _recipient(pid, named, wanted.number, is_writer=True)


def _read_pid(path: str) -> int:
    """The pid in a file, which must be a regular one: a FIFO would hang whoever opens it."""
    try:
        with (
            durable.directory(grounds.resolve(os.path.dirname(path))) as dir_fd,
            durable.opened(os.path.basename(path), dir_fd=dir_fd) as file,
        ):
            said = os.read(file, _PID_LENGTH)
    except (OSError, Refused) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise MaintdError(f"cannot read a pid from {printable(path)}: {why}", hint="correct signal.pidfile") from error
    if not said.strip().isdigit():
        what = printable(os.fsdecode(said.strip())) or "nothing"
        raise MaintdError(
            f"cannot read a pid from {printable(path)}: it holds {what}, and no number",
            hint="correct signal.pidfile, or have the service write its pid there",
        )
    return int(said)


def _recipient(pid: int, program: str, number: int, *, is_writer: bool = False) -> Recipient:
    identity = holders.start_and_uid(pid)
    if identity is None:
        raise MaintdError(f"process {pid} ({program}) is gone", hint="it is tried again by itself")
    if not holders.catches(pid, number):
        name = signal.Signals(number).name
        raise MaintdError(f"{program} (pid {pid}) has no handler for {name}, which would end it", hint=_OPTIONS)
    return Recipient(pid, *identity, program, number, is_writer=is_writer)
