"""What a logrotate run says, line by line: complaints with their place, what is planned and why, what came of it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from maintd.logrotate.due import interval
from maintd.logrotate.engine import Overview
from maintd.logrotate.planning import Planned
from maintd.logrotate.stanza import Criteria, Options, Stanza
from maintd.names import printable
from maintd.steps import Action, Finding
from maintd.units import counted, format_size

DEBUG = "warning: with -d nothing is done, only shown; use -v to see what is done"


def errors(found: Overview, *, verbose: bool) -> Iterator[str]:
    """The complaints about configs, and what is wrong with the state file."""
    for complaint in found.complaints:
        if verbose or complaint.level != "note":
            yield printable(str(complaint))
    yield from (printable(f"error: {fault}") for fault in found.faults)


def plan(found: Overview) -> Iterator[str]:
    """Each stanza with its logs, why each is due or not, and the steps in their order."""
    for stanza in found.stanzas:
        yield ""
        yield from _stanza(stanza)
    yield ""
    count = sum(len(stanza.logs) for stanza in found.stanzas)
    due = sum(log.is_due for stanza in found.stanzas for log in stanza.logs)
    yield f"{counted(count, 'log')}, {due} to be rotated"


def outlook(stanza: Stanza, count: int) -> Iterator[str]:
    """What a stanza will do, in two lines; `count` is how many logs it has now."""
    options, criteria = stanza.options, stanza.options.criteria
    names = " ".join(stanza.text.split())
    yield printable(f"{stanza.file}:{stanza.line} {names}: {counted(count, 'log')}, {', '.join(_when(criteria))}")
    yield printable("    " + "; ".join(_how(options, stanza.scripts)))


def _when(criteria: Criteria) -> Iterator[str]:
    yield f"from {format_size(criteria.size)} on" if criteria.kind == "size" else interval(criteria)
    if criteria.maxsize:
        yield f"or larger than {format_size(criteria.maxsize)}"
    if criteria.minsize:
        yield f"if it has {format_size(criteria.minsize)}"
    if criteria.minage:
        yield f"if it was not changed for {criteria.minage} days"


def _how(options: Options, scripts: Iterable[str]) -> Iterator[str]:
    if options.copytruncate or options.copy:
        yield "copied, and cut" if options.copytruncate else "copied"
    elif options.create is None:
        yield "renamed, and no new log made"
    else:
        mode = "" if options.create.mode is None else f" ({options.create.mode:04o})"
        yield f"renamed, and a new log made{mode}"
    if options.compress:
        yield f"compressed by {options.compresscmd}" + (" one rotation later" if options.delaycompress else "")
    yield f"archives {'by date' if options.dateext else 'by number'}, {_kept(options)}"
    if options.criteria.maxage:
        yield f"none older than {options.criteria.maxage} days"
    if options.olddir:
        yield f"in {options.olddir}"
    if options.mail:
        yield f"mailed to {options.mail}"
    if options.su:
        yield f"as uid {options.su.uid}"
    if scripts := list(scripts):
        yield f"scripts: {', '.join(scripts)}"


def _kept(options: Options) -> str:
    special = {-1: "all archives are kept", 0: "no archive is kept"}
    return special.get(options.rotate, f"{counted(options.rotate, 'archive')} kept")


def _stanza(planned: Planned) -> Iterator[str]:
    stanza, options = planned.found.stanza, planned.found.stanza.options
    rhythm = f"size {options.criteria.size}" if options.criteria.kind == "size" else interval(options.criteria)
    yield printable(f"{stanza.file}:{stanza.line} {' '.join(stanza.text.split())}: {rhythm}, {_kept(options)}")
    for log in planned.logs:
        why = log.trouble or log.ruling.reason
        yield printable(f"  {log.path}: {'is rotated' if log.is_due else 'is not rotated'}: {why}")
        if log.ruling.warning:
            yield printable(f"  warning: {log.ruling.warning}")
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
