"""What is said of a check in the end: how long it was bad, that it is blind for long, and what its monitor hears."""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

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
    """What is up is told to its monitor, and what is said to be down; nothing of a check that is blind, of one that
    fails with what it depends on, also before that is said to be down, or of a blip.
    """
    _fails(web, "/down")
    _fails(web, "/quiet")
    web.answers["/blip"] = lambda made, number: respond(made, 500 if number % 6 == 2 else 200, b"")
    ping = FAST + f'ping = "{web.url}/ping-{{0}}"\n'
    soon = f"{ping}fail_after = 1\n"
    blind = f'{soon}token_file = "/nowhere"\n'
    quiet = f'{soon}depends_on = ["check.http.down"]\n'
    given = {"blip": ping, "down": ping, "blind": blind, "quiet": quiet}
    one = daemon("".join(http(web, name, more.format(name)) for name, more in given.items())).start()
    one.event("check.failed", job="check.http.down")
    asked(web, "ping-down/fail", 1)
    asked(web, "blip", 3)
    asked(web, "ping-blip", 2)
    assert {path for path in web.asked if path.startswith("/ping")} == {"/ping-down/fail", "/ping-blip"}


class Looks:
    """One check, `severity = "critical"`, whose readings are given; what is said of it, each time with its level."""

    name = "check.http.a"

    def __init__(self, folder: Path) -> None:
        self.told: list[tuple[Event, Envelope]] = []
        self.state = State(str(folder), lambda _: None)
        self.begin()

    def begin(self) -> None:
        """Goes on as the next maintd would."""
        given = {"url": "http://127.0.0.1:1", "severity": "critical"}
        self.standings = Standings(
            self.state, lambda event, envelope: self.told.append((event, envelope)), lambda _: None
        )
        self.standings.take_over({self.name: jobs.kind("check.http").model_validate(given)}, datetime.now(UTC))

    def find(self, *found: Health) -> None:
        for health in found:
            reading = Reading(target="a", reason="no token", health=health)
            self.standings.note(self.name, "", reading, datetime.now(UTC))

    def an_hour_passes(self) -> None:
        self.standings._entries[self.name].blind_since -= 3600

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(event.name, envelope.level) for event, envelope in self.told]


@pytest.fixture
def looks(tmp_path: Path) -> Iterator[Looks]:
    made = Looks(tmp_path)
    yield made
    made.state.close()


def test_what_is_blind_for_an_hour_is_told_as_if_it_were_down(looks):
    """Unknown readings without a break are told as a warning, and after an hour once more, at the job's severity."""
    looks.find(Health.UNKNOWN, Health.UNKNOWN)
    looks.an_hour_passes()
    looks.find(Health.UP)
    looks.find(Health.UNKNOWN, Health.UNKNOWN)
    assert looks.said == [("check.unknown", ""), ("check.recovered", ""), ("check.unknown", "")]
    looks.an_hour_passes()
    looks.find(Health.UNKNOWN, Health.UNKNOWN)
    looks.begin()
    looks.find(*[Health.UNKNOWN] * 3)
    assert looks.said[3:] == [("check.unknown", "critical")]
    looks.begin()
    looks.find(Health.UP, Health.UP)
    assert (looks.told[-1][0].name, looks.told[-1][0].was) == ("check.recovered", "unknown")


def test_what_flaps_is_told_once_more_when_it_is_down_among_that(looks):
    """Up and degraded in turn is a warning; once it is down in between that is told at the job's severity, and no more
    until it is steady, over a restart of maintd too.
    """
    looks.find(*[Health.UP, Health.DEGRADED] * 8)
    assert looks.said == [("check.flapping", "")]
    looks.begin()
    looks.find(*[Health.UP, Health.DEGRADED] * 2)
    assert len(looks.told) == 1
    looks.find(*[Health.UP, Health.DOWN] * 3)
    looks.begin()
    looks.find(*[Health.UP, Health.DOWN] * 3, *[Health.UP, Health.DEGRADED] * 8)
    assert looks.said[1:] == [("check.flapping", "critical")]
    looks.find(*[Health.UP] * 8)
    assert looks.said[2:] == [("check.recovered", "")]
    assert looks.told[-1][0].was == "flapping"
