"""What `limit` plans about a program that is over its limit, for what it did before: signals, pauses, a budget."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from maintd.actions.programs import RestartProgram, SignalProgram, StartProgram
from maintd.job import Context
from maintd.jobs.limit import ProgramLimit
from maintd.jobs.revive import Revive
from maintd.restarts import Begun, note
from maintd.steps import Finding, Step
from maintd.supervisor import Program, Supervisor
from maintd.trends import Sample
from maintd.triggers import Excess, Fallen, Over

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
EXCESS = Excess("api:api", 4711, "more than 1G of memory in 3 of 5 samples")


def planned(history: list[tuple[str, float]], **options: Any) -> Step:
    """The one step for what was done so many seconds ago."""
    job = ProgramLimit.model_validate({"program": "api", "memory": "1G", "pause": "1m", "step": "1m"} | options)
    samples = tuple(Sample(NOW - timedelta(seconds=ago), what, 1) for what, ago in history)
    (step,) = job.plan(Context(now=NOW, cause=Over((EXCESS,)), history=samples, job="limit.api"))
    return step


def restarts(*ago: float) -> list[tuple[str, float]]:
    return [("restart api:api", seconds) for seconds in ago]


@pytest.mark.parametrize(
    ("ago", "is_restarted"),
    [
        ((), True),
        ((59,), False),
        ((61,), True),
        ((300, 119), False),
        ((300, 121), True),
        ((3700, 3650, 3601), True),
    ],
)
def test_pauses_between_restarts_grow_and_the_window_ends(ago, is_restarted):
    """One minute after the first restart, two after the second, and what is beyond the window does not count."""
    assert isinstance(planned(restarts(*ago)), RestartProgram if is_restarted else Finding)


@pytest.mark.parametrize("ago", [(3000, 2000, 1000), (300, 200, -86400)], ids=["spent", "clock set back"])
def test_no_more_restarts_than_the_window_has(ago):
    """The fourth restart within the window is not done, and that is an event; those of the future count as well."""
    step = planned(restarts(*ago))
    assert isinstance(step, Finding)
    assert step.event is not None
    assert step.event.name == "limit.spent"


@pytest.mark.parametrize("is_remembered", [False, True], ids=["cut off", "remembered as well"])
def test_a_restart_whose_end_nobody_has_seen_counts_once(tmp_path, is_remembered):
    """What is written down of it counts from when it was begun, unless its run remembers it; and so in its old form."""
    at = NOW - timedelta(seconds=100)
    note(str(tmp_path), Begun("api:api", "limit.api", at.timestamp()))
    history = (Sample(at, "restart api:api", 1),) if is_remembered else ()
    job = ProgramLimit.model_validate({"program": "api", "memory": "1G", "max_restarts": 2})
    ctx = Context(now=NOW, cause=Over((EXCESS,)), history=history, job="limit.api", intents=str(tmp_path))
    start, restart = job.plan(ctx)
    assert isinstance(start, StartProgram)
    assert (start.remembered, start.now) == (("", NOW) if is_remembered else ("restart api:api", at))
    assert isinstance(restart, RestartProgram)
    (file,) = tmp_path.glob("*.restart")
    file.write_text('{"program": "api:api", "job": "limit.api"}')
    os.utime(file, (at.timestamp() - 1, at.timestamp() - 1))
    _, restart = job.plan(ctx)
    assert isinstance(restart, Finding if is_remembered else RestartProgram)


def test_the_window_of_restarts_is_as_long_as_it_says():
    """With restarts_within = "10m" three restarts of the last half hour leave room for another."""
    assert isinstance(planned(restarts(3000, 2000, 1000), restarts_within="10m"), RestartProgram)
    assert isinstance(planned(restarts(590, 400), restarts_within="10m", max_restarts=2), Finding)


@pytest.mark.parametrize(
    ("ago", "options", "is_started"),
    [
        ((), {}, True),
        ((59,), {}, False),
        ((61,), {}, True),
        ((3000, 2000, 1000, 230), {}, False),
        ((3000, 2000, 1000, 230), {"longest_pause": "200s"}, True),
        ((3000, 2000, 1000, 130), {"forget": "600s"}, True),
    ],
)
def test_pauses_between_attempts_to_revive_grow_up_to_the_longest_and_are_forgotten(ago, options, is_started):
    """Doubled with each attempt, no longer than longest_pause, and what is older than forget counts no more."""

    class Known(Supervisor):
        def programs(self) -> list[Program]:
            return [Program("api:api", "FATAL", 0, stopped_for=1000.0)]

    job = Revive.model_validate({"programs": ["api"], "pause": "30s"} | options)
    samples = tuple(Sample(NOW - timedelta(seconds=seconds), "start api:api", 1) for seconds in ago)
    cause = Fallen(("api:api",))
    (step,) = job.plan(Context(now=NOW, cause=cause, history=samples, job="revive.a", supervisor=Known("")))
    assert isinstance(step, StartProgram if is_started else Finding)


def test_a_signal_is_sent_once_to_each_process_and_given_time():
    """First the signal; while it may still help nothing; then a restart; another process gets it anew."""
    ladder: dict[str, Any] = {"ladder": ["signal", "restart"], "signal": "SIGUSR1"}
    assert isinstance(planned([], **ladder), SignalProgram)
    assert isinstance(planned([("signal api:api 4711", 30)], **ladder), Finding)
    assert isinstance(planned([("signal api:api 4711", 61)], **ladder), RestartProgram)
    assert isinstance(planned([("signal api:api 9", 61)], **ladder), SignalProgram)
    assert isinstance(planned([], ladder=[]), Finding)
