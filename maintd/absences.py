"""What the options of a job name that is not there on this machine, each as (option, what is wrong)."""

import os
import stat as st
from collections.abc import Iterable, Iterator, Mapping

from maintd import grounds
from maintd.actions.command import is_runnable
from maintd.errors import Denied, MaintdError
from maintd.names import printable
from maintd.patterns import may_match
from maintd.supervisor import Supervisor

Absence = tuple[str, str]


def of_programs(commands: Mapping[str, tuple[str, ...] | None]) -> Iterator[Absence]:
    """Commands, by option, whose program cannot be started."""
    for option, argv in commands.items():
        if argv and not is_runnable(argv[0]):
            yield option, f"{printable(argv[0])} does not exist or may not be run"


def of_patterns(patterns: Mapping[str, Iterable[str]]) -> Iterator[Absence]:
    """Glob patterns, by option, whose fixed part is not there: a directory, or all of the path."""
    for option, ones in patterns.items():
        yield from ((option, f"{printable(one)} is not there") for one in ones if not may_match(one))


def of_names(programs: Mapping[str, Iterable[str]], supervisor: Supervisor) -> Iterator[Absence]:
    """Programs, by option, that supervisord does not know, or that it does not tell of."""
    for option, ones in programs.items():
        for one in ones:
            try:
                supervisor.program(one)
            except MaintdError as error:
                yield option, str(error)


def of_recipient(program: str | None, pidfile: str | None, supervisor: Supervisor) -> Iterator[Absence]:
    """A program that supervisord does not know, a pidfile that is not there. Says nothing where it cannot be asked."""
    if program is not None:
        try:
            supervisor.program(program)
        except Denied as error:
            yield "signal.program", str(error)
        except MaintdError:
            return
    if pidfile is not None:
        try:
            is_file = st.S_ISREG(os.stat(pidfile).st_mode)
        except OSError as error:
            yield "signal.pidfile", f"{printable(pidfile)}: {error.strerror}"
        else:
            if not is_file:
                yield "signal.pidfile", f"{printable(pidfile)} is not a regular file"


def of_olddir(olddir: str | None) -> Iterator[Absence]:
    """An absolute directory for archives that cannot be made, because something else is in the way."""
    if olddir is None or not olddir.startswith("/"):
        return
    folder = grounds.real(olddir)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        yield "olddir", f"{printable(folder)} is not a directory"
