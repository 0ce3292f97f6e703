"""`maintd storage`: what takes the space, what grows, and when it will be full."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from maintd import contexts, measuring, trends
from maintd.actions import measure
from maintd.actions.hands import Hands
from maintd.actions.measure import Measure
from maintd.cli import naming, output, stowed, tables
from maintd.cli.exits import Exit, usage
from maintd.cli.invocation import Invocation, config_option
from maintd.cli.stowed import Stowed
from maintd.config import Config, load
from maintd.errors import MaintdError, trouble
from maintd.measuring import Deleted, Measured, Space, Unnamed
from maintd.names import printable
from maintd.state import samples_kept
from maintd.steps import Finding
from maintd.trends import Sample, Trend
from maintd.triggers import Asked
from maintd.units import counted, format_size
from maintd.values import dataclass
from maintd.walk import Walked

_BAR = 16
_UNREAD = 3


@dataclass(frozen=True)
class _Report:
    """What one job measures, with what its runs have measured before."""

    job: str
    top: int
    directories: list[Measured]
    spaces: list[Space]
    deleted: list[Unnamed]
    samples: list[Sample]
    archives: list[Stowed]

    def trend(self, what: str) -> Trend | None:
        return trends.trend(sample for sample in self.samples if sample.what == what)


@click.command(
    short_help="Show what takes the space, what grows, and when it will be full.",
    epilog="\b\nExamples:\n  maintd storage\n  maintd storage storage.app --json | jq .file_systems",
)
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=naming.complete)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each job.")
@config_option()
@click.pass_obj
def storage(called: Invocation, jobs: tuple[str, ...], *, as_json: bool) -> int:
    """Measures the directories of storage jobs now, and prints sizes, largest and fastest growing files and services,
    databases, archives, file systems and files that are deleted and still open.

    Growth comes from what earlier runs of the jobs have measured; where that says too little, nothing is said of it.
    """
    config = load(called.config)
    naming.check(jobs, list(config.jobs))
    known = [name for name in config.jobs if name.partition(".")[0] == "storage"]
    chosen = list(jobs) or known
    if not set(chosen) <= set(known):
        raise usage(f"{next(name for name in chosen if name not in known)} is no storage job")
    if not chosen:
        raise MaintdError("the config has no storage job", hint='add [storage.NAME] with directories = ["…"] and every')
    code = Exit.OK
    for number, name in enumerate(chosen):
        report, problems = _measured(config, name, called)
        code = Exit.FAILED if problems else code
        output.complain(*problems)
        if report is None:
            continue
        if as_json:
            output.say_json(_fields(report))
            continue
        for line in ["", *_lines(report)][0 if number else 1 :]:
            output.say(line)
    return code


def _measured(config: Config, name: str, called: Invocation) -> tuple[_Report | None, list[str]]:
    """The report of a job, and what could not be measured."""
    steps = tuple(config.jobs[name].plan(contexts.context(config, name, called.now, Asked())))
    problems = [f"maintd: {printable(step.target)}: {step.reason}" for step in steps if isinstance(step, Finding)]
    action = next((step for step in steps if isinstance(step, Measure)), None)
    if action is None:
        return None, problems
    found: list[Measured] = []
    with Hands() as hands, measuring.threads() as pool:
        call = partial(measure.called, hands, action)
        for path in action.directories:
            try:
                found.append(measuring.measure(path, action.top, call, pool))
            except (OSError, MaintdError) as error:
                problems.append(f"maintd: cannot measure {printable(path)}: {trouble(error).error_msg}")
        spaces = list({one.space.mount: one.space for one in found}.values())
        deleted = measuring.deleted(spaces, call) if spaces else []
    samples = samples_kept(config.settings.state_dir, name)
    samples += [sample for one in found for sample in measure.samples_of(one, called.now)]
    samples += [Sample(called.now, space.mount, space.used) for space in spaces]
    return _Report(name, action.top, found, spaces, deleted, samples, stowed.stowed(config)), problems


# For programs


def _fields(report: _Report) -> dict[str, Any]:
    return {
        "job": report.job,
        "file_systems": [
            asdict(space)
            | _growth(report.trend(space.mount), space.free)
            | {"deleted_files": unnamed.count, "deleted_bytes": unnamed.size}
            for space, unnamed in zip(report.spaces, report.deleted, strict=True)
        ],
        "directories": [_directory(report, one) for one in report.directories],
        "archives": [stowed.fields(one) for one in report.archives],
        "deleted": [_deleted(one) for unnamed in report.deleted for one in unnamed.largest],
    }


def _deleted(found: Deleted) -> dict[str, Any]:
    return {"size": found.size, "pid": found.pid, "program": found.program, "was": printable(found.was)}


def _directory(report: _Report, one: Measured) -> dict[str, Any]:
    walked = one.walked
    return {
        "path": printable(one.path),
        "disk": walked.total.disk,
        "apparent": walked.total.apparent,
        "files": walked.total.files,
        "directories": walked.directories,
        "archives": asdict(walked.archives),
        "services": [
            {"name": printable(name)} | asdict(size) | _growth(report.trend(measure.group(one.path, name)))
            for name, size in _largest_groups(walked, report.top)
        ],
        "largest": [{"path": printable(path), "disk": size} for size, path in walked.largest],
        "fastest": [
            _growing(what) | {"per_day": round(per_day)}
            for per_day, what in measure.fastest(one.path, report.samples)[: report.top]
        ],
        "databases": [asdict(base) | {"path": printable(base.path)} for base in one.databases],
        "mounts": [printable(path) for path in walked.mounts],
        "unread": walked.unread,
    } | _growth(report.trend(one.path))


def _growing(what: str) -> dict[str, Any]:
    path, name = measure.parts(what)
    return {"path": printable(path)} | ({"service": printable(name)} if name else {})


def _growth(trend: Trend | None, room: int | None = None) -> dict[str, Any]:
    if trend is None:
        return {"per_day": None}
    days = None if room is None else trend.days_until(room)
    bounds = {"per_day": round(trend.per_day), "per_day_least": round(trend.least), "per_day_most": round(trend.most)}
    return bounds | ({"full_days": [round(value, 1) for value in days]} if days else {})


# For people


def _lines(report: _Report) -> Iterator[str]:
    yield output.paint(f"{report.job}:", bold=True)
    rows = [_space(space, report.trend(space.mount)) for space in report.spaces]
    header = ("file system", "size", "used", "", "free", "inodes", "grows a day", "full in")
    yield from tables.table(rows, header, right=(1, 3, 4, 5), indent=2)
    for one in report.directories:
        yield ""
        yield from _of_directory(report, one)
    if report.archives:
        yield ""
        yield from stowed.lines(report.archives)
    yield from _of_deleted([one for one in report.deleted if one.count])


def _of_deleted(found: Sequence[Unnamed]) -> Iterator[str]:
    if not found:
        return
    yield ""
    yield output.paint("deleted, and still open (their space is given back when they are closed):", fg="yellow")
    named = [one for unnamed in found for one in unnamed.largest]
    rows = [[_size(one.size), f"{one.program} (pid {one.pid})", printable(one.was)] for one in named]
    count = sum(unnamed.count for unnamed in found) - len(named)
    if count:
        size = sum(unnamed.size for unnamed in found) - sum(one.size for one in named)
        rows.append([_size(size), "", f"in {count} more"])
    yield from tables.table(rows, right=(0,), indent=2)


def _space(space: Space, trend: Trend | None) -> list[str]:
    share = space.used / space.size if space.size else 0.0
    used = 1 - space.free_inodes / space.inodes if space.inodes else 0.0
    return [
        printable(space.mount),
        _size(space.size),
        _bar(share),
        f"{share:.0%}",
        _size(space.free),
        f"{used:.0%}" if space.inodes else "",
        _per_day(trend),
        _full(trend.days_until(space.free) if trend else None),
    ]


def _of_directory(report: _Report, one: Measured) -> Iterator[str]:
    walked, path = one.walked, one.path
    total = f"{_size(walked.total.disk)} on the disk, {_size(walked.total.apparent)} of content, "
    total += f"in {counted(walked.total.files, 'file')}"
    growth = _per_day(report.trend(path))
    yield tables.hanging(
        output.paint(f"{printable(path)}:", bold=True), total + (f", {growth} a day" if growth else ""), 2
    )
    if walked.archives.files:
        kept = f"{_size(walked.archives.disk)} in {counted(walked.archives.files, 'archive')} of maintd"
        yield f"  {kept}"
    groups = _largest_groups(walked, report.top)
    rows = [
        [printable(name), _size(size.disk), _bar(size.disk / (walked.total.disk or 1)),
         _per_day(report.trend(measure.group(path, name)))]
        for name, size in groups
    ]  # fmt: skip
    yield from tables.table(rows, ("service", "size", "", "grows a day"), right=(1,), indent=2)
    yield from _files("largest files", [(_size(size), name) for size, name in walked.largest])
    fastest = measure.fastest(path, report.samples)[: report.top]
    yield from _files("growing fastest", [(f"+{_size(per_day)}/day", measure.shown(name)) for per_day, name in fastest])
    if one.databases:
        rows = [[printable(base.path), _size(base.size), _size(base.wal), _size(base.free)] for base in one.databases]
        yield from tables.table(rows, ("database", "size", "WAL", "unused"), right=(1, 2, 3), indent=2)
    yield from _not_measured(walked)


def _files(title: str, sizes: Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = [[size, printable(name)] for size, name in sizes]
    if rows:
        yield from tables.table(rows, ("", title), right=(0,), indent=2)


def _not_measured(walked: Walked) -> Iterator[str]:
    for mount in walked.mounts:
        yield output.paint(f"  not measured: {printable(mount)}, another file system", fg="yellow")
    for path, why in walked.troubles[:_UNREAD]:
        yield output.paint(f"  not measured: {printable(path)}: {why}", fg="yellow")
    if walked.unread > _UNREAD:
        yield output.paint(f"  and {walked.unread - _UNREAD} more that could not be read", fg="yellow")


def _largest_groups(walked: Walked, top: int) -> Sequence[tuple[str, Any]]:
    return sorted(walked.groups.items(), key=lambda group: -group[1].disk)[:top]


def _size(size: float) -> str:
    return tables.kept(format_size(size))


def _per_day(trend: Trend | None) -> str:
    """Growth with its bounds; nothing where it may as well be none."""
    if trend is None or trend.least <= 0 <= trend.most:
        return ""
    sign = "+" if trend.per_day > 0 else "-"
    return tables.kept(f"{sign}{format_size(abs(trend.per_day))}")


def _full(days: tuple[float, float, float] | None) -> str:
    return tables.kept(f"{days[0]:.0f} days ({days[1]:.0f} to {days[2]:.0f})") if days else ""


def _bar(share: float) -> str:
    """A small bar of so much of its whole length."""
    full, empty = ("█", "░") if (sys.stdout.encoding or "").lower().startswith("utf") else ("#", ".")
    filled = min(max(round(share * _BAR), 0), _BAR)
    return full * filled + empty * (_BAR - filled)
