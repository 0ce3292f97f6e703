"""Alerts of the running daemon: on the edge, together, over outages and kills, capped, silenced, by every channel."""

import contextlib
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.checks.test_servers import free_port
from tests.conftest import until
from tests.end_to_end.daemon import Daemon

from .sink import FILE, alerts, said

EXTRAS = Path(__file__).parents[2] / ".venv-extras/bin/maintd"


def files(one: Daemon, names: Iterable[str]) -> Callable[[str], None]:
    """Has the files of these checks be there, and returns what takes one away."""
    for name in names:
        (one.tree.folder / name).touch()
    return lambda name: (one.tree.folder / name).unlink()


def is_up(one: Daemon, *names: str) -> None:
    """Waits until these checks are up."""
    wanted = {f"check.file.{name}" for name in names}
    until(lambda: wanted <= {c["name"] for c in one.status()["checks"] if c["health"] == "up"}, "they are up", 20)


def test_what_belongs_together_is_one_message_and_its_end_another(daemon, sink):
    """Three checks fail at once: one message with three alerts, with no repetition; one more when they are up again."""
    one = daemon(alerts(sink, group="4s") + "".join(FILE.format(name) for name in "abc"))
    take = files(one, "abc")
    one.start()
    is_up(one, *"abc")
    for name in "abc":
        take(name)
    one.event("alert.sent")
    assert len(sink.messages) == 1
    assert sorted(said(sink)) == [(f"check.file.{name}", False) for name in "abc"]
    alert = sink.messages[0][0]
    assert sink.taken[0][0] == "/api/v2/alerts"
    assert alert["labels"]["severity"] == "error"
    assert {"startsAt", "endsAt", "annotations"} <= alert.keys()
    assert [found["level"] for found in one.status()["alerts"]["open"]] == ["error"] * 3
    files(one, "abc")
    one.event("alert.sent", count=2)
    assert sorted(said(sink)[3:]) == [(f"check.file.{name}", True) for name in "abc"]
    assert one.status()["alerts"]["open"] == []


def test_a_message_outlives_an_outage_of_its_channel_and_kill_9(daemon, sink):
    """The channel is down, then maintd is killed: the alert is delivered after both, once, and with the same id."""
    sink.is_down = True
    one = daemon(alerts(sink) + FILE.format("a"))
    one.start()
    one.event("alert.failed", target="ops")
    assert one.status()["alerts"]["channels"] == [{"name": "ops", "waiting": 1, "failing": True}]
    one.end()
    sink.is_down = False
    one.start()
    one.event("alert.sent")
    assert [item["labels"]["incident"] for item in sink.messages[0]] == [
        item["labels"]["incident"] for item in sink.refused[0]
    ]
    assert sink.messages[0][0]["annotations"]["message"] == sink.refused[0][0]["annotations"]["message"]
    assert said(sink) == [("check.file.a", False)]


def test_what_ends_while_maintd_is_away_is_told_to_be_over(daemon, supervisord, sink):
    """A limit, a guarded disk, a directory and a supervisord that are well when the next maintd starts are told to be.

    Of what still lasts then nothing is told a second time.
    """
    job = '[limit.{0}]\nprogram = "one"\nmemory = "{1}M"\nladder = []\nsample = "1s"\nover = 2\ngrace = "0s"\n'
    guard = '[guard.disk]\ndirectory = "HERE/logs"\nmin_free = "1K"\nwarn_free = "{0}"\n'
    common = alerts(sink, '[[alerts.routes]]\nseverity = "warning"\n') + job.format("still", 20)
    common += '[guard.much]\ndirectory = "HERE/much"\nmax_used = "1M"\n'
    one = daemon(common + job.format("over", 20) + guard.format("900T"))
    (one.tree.folder / "logs").mkdir(exist_ok=True)
    (one.tree.folder / "much").mkdir()
    (one.tree.folder / "much/file").write_bytes(b"x" * (2 << 20))
    real = supervisord(one=("hold 40", ""))
    one.start()
    for name in ("limit.still", "limit.over"):
        one.event("limit.exceeded", job=name)
    one.event("storage.low")
    real.process.send_signal(signal.SIGSTOP)
    one.event("supervisor.failed")
    one.event("directory.spent")
    told = {"limit.still", "limit.over", "guard.disk", "guard.much", "supervisor"}
    until(lambda: set(said(sink)) == {(name, False) for name in told}, "all is told")
    until(lambda: not one.status()["alerts"]["channels"][0]["waiting"], "it knows that all was delivered")
    count = len(said(sink))
    one.end()
    real.process.send_signal(signal.SIGCONT)
    (one.tree.folder / "much/file").unlink()
    one.tree.write_config(common + job.format("over", 900) + guard.format("2K"))
    one.start()
    over = told - {"limit.still"}
    until(lambda: set(said(sink)[count:]) == {(name, True) for name in over}, "all that is over is told to be")
    assert [found["name"] for found in one.status()["alerts"]["open"]] == ["limit.still"]


