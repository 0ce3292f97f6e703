"""The clock is set a day forward and back under checks that go by it: no storm, and no silence."""

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
