"""Alerts when much happens, or the clock is set: few messages, none of them lost; and a real Alertmanager."""

import json
import shutil  # noqa: TID251 - only to find a tool
import subprocess
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest

from tests.checks.test_servers import free_port
from tests.conftest import until
from tests.end_to_end.daemon import Daemon
from tests.end_to_end.test_set_clock import LIBRARY, _set, _start

from .sink import FILE, alerts, said
from .supervisord import Supervisord

ALERTMANAGER = shutil.which("prometheus-alertmanager")


def test_a_crash_loop_is_one_alert(daemon, supervisord, sink):
    """A program that crashes again and again: an event for each crash that is seen, and one alert."""
    one = daemon(alerts(sink, 'most = 3\nremind = "1h"\n', group="1s") + '[cascade]\ncalm = "5s"\n')
    loop = "startsecs=0\nautorestart=true\nautostart=true"
    supervisord(a=("crash gone 1", loop))
    one.start()
    one.event("program.crashed", count=12, target="a:a")
    one.event("alert.sent")
    assert said(sink) == [("program.a:a", False)]
    assert "it was:" not in sink.messages[0][0]["annotations"]["description"]


def told_to_have_crashed(one: Daemon, supervisord: Callable[..., Supervisord]) -> tuple[Path, Supervisord]:
    """The program `a` crashes, which is told, and maintd is stopped; the file on which it ends, and supervisord."""
    flag = one.tree.folder / "flag"
    real = supervisord(a=(f"while_there {flag}", "autorestart=false"))
    one.start()
    until(lambda: one.tree.run("status").returncode == 0, "it answers")
    flag.touch()
    one.event("alert.sent")
    one.stop()
    return flag, real


def test_what_was_wrong_before_a_restart_is_over_after_it(daemon, supervisord, sink):
    """A program was told to have crashed; maintd is restarted, and the program by somebody: that it runs is told."""
    one = daemon(alerts(sink, group="100ms") + '[cascade]\ncalm = "2s"\n')
    flag, real = told_to_have_crashed(one, supervisord)
    flag.unlink()
    real.ctl("start", "a")
    one.start()
    one.event("alert.sent", count=2)
    assert said(sink) == [("program.a:a", False), ("program.a:a", True)]


def test_what_is_wrong_with_a_program_is_known_over_a_restart(daemon, supervisord, sink):
    """A program crashed, and maintd is restarted: reminders go on, status shows it, and its recovery is told."""
    one = daemon(alerts(sink, 'remind = "2s"\nmost = 100\n', group="100ms") + '[cascade]\ncalm = "2s"\n')
    flag, real = told_to_have_crashed(one, supervisord)
    one.start()
    one.event("alert.sent", count=len(one.events("alert.sent")) + 3)
    assert [found["name"] for found in one.status()["alerts"]["open"]] == ["program.a:a"]
    flag.unlink()
    real.ctl("start", "a")
    until(lambda: said(sink)[-1] == ("program.a:a", True), "its recovery is told", 30)


def test_what_goes_up_and_down_is_one_alert(daemon, sink):
    """A check whose readings go 1-0-1-0 is flapping, which is told once, at its severity if it was down then."""
    one = daemon(
        alerts(sink, group="100ms")
        + '[check.program.a]\ncommand = ["/bin/sh", "HERE/turn"]\nevery = "1s"\ntimeout = "900ms"\n'
        + 'severity = "critical"\n'
    )
    flag = one.tree.folder / "flag"
    (one.tree.folder / "turn").write_text(f"if [ -e {flag} ]; then rm {flag}; exit 2; fi; touch {flag}\n")
    one.start()
    one.event("check.flapping")
    one.event("alert.sent")
    looks = len(one.events())
    until(lambda: one.status()["checks"][0]["last_look"], "it is looked at")
    assert len(one.events()) == looks
    assert said(sink) == [("check.program.a", False)]
    assert sink.messages[0][0]["labels"]["severity"] == "critical"