def test_what_a_reload_corrects_is_told_to_be_over(daemon, sink):
    """A guarded disk and directory that are well by the numbers of a reload, and one that is guarded no more."""
    disk = '[guard.disk]\ndirectory = "HERE/logs"\nmin_free = "1K"\nwarn_free = "{0}"\n'
    spending = '[guard.{0}]\ndirectory = "HERE/{1}"\nmax_used = "{2}"\n'
    common = alerts(sink, '[[alerts.routes]]\nseverity = "warning"\n')
    one = daemon(
        common + disk.format("900T") + spending.format("much", "much", "1M") + spending.format("other", "much", "1M")
    )
    (one.tree.folder / "logs").mkdir(exist_ok=True)
    (one.tree.folder / "much").mkdir()
    (one.tree.folder / "much/file").write_bytes(b"x" * (2 << 20))
    one.start()
    told = {"guard.disk", "guard.much", "guard.other"}
    for name in ("guard.much", "guard.other"):
        one.event("directory.spent", job=name)
    until(lambda: {name for name, _ in said(sink)} == told, "all is told")
    one.tree.write_config(
        common + disk.format("2K") + spending.format("much", "much", "90M") + spending.format("other", "logs", "90M")
    )
    assert one.tree.run("reload").returncode == 0
    until(lambda: {name for name, is_over in said(sink) if is_over} == told, "all is told to be over")
    assert one.status()["alerts"]["open"] == []
    assert one.event("storage.ok")["job"] == "guard.disk"
    assert {found["job"] for found in one.events("directory.ok")} == {"guard.much"}


def test_killed_between_raise_and_send(daemon, sink):
    """kill -9 while an alert waits for its like: the next maintd sends it."""
    one = daemon(alerts(sink, group="1h") + FILE.format("a"))
    one.start()
    until(lambda: one.status()["alerts"]["channels"][0]["waiting"], "it waits")
    one.end()
    one.tree.config.write_text(one.tree.config.read_text().replace('"1h"', '"100ms"'))
    one.start()
    one.event("alert.sent")
    assert said(sink) == [("check.file.a", False)]


def test_reminders_routes_and_the_cap(daemon, sink):
    """What goes on is told again; a route keeps other jobs out; no more messages than the cap, and nothing lost."""
    routes = 'remind = "1s"\nmost = 4\n[[alerts.routes]]\njobs = ["check.file.a*"]\n'
    one = daemon(alerts(sink, routes, group="100ms") + FILE.format("a") + FILE.format("b"))
    one.start()
    one.event("alert.sent", count=3)
    until(lambda: one.status()["alerts"]["channels"][0]["waiting"] == 1, "the next one waits")
    assert len(sink.messages) == 3
    assert set(said(sink)) == {("check.file.a", False)}
    assert len({message[0]["annotations"]["message"] for message in sink.messages}) == 3
    assert len({message[0]["labels"]["incident"] for message in sink.messages}) == 1


def test_what_is_critical_passes_where_the_rest_has_used_up_the_cap(daemon, sink):
    """Errors have used up what they may of the messages of the hour, and more wait than one message holds: what is
    critical comes through at once, and first in it.
    """
    critical = FILE.format("b") + 'severity = "critical"\n'
    others = [f"c{number}" for number in range(51)]
    jobs = "".join(map(FILE.format, ["a", *others])) + critical
    one = daemon(alerts(sink, "most = 2\n", group="100ms") + jobs)
    take = files(one, ["b", *others])
    one.start()
    one.event("alert.sent")
    for name in others:
        take(name)
    until(lambda: one.status()["alerts"]["channels"][0]["waiting"] == len(others), "they wait", 60)
    assert len(sink.messages) == 1
    take("b")
    one.event("alert.sent", count=2)
    assert sink.messages[1][0]["labels"]["alertname"] == "check.file.b"
    assert one.status()["alerts"]["channels"][0]["waiting"] == len(others) + 1 - 50
    assert len(sink.messages) == 2


