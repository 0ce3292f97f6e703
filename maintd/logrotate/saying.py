"""What a logrotate run says, line by line: complaints with their place, what is planned and why, what came of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from maintd.logrotate import outlook
from maintd.logrotate.due import interval
from maintd.logrotate.engine import Overview
from maintd.logrotate.planning import Planned
from maintd.names import printable
from maintd.steps import Action, Finding
from maintd.units import counted

DEBUG = "warning: with -d nothing is done, only shown; use -v to see what is done"


def errors(found: Overview, *, verbose: bool) -> Iterator[str]:
    """The complaints about configs, and what is wrong with the state file, or with what it says of a log."""
    for complaint in found.complaints:
        if verbose or complaint.level != "note":
            yield printable(str(complaint))
    yield from (printable(f"error: {fault}") for fault in found.faults)
    warnings = (log.ruling.warning for stanza in found.stanzas for log in stanza.logs)
    yield from (printable(f"error: {warning}") for warning in warnings if warning)


def plan(found: Overview) -> Iterator[str]:
    """Each stanza with its logs, why each is due or not, and the steps in their order."""
    for stanza in found.stanzas:
        yield ""
        yield from _stanza(stanza)
    yield ""
    count = sum(len(stanza.logs) for stanza in found.stanzas)
    due = sum(log.is_due for stanza in found.stanzas for log in stanza.logs)
    yield f"{counted(count, 'log')}, {due} to be rotated"


def _stanza(planned: Planned) -> Iterator[str]:
    stanza, options = planned.found.stanza, planned.found.stanza.options
    rhythm = f"size {options.criteria.size}" if options.criteria.kind == "size" else interval(options.criteria)
    yield printable(f"{stanza.file}:{stanza.line} {' '.join(stanza.text.split())}: {rhythm}, {outlook.kept(options)}")
    for log in planned.logs:
        why = log.trouble or log.ruling.reason
        yield printable(f"  {log.path}: {'is rotated' if log.is_due else 'is not rotated'}: {why}")
    considered = {log.path for log in planned.logs}
    for step in planned.steps:
        if isinstance(step, Action):
            detail = f" → {step.detail}" if step.detail else ""
            yield printable(f"    {step.verb} {' '.join(step.target.split())}{detail} ({step.reason})")
        elif isinstance(step, Finding) and step.event and step.target not in considered:
            yield printable(f"    {step.reason}")


def event(fields: Mapping[str, Any], *, verbose: bool) -> str | None:
    """An event of the run as a line, None if nobody wants to see it."""
    level, target = fields["level"], printable(" ".join(str(fields.get("target", "")).split()))
    text = printable(str(fields["msg"]))
    if fields["event"] == "job.finished":
        return None
    if level in ("error", "critical"):
        return f"error: {text}" if fields["event"] == "log.failed" else f"error: {target}: {text}"
    if level == "warning":
        return f"warning: {target}: {text}"
    return f"{target}: {text}" if verbose else None
