"""`maintd plan`: what would be done, and why."""

from collections.abc import Iterator
from typing import Any

import click

from maintd import clock_doubts, contexts, state
from maintd.cli import naming, output, tables
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.config import Config, load
from maintd.errors import MaintdError, trouble
from maintd.names import printable
from maintd.steps import Action, Finding, Plan, Step
from maintd.triggers import Asked
from maintd.units import format_size


@click.command(
    short_help="Show what would be done, and why; change nothing.",
    epilog="\b\nExamples:\n  maintd plan\n  maintd plan rotate.services --due\n"
    "  maintd plan --json | jq 'select(.step == \"action\") | .target'",
)
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=naming.complete)
@click.option("--due", is_flag=True, help="Only what is due; else everything that the jobs' conditions allow.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each step.")
@config_option()
@click.pass_obj
def plan(called: Invocation, jobs: tuple[str, ...], *, due: bool, as_json: bool) -> int:
    """Shows every step that `maintd do` would take, with its reason, and changes nothing. Needs no daemon.

    Ends with 1 if something is in the way that `maintd do` would fail on.
    """
    config = load(called.config)
    naming.check(jobs, list(config.jobs))
    code = Exit.OK
    doubted = state.clock_doubted(config.settings.state_dir)
    if doubted is not None:
        output.complain(f"maintd: {clock_doubts.told(doubted)}")
    for number, name in enumerate(jobs or [name for name, job in config.jobs.items() if job.enabled]):
        try:
            ctx = contexts.context(config, name, called.now, Asked(due_only=due))
            if config.jobs[name].is_urgent:
                ctx = contexts.beside_daemon(config, ctx)
            steps = tuple(config.jobs[name].plan(ctx))
        except (MaintdError, OSError) as error:
            found = trouble(error)
            output.complain(f"maintd: cannot plan {name}: {printable(found.error_msg)}", f"        {found.advice}")
            code = Exit.FAILED
            continue
        if any(isinstance(step, Finding) and step.fails for step in steps):
            code = Exit.FAILED
        if as_json:
            for step in steps:
                output.say_json({"job": name} | fields(step))
            continue
        for line in _lines(name, steps, observed=is_observed(config, name), first=number == 0):
            output.say(line)
    return code


def fields(step: Step) -> dict[str, Any]:
    """A step for programs; `in_bytes` is as planned, `argv` is of a command; what `fails` will be a failure."""
    if isinstance(step, Finding):
        return {"step": "finding", "target": step.target, "reason": step.reason, "fails": step.fails}
    return {
        "step": "action",
        "verb": step.verb,
        "target": step.target,
        "detail": printable(step.detail),
        **({"argv": step.runs} if step.runs else {}),
        "in_bytes": step.in_bytes,
        "reason": printable(step.reason),
    }


def is_observed(config: Config, name: str) -> bool:
    """Whether the job changes nothing because it, or the whole daemon, only observes."""
    return config.settings.observe or config.jobs[name].observe


def _lines(name: str, steps: Plan, *, observed: bool, first: bool) -> Iterator[str]:
    actions = [step for step in steps if isinstance(step, Action)]
    if not first:
        yield ""
    failing = sum(isinstance(step, Finding) and step.fails for step in steps)
    totals = ", ".join([*_totals(actions), *([f"{failing} will fail"] if failing else [])]) or "nothing to do"
    rest = " (it observes: do changes nothing)" if observed else ""
    yield tables.hanging(output.paint(f"{name}:", bold=True), totals + rest, 2)
    yield from tables.table([_row(step) for step in steps], right=(2,), indent=2, below=2)


def _totals(actions: list[Action]) -> Iterator[str]:
    """For each verb how often, and about how many bytes."""
    for verb in dict.fromkeys(action.verb for action in actions):
        sizes = [action.in_bytes for action in actions if action.verb == verb]
        known = [size for size in sizes if size is not None]
        yield f"{len(sizes)} {verb}" + (f" ({format_size(sum(known))})" if known else "")


def _row(step: Step) -> list[str]:
    if isinstance(step, Finding) and step.fails:
        return [output.paint("fails", fg="red"), printable(step.target), "", "", printable(step.reason)]
    if isinstance(step, Finding):
        return [output.paint(text, dim=True) for text in ("-", printable(step.target), "", "", printable(step.reason))]
    size = "" if step.in_bytes is None else tables.kept(format_size(step.in_bytes))
    detail = f"→ {printable(step.detail)}" if step.detail else ""
    detail = detail if step.runs else tables.kept(detail)
    return [output.paint(step.verb, fg="cyan"), printable(step.target), size, detail, printable(step.reason)]