def test_a_channel_that_a_reload_mends_is_told_at_once(daemon, sink):
    """A channel has failed, and the next attempt is 10 s away; a reload mends it: then it is told at once."""
    dead = f'alertmanager = "{sink.url}"'
    one = daemon(alerts(sink, group="100ms") + FILE.format("a"))
    sink.is_down = True
    one.start()
    until(lambda: len(sink.refused) == 2, "the second attempt; the third comes 10 s later", 30)
    begun = time.monotonic()
    sink.is_down = False
    config = one.tree.config.read_text().replace(dead, f'{dead}\ntimeout = "20s"')
    one.tree.config.write_text(config)
    assert one.tree.run("reload").returncode == 0
    one.event("alert.sent")
    assert time.monotonic() - begun < 8


def _newest(one: Daemon) -> int:
    """What counts the things that were ever to be told, while one of them waits."""
    with contextlib.closing(sqlite3.connect(one.tree.folder / "state/state.sqlite")) as database:
        return database.execute("SELECT coalesce(max(seq), 0) FROM telling").fetchone()[0]


def test_a_restart_does_not_begin_the_cap_anew(daemon, sink):
    """What was sent within the hour counts for the next maintd too: of the reminders the newest waits, none is sent."""
    one = daemon(alerts(sink, 'remind = "1s"\nmost = 3\n', group="100ms") + FILE.format("a"))
    one.start()
    one.event("alert.sent", count=2)
    one.end()

    one.start()
    before = until(lambda: _newest(one), "a reminder waits")
    until(lambda: _newest(one) >= before + 3, "three more have taken its place")
    assert len(sink.messages) == 2


