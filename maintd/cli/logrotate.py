"""`maintd logrotate`: takes logrotate's command line and configuration, and carries them out."""

import gc
import os
import sys
import syslog
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import click

from maintd import __version__, holders
from maintd.cli import output
from maintd.cli.ending import ended_by_signals
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation
from maintd.errors import Locked, Refused
from maintd.events import Failure
from maintd.job import Context, Job
from maintd.log import Log
from maintd.logrotate import commandline, saying, status
from maintd.logrotate.commandline import Answer, Order
from maintd.logrotate.engine import Overview, overview
from maintd.logrotate.scripts import Streams
from maintd.names import printable
from maintd.runner import Runner
from maintd.runs import Run
from maintd.steps import Finding, Step
from maintd.triggers import Asked
from maintd.values import dataclass

_UNLOCKED = 3
"""logrotate's exit code if the state file cannot be locked."""


@click.command(
    short_help="Take logrotate's command line and config.",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
    epilog="\b\nExamples:\n  maintd logrotate -d /etc/logrotate.conf\n  maintd logrotate -v /etc/logrotate.conf",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[OPTION]... CONFIG...")
@click.pass_obj
def logrotate(called: Invocation, arguments: tuple[str, ...]) -> int:
    r"""Rotates logs as logrotate would: its options, its configuration, its archive names, its state file.

    \b
    -d  change nothing, show what would be done
    -f  rotate also what is not due
    -v  show what is done, and why
    -s FILE  the state file
    -l FILE  write messages there too
    -m COMMAND  the program that sends mail
    --skip-state-lock, --wait-for-state-lock  how the state file is locked
    """
    return _run(arguments, called.now)


def main() -> None:
    """The executable maintd-logrotate, which takes exactly logrotate's command line."""
    gc.disable()
    holders.ignore_lease_breaks()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a locale that is not UTF-8
    code = _run(sys.argv[1:], datetime.now(UTC))
    gc.freeze()  # as in maintd's own main
    sys.exit(code)


def _run(arguments: tuple[str, ...] | list[str], now: datetime) -> int:
    order = commandline.parse(arguments, __version__)
    if isinstance(order, Answer):
        click.echo(order.text, nl=False, err=order.code != 0)
        return order.code
    with ExitStack() as stack:
        teller = stack.enter_context(_teller(order))
        if order.debug:
            teller.tell(saying.DEBUG)
        elif not order.skips_lock:
            try:
                warning = stack.enter_context(status.locked(order.state, wait=order.waits_for_lock))
            except (OSError, Refused, Locked) as error:
                teller.tell(f"error: {_words(error, order.state)}")
                return _UNLOCKED
            if warning:
                teller.tell(f"warning: {warning}")
        return _locked(order, now, teller)


def _locked(order: Order, now: datetime, teller: "_Teller") -> int:
    """Plans and, unless that is all that is wanted, acts, with the state file locked."""
    local = now.astimezone().replace(tzinfo=None)
    streams = Streams(1, 2, teller.log_fd)
    try:
        found = overview(order.configs, order.state, local, forced=order.force, mail=order.mail, streams=streams)
    except (OSError, Refused) as error:
        teller.tell(f"error: {_words(error, order.state)}")
        return Exit.FAILED
    teller.tell_all(lambda verbose: saying.errors(found, verbose=verbose))
    teller.tell_all(lambda verbose: saying.plan(found) if verbose else ())
    if order.debug:
        findings = (step for step in found.steps if isinstance(step, Finding))
        return int(found.failed or any(isinstance(finding.event, Failure) for finding in findings))
    return int(_act(found, now, teller) or found.failed)


def _words(error: Exception, state: str) -> str:
    """Why the state file cannot be locked or read, as logrotate says it."""
    if not isinstance(error, OSError):
        return str(error)
    tried = "opening" if os.path.lexists(state) else "creating stub"
    return f"error {tried} state file {printable(state)}: {error.strerror}"


def _act(found: Overview, now: datetime, teller: "_Teller") -> bool:
    """Whether something failed."""
    log = Log(lambda _: None)
    runner = Runner(log)

    def listen(fields: MutableMapping[str, Any]) -> None:
        teller.tell_all(lambda verbose: filter(None, [saying.event(fields, verbose=verbose)]))

    with ended_by_signals() as stop:
        job = _Stanzas.model_construct(found=found)
        ctx = Context(now=now, cause=Asked(due_only=True), job="logrotate")
        result = runner.run(Run(name="logrotate", job=job, ctx=ctx, listener=listen, stop=stop))
    runner.rest()
    log.close()
    return bool(result.failed) or result.aborted


class _Stanzas(Job):
    """What was planned already, as a job that the runner takes."""

    kind: ClassVar[str] = "logrotate"

    found: Any = None

    def plan(self, _ctx: Context) -> Iterator[Step]:
        return self.found.steps  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Teller:
    """Who is told what, each with whether it is to be all of it; `log_fd` is the log that was asked for, if one was."""

    sinks: tuple[tuple[Callable[[str], Any], bool], ...]
    log_fd: int | None = None

    def tell(self, line: str) -> None:
        self.tell_all(lambda _: (line,))

    def tell_all(self, lines: Callable[[bool], Iterable[str]]) -> None:
        for sink, is_verbose in self.sinks:
            for line in lines(is_verbose):
                sink(line)


@contextmanager
def _teller(order: Order) -> Iterator[_Teller]:
    """Tells standard error, and the log that was asked for, which gets all and is made anew by each run."""
    err: tuple[Callable[[str], Any], bool] = (output.complain, order.verbose)
    if order.log is None:
        yield _Teller((err,))
        return
    if order.log == "syslog":
        syslog.openlog("logrotate")
        yield _Teller((err, (lambda line: syslog.syslog(_priority(line), line), True)))
        return
    try:
        file = open(order.log, "w", encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        output.complain(f"error: error opening log file {printable(order.log)}: {error.strerror}")
        yield _Teller((err,))
        return
    with file:
        yield _Teller((err, (lambda line: print(line, file=file, flush=True), True)), file.fileno())


def _priority(line: str) -> int:
    return syslog.LOG_ERR if line.startswith("error:") else syslog.LOG_INFO
