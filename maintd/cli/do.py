"""`maintd do`: runs jobs now, here or, if the daemon is at work, through it."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Any

import click

from maintd import client, contexts, lock, shares
from maintd.cli import naming, output, reach
from maintd.cli.ending import ended_by_signals
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.cli.plan import is_observed
from maintd.cli.showing import Json, Message, People, Tally
from maintd.config import Config, load
from maintd.errors import Locked, MaintdError, Unreachable
from maintd.log import Envelope, Log
from maintd.runner import Runner
from maintd.runs import Result, Run
from maintd.steps import Action
from maintd.trends import Sample
from maintd.triggers import Asked
from maintd.values import dataclass


@dataclass(frozen=True)
class _Order:
    """What was ordered; no `jobs` means every enabled one."""

    called: Invocation
    config: Config
    jobs: tuple[str, ...]
    due_only: bool
    show: Callable[[Message], None]
    tally: Tally = field(default_factory=Tally)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def note(self, message: Message) -> None:
        """Shows a message; called by every thread that has a part in the run."""
        with self._one_at_a_time:
            self.show(message)
            if message["type"] == "result":
                self.tally.results.append(message)


@click.command(
    short_help="Run jobs now.",
    epilog="\b\nExamples:\n  maintd do rotate.services\n  maintd do --all --due\n"
    "  maintd do --all --json | jq 'select(.event == \"log.compressed\")'",
)
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=naming.complete)
@click.option("--all", "everything", is_flag=True, help="Every enabled job.")
@click.option("--due", is_flag=True, help="Only what is due; else everything that the jobs' conditions allow.")
@click.option("--json", "as_json", is_flag=True, help="Steps, events and results, one JSON object a line.")
@config_option()
@click.pass_obj
def do(called: Invocation, jobs: tuple[str, ...], *, everything: bool, due: bool, as_json: bool) -> int:
    """Runs jobs now, step by step as `maintd plan` shows them, and never does more.

    If a daemon holds the lock of state_dir, it does the work, and goes on with it also when this command is ended.
    """
    if everything == bool(jobs):
        raise click.UsageError("name the jobs, or give --all", click.get_current_context())
    config = load(called.config)
    order = _Order(called, config, jobs, due, Json() if as_json else People())
    try:
        lock_fd = lock.take(config.settings.state_dir)
    except Locked as locked:
        return _there(order, locked)
    try:
        _check_alone(order)
        return _here(order, lock_fd)
    finally:
        os.close(lock_fd)


def _here(order: _Order, lock_fd: int) -> int:
    """Does it in this process, which holds the lock. A signal ends the run in order."""
    naming.check(order.jobs, list(order.config.jobs))
    jobs = order.jobs or [name for name, job in order.config.jobs.items() if job.enabled]
    if not jobs:
        return _nothing()
    log = Log(lambda _: None)
    runner = Runner(log, lock_fd)
    with ended_by_signals() as stop:
        for name in jobs:
            if not stop.is_set():
                run = _run(order, name, stop)
                result = runner.run(run)
                order.note(_result(name, result))
                _count(order.config.settings.state_dir, run, result, log)
    runner.rest()
    log.close()
    return Exit.INTERRUPTED if stop.is_set() else order.tally.code


def _count(state_dir: str, run: Run, result: Result, log: Log) -> None:
    """Keeps how much guards have given up of other jobs, as the daemon does: by that they take a share once."""
    from maintd import state  # noqa: PLC0415 - what only shows something needs no database

    known = state.given_up(state_dir)
    counts = dict(known)
    shares.note(counts, run, result)
    changed = [name for name in known | counts if counts.get(name, 0) != known.get(name, 0)]
    if changed:
        kept = state.State(state_dir, lambda event: log.emit(event, Envelope(run.name), run.listener))
        for name in changed:
            kept.record_given_up(name, counts.get(name, 0), datetime.now(UTC))
        kept.close()


def _check_alone(order: _Order) -> None:
    """The lock is free, and yet a daemon with this very config may be at work: if state_dir was edited meanwhile."""
    if not os.path.lexists(os.path.join(order.config.settings.runtime_dir, client.SOCKET)):
        return
    try:
        status = reach.ask(order.called, "GET", "/status")
    except Unreachable:
        return
    if os.path.realpath(status["config"]) == os.path.realpath(order.called.config):
        raise Locked(
            f"maintd (pid {status['pid']}) works with this config and another state_dir than it names now",
            hint="set state_dir back, or restart the daemon: supervisorctl restart maintd",
        )


def _check_loaded(config: Config, status: dict[str, Any]) -> None:
    """The daemon does what its config says; if the file says something else by now, `plan` showed something else."""
    if status.get("digest", config.digest) == config.digest:
        return
    here, there = ({name: job.digest for name, job in config.jobs.items()}, _digests(status))
    names = [name for name in here | there if here.get(name) != there.get(name)]
    what = names[0] if names else "the settings, or the order of the jobs,"
    raise MaintdError(
        f"the daemon does not have {what} as the file says, so it would not do what plan shows",
        hint="take the file over first: maintd reload",
    )


def _digests(status: dict[str, Any]) -> dict[str, str]:
    return {job["name"]: job["digest"] for job in status["jobs"]}


def _nothing() -> int:
    output.complain("maintd: no job is enabled, so there is nothing to do")
    return Exit.OK


def _run(order: _Order, name: str, stop: threading.Event) -> Run:
    def on_step(index: int, count: int, action: Action) -> None:
        step = {"type": "step", "job": name, "index": index, "of": count, "verb": action.verb, "target": action.target}
        order.note(step | {"in_bytes": action.in_bytes})

    now = datetime.now(UTC)
    ctx = contexts.context(order.config, name, now, Asked(due_only=order.due_only))
    if order.config.jobs[name].is_urgent:
        ctx = contexts.beside_daemon(order.config, ctx)
    return Run(
        name=name,
        job=order.config.jobs[name],
        ctx=replace(ctx, history=_history(order.config, name), doubted=_doubted(order.config, name)),
        observe=is_observed(order.config, name),
        listener=lambda fields: order.note({"type": "event", **fields}),
        on_step=on_step,
        on_progress=lambda action, count: order.note(
            {"type": "progress", "job": name, "target": action.target, "bytes": count}
        ),
        stop=stop,
    )


def _history(config: Config, name: str) -> tuple[Sample, ...]:
    """What a daemon's runs of the job have measured, if it measures; what this run does is not added to it."""
    if not config.jobs[name].remembers:
        return ()
    from maintd.state import samples_kept  # noqa: PLC0415 - most runs need no database

    return tuple(samples_kept(config.settings.state_dir, name))


