"""The clock is set a day forward and back under checks that go by it: no storm, and no silence."""

import time
from datetime import timedelta

import pytest

from tests.conftest import until
from tests.end_to_end.daemon import Daemon
from tests.end_to_end.test_set_clock import LIBRARY, _set, _start

from .servers import Server
from .test_daemon import FAST, asked, http, is_up, said

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is missing: apt-get install faketime")
DAY = timedelta(days=1)


def prepared(one: Daemon, web: Server) -> None:
    """A daemon whose checks have all been up for a while: a page, a file that is written, a heartbeat."""
    one.tree.log("fresh.json")
    one.tree.log("stays.csv")
    _start(one)
    assert one.tree.run("beat", "a").returncode == 0
    until(lambda: {check["health"] for check in one.status()["checks"]} == {"up"}, "all are up", 30)
    one.tree.log("fresh.json", b"written again\n")
    asked(web, "a", 3)


def jobs(web: Server) -> str:
    return (
        http(web, "a")
        + f'[check.file.fresh]\npaths = ["LOGS/*.json"]\n{FAST}down_age = "1h"\n'
        + f'[check.file.many]\npaths = ["LOGS/*.csv"]\n{FAST}changed_within = "1h"\ndown_changed = 0\n'
        + f'[check.heartbeat.a]\n{FAST}down_age = "1h"\n'
    )


@pytest.mark.parametrize("by", [DAY, -DAY], ids=["forward", "back"])
def test_no_storm_and_no_silence(daemon, web, by):
    """No check is told bad because of the clock, all are still looked at as often, and one that fails then is told."""
    answer = is_up(web, "/a")
    one = daemon(jobs(web))
    prepared(one, web)
    _set(one, by)
    one.event("clock.jumped")
    asked(web, "a", 5)
    assert said(one) == []
    answer(False)
    failed = one.event("check.failed")
    answer(True)
    recovered = one.event("check.recovered")
    assert 0 < recovered["lasted_s"] < 3600
    assert said(one) == [("check.http.a", failed["event"]), ("check.http.a", recovered["event"])]


@pytest.mark.parametrize("by", [DAY, -DAY], ids=["forward", "back"])
@pytest.mark.parametrize("is_away", [True, False], ids=["while away", "at work"])
def test_a_restart_after_the_clock_was_set_tells_nothing(daemon, by, is_away):
    """The clock is set a day forward or back, under maintd or while none runs: after a restart what was written or has
    called in just before is up, and a heartbeat that has been down for long is down still, and is told of no more.
    """
    beats = f'[check.heartbeat.late]\n{FAST}down_age = "4s"\n[check.heartbeat.a]\n{FAST}down_age = "1h"\n'
    one = daemon(beats + f'[check.file.fresh]\npaths = ["LOGS/*.json"]\n{FAST}down_age = "1h"\n')
    one.tree.log("fresh.json")
    _start(one)
    for name in ("late", "a"):
        assert one.tree.run("beat", name).returncode == 0
    one.event("check.failed", job="check.heartbeat.late")  # that it called in is long ago
    until(lambda: sorted(check["health"] for check in one.status()["checks"]) == ["down", "up", "up"], "others are up")
    told = said(one)
    if not is_away:
        _set(one, by)
        one.event("clock.doubted")
    assert one.stop() == 0
    _start(one, by)
    one.event("clock.doubted")

    looks: dict[str, set[str]] = {}

    def are_looked_at() -> bool:
        for check in one.status()["checks"]:
            looks.setdefault(check["name"], set()).add(check["last_look"] or "")
        return min(map(len, looks.values())) > 3

    until(are_looked_at, "all are looked at some times")
    found = {check["name"]: check["last_health"] for check in one.status()["checks"]}
    assert found == {"check.heartbeat.late": "down", "check.heartbeat.a": "up", "check.file.fresh": "up"}
    assert said(one) == told


def test_one_that_never_called_in_is_down_in_time_over_restarts(daemon):
    """How long a heartbeat has waited for its first beat counts over restarts that come more often than `down_age`."""
    one = daemon(f'[check.heartbeat.a]\n{FAST}down_age = "6s"\n')
    one.start()
    begun = time.monotonic()
    while time.monotonic() < begun + 8:
        until(lambda: one.status()["checks"][0]["last_look"], "it is looked at")
        assert one.stop() == 0
        one.start()
    until(lambda: one.status()["checks"][0]["last_look"], "it is looked at")
    assert one.status()["checks"][0]["last_health"] == "down"
