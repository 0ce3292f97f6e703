"""What is said of a check in the end: how long it was bad, that it is blind for long, and what its monitor hears."""

import contextlib
import signal
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

from maintd import jobs
from maintd.events import Event
from maintd.log import Envelope
from maintd.readings import Health, Reading
from maintd.standings import Standings
from maintd.state import State

from .servers import Server, respond
from .test_daemon import FAST, asked, http, said


def _slowly(web: Server, path: str) -> None:
    web.answers[path] = lambda made, _: (time.sleep(0.3), respond(made, 200, b""))


def _fails(web: Server, path: str) -> None:
    web.answers[path] = lambda made, _: respond(made, 500, b"")


def test_a_recovery_says_how_long_it_was_not_up_all_in_all(daemon, web):
    """Down, then merely slow, then maintd killed, then well: what counts is the time since it was told to be down."""
    _fails(web, "/a")
    one = daemon(http(web, "a", FAST + 'degraded_time = "200ms"\n')).start()
    failed = one.event("check.failed")
    _slowly(web, "/a")
    one.event("check.degraded")
    asked(web, "a", 3)
    one.process.send_signal(signal.SIGKILL)
    one.process.communicate()
    del web.answers["/a"]
    one.start()
    recovered = one.event("check.recovered")
    begun, end = (datetime.fromisoformat(event["ts"]) for event in (failed, recovered))
    assert abs(recovered["lasted_s"] - (end - begun).total_seconds()) < 1
    assert recovered["was"] == "degraded"


def test_a_check_that_was_down_before_an_upgrade_was_so_since_then(daemon, web):
    """An older maintd did not write down since when a check was not up: then it was for as long as it is down."""
    _fails(web, "/a")
    one = daemon(http(web, "a", FAST)).start()
    failed = one.event("check.failed")
    one.stop()
    with contextlib.closing(sqlite3.connect(one.tree.folder / "state" / "state.sqlite")) as base:
        base.execute("UPDATE standing SET bad_from = NULL")
        base.commit()
    del web.answers["/a"]
    one.start()
    recovered = one.event("check.recovered")
    begun, end = (datetime.fromisoformat(event["ts"]) for event in (failed, recovered))
    assert recovered["lasted_s"] > 0
    assert abs(recovered["lasted_s"] - (end - begun).total_seconds()) < 1


def test_flapping_goes_on_over_a_restart(daemon, web):
    """A check that is flapping when maintd is killed is flapping for the next one; it says when that is over."""
    web.answers["/a"] = lambda made, number: respond(made, 200 if number % 2 else 500, b"")
    one = daemon(http(web, "a")).start()
    one.event("check.flapping")
    one.process.send_signal(signal.SIGKILL)
    one.process.communicate()
    one.start()
    asked(web, "a", 7)
    assert said(one) == [("check.http.a", "check.flapping")]
    del web.answers["/a"]
    one.event("check.recovered", was="flapping")
    assert len(said(one)) == 2


def test_a_ping_tells_of_what_was_seen_alone(daemon, web):
    """What is up is told to its monitor, and what is down; nothing of a check that is blind, or is kept quiet."""
    _fails(web, "/down")
    ping = FAST + f'fail_after = 1\nping = "{web.url}/ping-{{0}}"\n'
    blind = f'{ping}token_file = "/nowhere"\n'
    quiet = f'{ping}depends_on = ["check.http.down"]\n'
    given = {"up": ping, "down": ping, "blind": blind, "quiet": quiet}
    one = daemon("".join(http(web, name, more.format(name)) for name, more in given.items())).start()
    one.event("check.failed", job="check.http.down")
    asked(web, "ping-up", 2)
    before = len(web.asked["/ping-quiet"])
    asked(web, "ping-up", 3)
    asked(web, "ping-down/fail", 2)
    assert len(web.asked["/ping-quiet"]) == before
    assert {path for path in web.asked if path.startswith(("/ping-blind", "/ping-quiet/"))} == set()
    assert "/ping-down" not in web.asked


def test_what_is_blind_for_an_hour_is_told_as_if_it_were_down(tmp_path: Path):
    """Unknown readings without a break are told as a warning, and after an hour once more, at the job's severity."""
    told: list[tuple[Event, Envelope]] = []
    name = "check.http.a"
    checks = {name: jobs.kind("check.http").model_validate({"url": "http://127.0.0.1:1", "severity": "critical"})}
    state = State(str(tmp_path), lambda _: None)

    def begin() -> Standings:
        made = Standings(state, lambda event, envelope: told.append((event, envelope)), lambda _: None)
        made.take_over(checks, datetime.now(UTC))
        return made

    def look(made: Standings, health: Health, count: int = 2) -> None:
        for _ in range(count):
            made.note(name, "", Reading(target="a", reason="no token", health=health), datetime.now(UTC))

    def an_hour_passes(made: Standings) -> None:
        made._entries[name].blind_since -= 3600

    standings = begin()
    look(standings, Health.UNKNOWN)
    an_hour_passes(standings)
    look(standings, Health.UP, 1)
    look(standings, Health.UNKNOWN)
    assert [(event.name, envelope.level) for event, envelope in told] == [
        ("check.unknown", ""),
        ("check.recovered", ""),
        ("check.unknown", ""),
    ]
    an_hour_passes(standings)
    look(standings, Health.UNKNOWN)
    look(begin(), Health.UNKNOWN, 3)
    assert [(event.name, envelope.level) for event, envelope in told[3:]] == [("check.unknown", "critical")]
    look(begin(), Health.UP)
    assert (told[-1][0].name, told[-1][0].was) == ("check.recovered", "unknown")
    state.close()