def _doubted(config: Config, name: str) -> frozenset[str]:
    """The jobs whose files a guard gives up by no age: all others, if a daemon doubted the clock when it ended."""
    if not config.jobs[name].is_urgent:
        return frozenset()
    from maintd.state import clock_doubted  # noqa: PLC0415 - as above

    is_doubted = clock_doubted(config.settings.state_dir) is not None
    return frozenset(config.jobs) - {name} if is_doubted else frozenset()


def _result(name: str, result: Result) -> Message:
    counts = {
        key: getattr(result, key) for key in ("planned", "done", "failed", "omitted", "waiting", "refused", "aborted")
    }
    return {"type": "result", "job": name, "outcome": str(result.outcome), **counts}


def _there(order: _Order, locked: Locked) -> int:
    """Has the daemon do it, which holds the lock. A signal ends this command alone."""
    naming.check(order.jobs, list(order.config.jobs))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    body = {"jobs": list(order.jobs)} if order.jobs else {"all": True}
    try:
        status = reach.ask(order.called, "GET", "/status")
        _check_loaded(order.config, status)
        if not order.jobs and all(job["state"] == "disabled" for job in status["jobs"]):
            return _nothing()
        for message in reach.stream(order.called, "/do", body | {"due_only": order.due_only}):
            if message["type"] == "error":
                raise click.UsageError(f"{message['error']} yet; take it over with maintd reload")
            if message["type"] == "end":
                return order.tally.code
            order.note(message)
    except Unreachable as error:
        raise Unreachable(f"{locked}, and {error}", hint=error.hint) from error
    except KeyboardInterrupt:
        output.complain("", "maintd: the daemon goes on with it (maintd status)")
        raise
    output.complain("maintd: the daemon ended before the work was done", "        it is made up for at the next start")
    order.tally.results.append({"done": 0, "failed": 0, "waiting": 0, "aborted": True})
    return order.tally.code
