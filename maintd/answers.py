"""What people ask of the running daemon through the control socket: status, do, pause, resume, reload, beat."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from maintd import __version__, reloading, story
from maintd.alert_settings import is_named
from maintd.alert_store import Silence
from maintd.job import Job
from maintd.lanes import Wanted
from maintd.names import legible, printable
from maintd.notices import PARTS
from maintd.refusals import IN_CONFIG
from maintd.requests import Request
from maintd.runs import Result
from maintd.state import ALL_JOBS, Refusal
from maintd.triggers import Asked, Due
from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.daemon import Daemon


def answer(daemon: "Daemon", request: Request) -> None:
    answers: dict[str, Callable[[Request], None]] = {
        "status": lambda item: _reply(item, status(daemon)),
        "reload": lambda item: _reply(item, reloading.reload(daemon, force=bool(item.arguments.get("force")))),
        "pause": lambda item: _reply(item, _pause(daemon, item.arguments["job"], item.arguments.get("seconds"))),
        "resume": lambda item: _reply(item, _resume(daemon, item.arguments["job"], item.arguments.get("until"))),
        "do": lambda item: _do(daemon, item),
        "beat": lambda item: _reply(item, _beat(daemon, item.arguments["name"])),
        "silence": lambda item: _reply(item, _silence(daemon, item.arguments)),
    }
    answers[request.verb](request)


_ALL_PAUSED = "all jobs are paused together: `maintd resume` without a name ends that"


@dataclass
class _Order:
    """A `maintd do`, as far as it has got; `left` counts the jobs that have not ended."""

    request: Request
    cause: Asked
    names: list[str]
    left: int

    def finished(self, name: str, result: Result) -> None:
        """Called in the lane when the run of one job has ended."""
        self.request.reply.put({"type": "result", "job": name, **_counts(result)})
        self.left -= 1
        if not self.left:
            _reply(self.request, {"type": "end"})


def _do(daemon: "Daemon", request: Request) -> None:
    enabled = [name for name, job in daemon.config.jobs.items() if job.enabled]
    names: list[str] = enabled if request.arguments.get("all") else list(request.arguments["jobs"])
    unknown = [name for name in names if name not in daemon.config.jobs]
    if unknown:
        _reply(request, {"type": "error", "error": f"the running config has no job {unknown[0]}"})
        return
    order = _Order(request, Asked(due_only=bool(request.arguments.get("due_only"))), names, len(names))
    for name in names:
        _do_one(daemon, order, name)
    if not names:
        _reply(request, {"type": "end"})


def _do_one(daemon: "Daemon", order: _Order, name: str) -> None:
    put = order.request.reply.put
    wanted = Wanted(
        Due(name, order.cause),
        frozenset(daemon.config.jobs[name].lanes),
        listener=lambda fields: put({"type": "event", **fields}),
        on_step=lambda at, of, action: put(
            {"type": "step", "job": name, "index": at, "of": of, "verb": action.verb, "target": action.target}
            | {"in_bytes": action.in_bytes}
        ),
        on_progress=lambda action, count: put(
            {"type": "progress", "job": name, "target": action.target, "bytes": count}
        ),
        on_end=lambda result: order.finished(name, result),
    )
    ahead = [other for other in daemon.upkeep.lanes.ahead(wanted) if other not in order.names]
    if ahead:
        put({"type": "waits", "job": name, "for": ahead})
    daemon.upkeep.order(wanted)


def _pause(daemon: "Daemon", name: str, seconds: float | None) -> dict[str, Any]:
    if name != ALL_JOBS and name not in daemon.config.jobs:
        return _unknown(daemon, name)
    until = datetime.now(UTC) + timedelta(seconds=seconds) if seconds else None
    daemon.upkeep.pauses.begin(name, until)
    daemon.emit(story.JobPaused(until=_written(until)), job="" if name == ALL_JOBS else name)
    return {"ok": True, "error": ""}


def _resume(daemon: "Daemon", name: str, until: str | None) -> dict[str, Any]:
    """With `until` the pause of all jobs ends if it lasts until then, and no other one."""
    pauses = daemon.upkeep.pauses
    if until and _written(pauses.until(ALL_JOBS)) == until:
        pauses.end_together(datetime.now(UTC))
    elif until or not pauses.end(name, datetime.now(UTC)):
        if name != ALL_JOBS and name not in daemon.config.jobs:
            return _unknown(daemon, name)
        one = f"{name} is not paused by itself, but {_ALL_PAUSED}" if pauses.is_of_all() else f"{name} is not paused"
        return {"ok": False, "error": "nothing is paused" if name == ALL_JOBS else one}
    daemon.emit(story.JobResumed(), job="" if name == ALL_JOBS else name)
    daemon.upkeep.go_on(name)
    return {"ok": True, "error": "", "rest": _ALL_PAUSED if pauses.is_of_all() else ""}


def _unknown(daemon: "Daemon", name: str) -> dict[str, Any]:
    return {"ok": False, "error": f"the running config has no job {name}", "jobs": list(daemon.config.jobs)}


def _beat(daemon: "Daemon", name: str) -> dict[str, Any]:
    if daemon.upkeep.checkups.beat(name, datetime.now(UTC)):
        return {"ok": True, "error": ""}
    return {"ok": False, "error": f"the running config has no heartbeat {printable(name)}"}


def _silence(daemon: "Daemon", given: Mapping[str, Any]) -> dict[str, Any]:
    """Begins a silence, or ends it if it is given no time."""
    pattern, seconds = given["pattern"], given["seconds"]
    if legible(pattern) != pattern:
        return {"ok": False, "error": f"{printable(pattern)} is no pattern of names"}
    if seconds is None:
        found = daemon.upkeep.alerts.end_silence(pattern)
        if found:
            daemon.emit(story.SilenceEnded(target=pattern))
        return {"ok": found, "error": "" if found else f"{printable(pattern)} is not silenced"}
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    daemon.upkeep.alerts.silence(Silence(pattern, until, legible(given["reason"])))
    names = [*daemon.config.jobs, *(f"program.{one.name}" for one in daemon.upkeep.supervision.programs.known or ())]
    is_known = any(is_named(name, (pattern,)) for name in [*names, *PARTS])
    daemon.emit(story.SilenceBegun(target=pattern, until=until.isoformat(timespec="seconds"), reason=given["reason"]))
    return {"ok": True, "error": "", "until": _written(until), "known": is_known}


def status(daemon: "Daemon") -> dict[str, Any]:
    """What `maintd status` shows."""
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started": daemon.started.isoformat(timespec="seconds"),
        "config": daemon.config_path,
        "digest": daemon.config.digest,
        "observe": daemon.config.settings.observe,
        "rejected": daemon.rejected.fields() if daemon.rejected else None,
        "paused_all": daemon.upkeep.pauses.hold(ALL_JOBS),
        "paused_all_until": _written(daemon.upkeep.pauses.until(ALL_JOBS)),
        "jobs": [_job_status(daemon, name, job) for name, job in daemon.config.jobs.items()],
        "growth": {
            "files": daemon.upkeep.watch.files,
            "bound_ms": round(daemon.upkeep.watch.bound * 1000),
            "degraded": daemon.upkeep.watch.degraded,
        },
        "events": {"dropped": daemon.log.dropped},
        "clock": _clock_status(daemon),
        "supervisor": daemon.upkeep.supervision.programs.trouble or None,
        "alerts": daemon.upkeep.alerts.status(),
        "checks": daemon.upkeep.checkups.told(),
        "refused": [_refusal_status(refusal) for refusal in daemon.upkeep.refusals.all()],
    }


def _clock_status(daemon: "Daemon") -> dict[str, Any] | None:
    """By how much the clock is doubted, and until when at the latest."""
    doubt = daemon.upkeep.doubts.doubt
    if doubt is None:
        return None
    return {"away_s": round(doubt.away, 1), "until": _written(datetime.now(UTC) + timedelta(seconds=doubt.left))}


def _job_status(daemon: "Daemon", name: str, job: Job) -> dict[str, Any]:
    last = daemon.upkeep.state.last(name)
    return {
        "name": name,
        "digest": job.digest,
        "state": _state_of(daemon, name, job),
        "next": _written(daemon.upkeep.schedule.next_run(name) or daemon.upkeep.checkups.next_run(name)),
        "last_outcome": last.outcome if last else None,
        "last_run": _written(last.at) if last else None,
        "last_msg": last.msg if last else None,
        "paused_until": _written(daemon.upkeep.pauses.until(name)),
    }


def _refusal_status(refusal: Refusal) -> dict[str, Any]:
    told = {key: getattr(refusal, key) for key in ("job", "reason", "advice")}
    in_config = refusal.inode == IN_CONFIG
    return {"log": printable(refusal.log)} | told | {"since": _written(refusal.since), "in_config": in_config}


def _written(when: datetime | None) -> str | None:
    return when.isoformat(timespec="seconds") if when else None


def _state_of(daemon: "Daemon", name: str, job: Job) -> str:
    if not job.enabled:
        return "disabled"
    if name in daemon.upkeep.lanes.running | daemon.upkeep.checkups.running:
        return "running"
    if daemon.upkeep.pauses.hold(name):
        return "paused"
    if daemon.upkeep.lanes.is_wanted(name) or daemon.upkeep.checkups.is_wanted(name):
        return "queued"
    return "observe" if job.observe or daemon.config.settings.observe else "idle"


def _counts(result: Result) -> dict[str, Any]:
    keys = ("planned", "done", "failed", "omitted", "waiting", "refused", "aborted")
    return {"outcome": result.outcome} | {key: getattr(result, key) for key in keys}


def _reply(request: Request, answer: dict[str, Any]) -> None:
    request.reply.put(answer)
    request.reply.put(None)