def test_a_maintenance_window_holds_back_what_is_still_wrong_at_its_end(daemon, sink):
    """Within the window nothing is told; once it is not in force any more, what is wrong still is."""
    now = datetime.now(UTC)
    window = f"{now - timedelta(minutes=5):%H:%M}-{now + timedelta(hours=1):%H:%M}"
    pause = f'[[alerts.maintenance]]\nwindow = "{window}"\njobs = ["check.file.a"]\n'
    one = daemon(alerts(sink, pause, group="100ms") + FILE.format("a") + FILE.format("b"))
    one.start()
    one.event("check.failed", job="check.file.a")
    one.event("alert.sent")
    assert said(sink) == [("check.file.b", False)]
    one.tree.write_config(alerts(sink, group="100ms") + FILE.format("a") + FILE.format("b"))
    assert one.tree.run("reload").returncode == 0
    one.event("alert.sent", count=2)
    assert said(sink)[1:] == [("check.file.a", False)]


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is missing: apt-get install faketime")
@pytest.mark.parametrize("by", [timedelta(days=1), -timedelta(days=1)], ids=["forward", "back"])
def test_a_clock_that_is_set_tells_nothing_twice_and_hides_nothing(daemon, sink, by):
    """The clock a day forward or back: what was told is not told again, a silence lasts, and what is new is told.

    To an Alertmanager what lasts would be over a day later, by its own clock: it is told then that it lasts.
    """
    one = daemon(alerts(sink, group="100ms") + "".join(FILE.format(name) for name in "abc"))
    for name in "bc":
        (one.tree.folder / name).touch()
    _start(one)
    one.event("alert.sent")
    assert one.tree.run("silence", "check.file.c", "1h").returncode == 0
    _set(one, by)
    one.event("clock.jumped")
    (one.tree.folder / "c").unlink()
    one.event("check.failed", job="check.file.c")
    (one.tree.folder / "b").unlink()
    lasts = [("check.file.a", False)] if by > timedelta() else []
    told = [("check.file.a", False), *lasts, ("check.file.b", False)]
    until(lambda: said(sink)[-1] == told[-1], "what is new is told")
    assert said(sink) == told
    ends = [datetime.fromisoformat(alert["endsAt"]) for alert in chain(*sink.messages)]
    assert max(ends) > datetime.now(UTC) + by


def test_what_is_taken_out_of_the_config_is_told_to_be_over(daemon, sink):
    """A check that is removed while it is down, by a reload or between two lives of maintd, is over for who heard."""
    config = alerts(sink)
    one = daemon(config + FILE.format("a") + FILE.format("b"))
    one.start()
    until(lambda: sorted(said(sink)) == [("check.file.a", False), ("check.file.b", False)], "both are told", 30)
    one.tree.write_config(config + FILE.format("b"))
    assert one.tree.run("reload").returncode == 0
    until(lambda: said(sink)[2:] == [("check.file.a", True)], "the end of one is told", 30)
    assert "no longer looked at: " in sink.messages[-1][0]["annotations"]["description"]
    until(lambda: not one.status()["alerts"]["channels"][0]["waiting"], "it knows that all was delivered")
    one.stop()
    one.tree.write_config(config + FILE.format("b") + "enabled = false\n")
    one.start()
    until(lambda: said(sink)[3:] == [("check.file.b", True)], "the end of the other is told", 30)


@pytest.mark.skipif(ALERTMANAGER is None, reason="prometheus-alertmanager is missing: apt-get install it")
def test_alertmanager_takes_alerts_and_their_end(daemon, sink, folder):
    """A real Alertmanager has the alert with its labels while it is wrong, once as it gets worse, and not when over."""
    port = free_port()
    config = folder / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [ALERTMANAGER, f"--config.file={config}", f"--storage.path={folder}/am", "--cluster.listen-address="]
    running = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], **silent)
    url = f"http://127.0.0.1:{port}"

    def active() -> list[str]:
        with urllib.request.urlopen(f"{url}/api/v2/alerts?active=true") as answer:
            return [f"{one['labels']['alertname']} {one['labels']['severity']}" for one in json.load(answer)]

    try:
        route = '[[alerts.routes]]\nseverity = "warning"\n'
        check = '[check.program.a]\ncommand = ["/bin/sh", "HERE/end"]\nevery = "1s"\ntimeout = "900ms"\n'
        one = daemon(
            alerts(sink, route, group="100ms").replace(sink.url, url) + check + "fail_after = 1\nrecover_after = 1\n"
        )
        (folder / "end").write_text("exit 1\n")
        one.start()
        one.event("alert.sent")
        assert active() == ["check.program.a warning"]
        (folder / "end").write_text("exit 2\n")
        one.event("alert.sent", count=2)
        assert active() == ["check.program.a error"]
        (folder / "end").write_text("exit 0\n")
        one.event("alert.sent", count=3)
        until(lambda: active() == [], "it is over there too")
    finally:
        running.terminate()
        running.wait(10)