def test_a_clock_that_was_ahead_does_not_silence_a_channel(daemon, sink):
    """Messages that were begun at a time that has not come yet do not count, and are forgotten."""
    one = daemon(alerts(sink, "most = 1\n", group="100ms") + FILE.format("a"))
    one.start()
    one.event("alert.sent")
    one.stop()
    with contextlib.closing(sqlite3.connect(one.tree.folder / "state/state.sqlite")) as database, database:
        assert database.execute("UPDATE message SET at = '2126' || substr(at, 5)").rowcount == 1
    files(one, "a")
    one.start()
    one.event("alert.sent", count=2)
    assert said(sink) == [("check.file.a", False), ("check.file.a", True)]
    with contextlib.closing(sqlite3.connect(one.tree.folder / "state/state.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM message WHERE at > '2126'").fetchone() == (0,)


def test_a_silence_holds_alerts_back_until_it_ends(daemon, sink):
    """`maintd silence` over a restart: nothing is told meanwhile, and what is still wrong at its end is."""
    one = daemon(alerts(sink, group="100ms") + FILE.format("a") + FILE.format("b"))
    take = files(one, "ab")
    one.start()
    is_up(one, "a", "b")
    assert one.tree.run("silence", "check.file.a", "1h", "--reason", "moving").returncode == 0
    assert "moving" in one.tree.run("silence").stdout
    take("a")
    one.event("check.failed", job="check.file.a")
    one.stop()
    one.start()
    take("b")
    one.event("alert.sent")
    assert said(sink) == [("check.file.b", False)]
    assert one.tree.run("silence", "check.file.x", "--end").returncode == 1
    assert one.tree.run("silence", "check.file.a", "--end").returncode == 0
    one.event("alert.sent", count=2)
    assert said(sink)[1:] == [("check.file.a", False)]
    assert [event["event"] for event in one.events() if event["event"].startswith("silence")] == [
        "silence.begun",
        "silence.ended",
    ]


def test_a_job_that_fails_is_told_until_a_run_goes_well(daemon, sink):
    """A failed run is one alert, however many targets and attempts it has; a run that goes well ends it."""
    job = '[rotate.a]\npaths = ["LOGS/*.log"]\nmax_size = "1M"\nbefore = ["/bin/{0}"]\n'
    one = daemon(alerts(sink, group="100ms") + job.format("false"))
    one.start()
    one.tree.log("x.log")
    for _ in range(2):
        assert one.tree.run("do", "rotate.a").returncode == 1
    one.event("alert.sent")
    one.tree.write_config(alerts(sink, group="100ms") + job.format("true"))
    one.tree.run("reload")
    assert one.tree.run("do", "rotate.a").returncode == 0
    one.event("alert.sent", count=2)
    assert said(sink) == [("rotate.a", False), ("rotate.a", True)]


def test_a_cascade_is_one_alert_that_names_the_first(daemon, supervisord, sink):
    """Three programs fail: one alert, of the cascade, with the first by name; what is still down after it is told."""
    one = daemon(alerts(sink, group="8s") + '[cascade]\ncalm = "10s"\n')
    flags = [one.tree.folder / f"flag-{name}" for name in "abc"]
    supervisord(**{flag.name[-1]: (f"while_there {flag}", "autorestart=false") for flag in flags})
    one.start()
    until(lambda: one.tree.run("status").returncode == 0, "it answers")
    one.event("daemon.started")
    for flag in flags:
        flag.touch()
        one.event("program.crashed", target=f"{flag.name[-1]}:{flag.name[-1]}")
    one.event("alert.sent")
    assert said(sink) == [("cascade", False)]
    assert "a:a failed first" in sink.messages[0][0]["annotations"]["description"]
    one.event("cascade.ended")
    one.event("alert.sent", count=2)
    names = [f"program.{name}:{name}" for name in "abc"]
    assert sorted(said(sink)[1:]) == sorted([("cascade", True), *((name, False) for name in names)])


@pytest.fixture
def mail() -> Iterator[tuple[int, list[str]]]:
    """A mail server: its port, and the messages that it takes."""
    taken: list[str] = []

    class Inbox:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
            taken.append(envelope.content.decode())
            return "250 taken"

    port = free_port()
    controller = Controller(Inbox(), hostname="127.0.0.1", port=port)
    controller.start()
    yield port, taken
    controller.stop()


def test_the_channels_are_tried_without_a_daemon(daemon, sink, mail):
    """`maintd alert test`: mail through apprise, Alertmanager, a command; one that fails is named, and no secret is."""
    port, taken = mail
    one = daemon(alerts(sink))
    folder = one.tree.folder
    secret = folder / "mail.url"
    secret.write_text(f"mailto://127.0.0.1:{port}?from=maintd@example.com&to=ops@example.com&mode=insecure\n")
    wrong = folder / "wrong.url"
    wrong.write_text("json://127.0.0.1:9/s3cret-token/\n")
    for path in (secret, wrong):
        path.chmod(0o600)
    told = folder / "told"
    (folder / "tell").write_text(f'#!/bin/sh\necho "$MAINTD_ALERT_LEVEL $MAINTD_ALERT_TITLE" > {told}\n')
    (folder / "tell").chmod(0o755)
    with one.tree.config.open("a") as config:
        config.write(f'[alerts.channels.mail]\nurl_file = "{secret}"\n[alerts.channels.wrong]\nurl_file = "{wrong}"\n')
        config.write(f'[alerts.channels.program]\ncommand = ["{folder}/tell"]\n')
    done = subprocess.run(
        [EXTRAS, "-c", one.tree.config, "alert", "test"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done
    verdicts = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert {name: verdict.partition(":")[0] for name, verdict in verdicts.items()} == {
        "ops": "taken",
        "mail": "taken",
        "wrong": "failed",
        "program": "taken",
    }
    assert "s3cret-token" not in done.stdout + done.stderr
    assert "this channel works" in taken[0]
    assert "test: nothing is wrong" in taken[0]
    assert told.read_text().startswith("warning [")
    assert said(sink) == [("test", False)]
    lacking = one.tree.run("alert", "test", "mail")
    assert (lacking.returncode, "apprise is not installed" in lacking.stdout) == (1, True)
    assert one.tree.run("alert", "test", "nobody").returncode == 1
    assert "others may read" not in one.tree.run("check").stderr


def test_settings_that_lead_nowhere_are_refused(daemon):
    """A channel that is no one thing, a route to no channel: told at their place."""
    one = daemon('[alerts.channels.a]\ntimeout = "1s"\n[[alerts.routes]]\nchannels = ["b"]\n')
    found = one.tree.run("check").stderr
    assert "a channel has exactly one of url_file" in found
    one.tree.write_config('[alerts.channels.a]\ncommand = ["/bin/true"]\n[[alerts.routes]]\nchannels = ["b"]\n')
    assert "there is no channel b" in one.tree.run("check").stderr
