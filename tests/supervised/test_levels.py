"""What gets worse, less bad, or is over: each is told to those who heard of it, once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from maintd.actions.programs import ProgramFailed, ProgramRestarted, ProgramSignalled
from maintd.alert_settings import Alerts as Settings
from maintd.alert_store import AlertStore, Change, Item, Silence
from maintd.alerts import Alerts
from maintd.ceilings import LimitExceeded, LimitOk
from maintd.events import Event
from maintd.jobs.limit import LimitSpent
from maintd.lives import ProgramCrashed, ProgramFatal, ProgramRecovered
from maintd.log import Envelope
from maintd.messages import Message, fitting
from maintd.notices import Notice, notice
from maintd.rotation import RotateRefused
from maintd.runs import JobFailed
from maintd.state import State

from .sink import FILE, alerts, said

NOW = datetime.now(UTC)
FAST = 'sample = "1s"\nover = "2 of 3"\ngrace = "1s"\nladder = []\n'


def test_a_look_that_breaks_off_is_no_alert():
    """That one look of a check broke off is nothing for people: its reading is unknown. Of other jobs it is told."""
    failed = JobFailed(target="", tried="plan it", error="runtimeerror", error_msg="can't start new thread", advice="")
    assert notice(failed, Envelope("check.redis.a", level="error")) is None
    assert notice(failed, Envelope("rotate.a", level="error")) is not None


class Told:
    """Alerts with a channel that gets what is as bad as `severity`, and what that channel was told."""

    def __init__(self, severity: str = "error") -> None:
        self.store = AlertStore(_unwritten)
        self.alerts = Alerts(self.store, lambda _: None, lambda _: None)
        routes = [{"severity": severity}]
        settings = Settings.model_validate({"channels": {"x": {"command": ["/bin/true"]}}, "routes": routes})
        self.alerts.take_over(settings, UTC, "host", ["check.file.a", "limit.a"], NOW)

    def hear(self, event: Event, job: str = "", level: str = "") -> list[tuple[str, str]]:
        found = notice(event, Envelope(job, level=level))
        assert found is not None
        return self.note(found)

    def check(self, level: str, *, is_over: bool = False) -> list[tuple[str, str]]:
        return self.note(Notice("check.file.a", "check.file.a", level, "title", "text", is_over))

    def note(self, given: Notice) -> list[tuple[str, str]]:
        self.alerts.note(given, NOW)
        return [(item.what, item.level) for item in self.taken()]

    def taken(self) -> list[Item]:
        items = [telling.item for telling in self.store.tellings]
        self.store.forget(list(self.store.tellings))
        return items

    def later(self, hours: int, *, rests: bool = False) -> list[tuple[str, str]]:
        """What a maintd that starts so much later tells at first; whether the check rests then."""
        self.alerts._told.clear()
        for incident in list(self.store.incidents.values()):
            self.alerts._look_again(incident, NOW + timedelta(hours=hours), lambda _: rests)
        return [(item.what, item.level) for item in self.taken()]


def _unwritten(_: Sequence[Change]) -> None:
    pass


def over_limit(**more: str) -> LimitExceeded:
    return LimitExceeded(target="a:a", reason="much", pid=1, **more)


def test_what_was_told_to_be_down_is_told_to_be_over_although_it_was_degraded_last():
    """Down (told), degraded (not told), up: whoever heard that it is down hears that it is over."""
    told = Told()
    assert told.check("error") == [("wrong", "error")]
    assert told.check("warning") == []
    assert told.later(5) == [("still", "error")]
    assert told.check("error") == []
    assert told.check("warning") == []
    assert told.check("info", is_over=True) == [("over", "error")]


def test_what_is_over_says_the_worst_that_it_was(tmp_path):
    """Down, then degraded, and a restart of maintd: that it was down is what its end says."""
    told = Told()
    texts: list[str] = []
    for level, text, is_over in (("error", "down", False), ("warning", "degraded", False), ("info", "up", True)):
        state = State(str(tmp_path), lambda _: None)
        told.store, told.alerts._store = state.alerts, state.alerts
        told.alerts.note(Notice("check.file.a", "check.file.a", level, "title", text, is_over), NOW)
        texts += [item.text for item in told.taken()]
        state.close()
    assert texts == ["down", "up; it was: down"]


def test_what_gets_worse_in_a_silence_and_ends_in_it_is_told_to_be_over():
    """limit.exceeded was told, limit.spent is silenced, then limit.ok: it is over for those who heard that it began."""
    told = Told()
    assert told.hear(over_limit(), "limit.a") == [("wrong", "error")]
    told.alerts.silence(Silence("limit.*", NOW + timedelta(hours=1), ""))
    assert told.hear(LimitSpent(target="a:a", reason="spent"), "limit.a") == []
    assert told.hear(LimitOk(target="a:a", reason="little"), "limit.a") == [("over", "error")]


def test_what_nobody_was_told_of_ends_without_a_word():
    """An incident that began and ended in a silence is told neither way; one that lasts is told after it."""
    told = Told()
    told.alerts.silence(Silence("check.*", NOW + timedelta(hours=1), ""))
    assert told.check("error") == []
    assert told.check("info", is_over=True) == []
    assert told.check("error") == []
    told.alerts.end_silence("check.*")
    assert told.later(0) == [("wrong", "error")]


def test_nobody_is_reminded_of_a_check_that_rests():
    """While a check is paused, or kept quiet by another, it is not repeated; afterwards it is, and its end is told."""
    told = Told()
    assert told.check("error") == [("wrong", "error")]
    assert told.later(5, rests=True) == []
    assert told.later(5) == [("still", "error")]
    assert told.later(5, rests=True) == []
    assert told.check("info", is_over=True) == [("over", "error")]


def test_a_message_has_no_more_than_can_be_told_one_by_one():
    """Of seventy things the first fifty are one message."""
    at = NOW.isoformat()
    item = Item("over", "id", "check.file.a", "error", "title", "text", at, at)
    assert fitting([item] * 70) == 50
    assert Message("id", "host", (item,) * 50, timedelta(hours=1)).text.count("over: ERROR title") == 50


def test_what_was_told_before_a_cascade_is_told_to_be_over_in_it():
    """A program was told to have crashed, then a cascade begins, in which it recovers: that is told, of others not."""
    told = Told()
    crash = {"state": "EXITED", "pid": 1, "reason": "it exited"}
    assert told.hear(ProgramCrashed(target="a:a", **crash)) == [("wrong", "error")]
    assert told.note(Notice("cascade", "cascade", "critical", "t", "x")) == [("wrong", "critical")]
    assert told.hear(ProgramCrashed(target="b:b", **crash)) == []
    assert told.hear(ProgramCrashed(target="c:c", **crash)) == []
    assert told.hear(ProgramRecovered(target="a:a", failures=1)) == [("over", "error")]
    assert told.hear(ProgramRecovered(target="b:b", failures=1)) == []
    assert told.note(Notice("cascade", "cascade", "info", "t", "x", is_over=True)) == [("over", "critical")]
    assert told.later(0) == [("wrong", "error")]


def test_what_waits_when_a_cascade_begins_is_told_with_it_alone():
    """A crash waits for its like when the cascade begins: neither it nor its end is told by itself."""
    told = Told()
    crashed = ProgramCrashed(target="a:a", state="EXITED", pid=1, reason="it exited")
    for given in (notice(crashed, Envelope()), Notice("cascade", "cascade", "critical", "t", "x")):
        assert given is not None
        told.alerts.note(given, NOW)
    assert [item.name for item in told.taken()] == ["cascade"]
    assert told.hear(ProgramRecovered(target="a:a", failures=1)) == []


def test_more_than_can_be_known_at_a_time_is_forgotten_the_oldest_first():
    """What nothing ends is known a thousand times; what has an end stays."""
    told = Told()
    told.check("error")
    for number in range(1003):
        told.alerts.note(Notice(f"a {number}", "a", "warning", "t", "x", fades=True), NOW)
    told.alerts.tick(NOW, lambda _: False)
    assert len(told.store.incidents) == 1001
    assert "check.file.a" in told.store.incidents
    assert "a 2" not in told.store.incidents


def test_what_is_worse_at_the_same_level_is_told_once():
    """A program that is given up again and again is told once; so is a limit whose restarts are spent."""
    told = Told()
    fatal = ProgramFatal(target="a:a", reason="given up")
    assert [told.hear(fatal) for _ in range(3)] == [[("wrong", "error")], [], []]
    spent = LimitSpent(target="b:b", reason="spent")
    assert told.hear(LimitExceeded(target="b:b", reason="much", pid=1), "limit.a") == [("wrong", "error")]
    assert [told.hear(spent, "limit.a") for _ in range(3)] == [[("wrong", "error")], [], []]


def test_at_another_level_the_same_thing_is_over_for_alertmanager_at_the_one_before():
    """A severity is part of what Alertmanager knows an alert by: what it was before is resolved."""
    told = Told("warning")
    for level in ("warning", "error"):
        told.check(level)
    told.alerts.note(Notice("check.file.a", "check.file.a", "critical", "t", "x"), NOW)
    assert _active(told.taken()[0]) == {"critical": True, "warning": False, "error": False}
    told.alerts.note(Notice("check.file.a", "check.file.a", "info", "t", "x", is_over=True), NOW)
    assert _active(told.taken()[0]) == {"critical": False, "warning": False, "error": False}


def _active(item: Item) -> dict[str, bool]:
    """The severities in what Alertmanager gets of an item, each with whether it goes on."""
    found = Message("id", "host", (item,), timedelta(hours=4)).fields()["alerts"]
    return {
        one["labels"]["severity"]: datetime.fromisoformat(one["endsAt"]) > datetime.fromisoformat(item.at)
        for one in found
    }


@pytest.mark.parametrize(
    ("ends", "job"),
    [
        (ProgramRestarted(target="a:a", reason="much", was_pid=1, pid=2), "limit.a"),
        (ProgramSignalled(target="a:a", reason="much", pid=1, signal="USR1"), "limit.a"),
        (LimitOk(target="a:a", reason="little"), "limit.a"),
        (ProgramRecovered(target="a:a", failures=1), ""),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_a_restart_that_failed_is_over_by_one_that_goes_well_or_by_itself(ends, job):
    """program.failed of a limit ends when the program is restarted or signalled, is below its limit, or recovers."""
    told = Told()
    failed = ProgramFailed(target="a:a", tried="restart it", error="x", error_msg="it does not stop", advice="look")
    assert told.hear(failed, "limit.a") == [("wrong", "error")]
    found = notice(ends, Envelope("limit.b" if job else ""))
    assert found is not None
    if job:
        assert told.note(found) == []  # another job's is another thing
    assert told.hear(ends, job) == [("over", "error")]
    assert not told.store.incidents


def test_an_alert_says_what_it_is_about():
    """The file, or the program, is in the title of each alert, whatever it is about."""
    refused = notice(RotateRefused(target="/var/log/a.log", reason="it has 2 names", advice="x"), Envelope("rotate.a"))
    exceeded = notice(over_limit(), Envelope("limit.a"))
    assert [given and given.title for given in (refused, exceeded)] == [
        "rotate.a /var/log/a.log: rotate.refused",
        "limit.a a:a: limit.exceeded",
    ]


def test_status_says_which_program_is_wrong(daemon, supervisord):
    """`maintd status` names the program that is over its limit, and not the job alone."""
    one = daemon('[alerts.channels.a]\ncommand = ["/bin/true"]\n[limit.hog]\nprogram = "one"\nmemory = "20M"\n' + FAST)
    supervisord(one=("hold 40", ""))
    one.start()
    one.event("limit.exceeded")
    assert "limit.hog one:one: limit.exceeded" in one.tree.run("status").stdout


def test_alerts_that_a_reload_adds_tell_what_is_wrong_already(daemon, supervisord, sink):
    """A check is down, a program FATAL, a limit exceeded, a job failed; then [alerts] is added: all of it is told once.

    A second channel is told the same once it is there, and the first not again. That it is over is told to both.
    """
    job = '[rotate.a]\npaths = ["LOGS/*.log"]\nmax_size = "1M"\nbefore = ["/bin/false"]\n'
    jobs = f'[limit.hog]\nprogram = "hog"\nmemory = "20M"\n{FAST}{job}{FILE.format("a")}'
    one = daemon(jobs)
    supervisord(hog=("hold 40", ""), fallen=("crash gone 3", "startsecs=1\nstartretries=0"))
    one.start()
    one.tree.log("x.log")
    assert one.tree.run("do", "rotate.a").returncode == 1
    for name in ("check.failed", "program.fatal", "limit.exceeded"):
        one.event(name)
    one.tree.write_config("rubbish")
    assert one.tree.run("reload").returncode != 0
    one.tree.write_config(alerts(sink, group="1500ms") + jobs)
    assert one.tree.run("reload").returncode == 0
    one.event("alert.sent")
    wrong = [(name, False) for name in ("check.file.a", "limit.hog", "program.fallen:fallen", "rotate.a")]
    assert sorted(said(sink)) == wrong
    told = one.tree.folder / "told"
    (one.tree.folder / "tell").write_text(f'echo "$MAINTD_ALERT_TEXT" >> {told}\n')
    second = f'[alerts.channels.second]\ncommand = ["/bin/sh", "{one.tree.folder}/tell"]\n'
    one.tree.write_config(alerts(sink, group="1500ms") + second + jobs)
    assert one.tree.run("reload").returncode == 0
    one.event("alert.sent", target="second")
    assert all(name in told.read_text() for name, _ in wrong)
    (one.tree.folder / "a").touch()
    for channel, count in (("ops", 2), ("second", 2)):
        one.event("alert.sent", count=count, target=channel)
    assert said(sink)[4:] == [("check.file.a", True)]
