"""supervisord's programs in the running daemon: crashes as they happen, programs given up, cascades."""

import os
import signal
import time
from datetime import UTC, datetime
from typing import Any

from tests.conftest import until
from tests.end_to_end.daemon import Daemon

from .sink import alerts, said

CASCADE = '[cascade]\ncalm = "2s"\nwithin = "20s"\n'


def test_a_crash_is_reported_at_once_with_the_end_of_its_log(daemon, supervisord):
    """A crash is seen as it happens, with its exit status and the last lines of its log; a stop is none."""
    one = daemon(CASCADE)
    flag = one.tree.folder / "flag"
    real = supervisord(
        steady=("idle", ""),
        crasher=("crash 'KeyError: price' 7", "autostart=false\nautorestart=false"),
        later=(f"while_there {flag}", "autorestart=unexpected\nexitcodes=0\nstartretries=100"),
    )
    one.start()
    real.ctl("start", "crasher")
    crashed = one.event("program.crashed", target="crasher:crasher")
    assert (crashed["level"], crashed["exit_status"], crashed["state"]) == ("error", 7, "EXITED")
    assert crashed["last_lines"].endswith("line 19 \N{RETURN SYMBOL} ?[31mKeyError: price?[0m")
    real.ctl("remove", "crasher")
    one.event("program.changed", target="crasher:crasher", state="REMOVED", was="failed")
    flag.touch()
    one.event("program.crashed", target="later:later")
    flag.unlink()
    recovered = one.event("program.recovered", target="later:later")
    assert recovered["seq"] > crashed["seq"]
    real.ctl("stop", "steady")
    stopped = one.event("program.changed", target="steady:steady", state="STOPPED")
    real.ctl("start", "steady")
    until(lambda: any(_runs(event) and event["seq"] > stopped["seq"] for event in one.events()), "it is seen to run")
    os.kill(until(lambda: real.pid("steady"), "it runs"), signal.SIGKILL)
    killed = one.event("program.crashed", target="steady:steady")
    assert "exit_status" not in killed
    told = dict.fromkeys(event["target"] for event in one.events("program.crashed"))
    assert list(told) == ["crasher:crasher", "later:later", "steady:steady"]
    assert [event["target"] for event in one.events("program.crashed")].count("steady:steady") == 1


def _runs(event: dict[str, Any]) -> bool:
    return (event["event"], event.get("target"), event.get("state")) == ("program.changed", "steady:steady", "RUNNING")


def test_a_program_that_is_to_run_once_has_recovered_when_it_ends_well(daemon, supervisord, sink):
    """A task that failed, and then ended as it should, is over; also if it ended so while maintd was away."""
    one = daemon(alerts(sink) + '[cascade]\ncalm = "1h"\n')
    mark = one.tree.folder / "mark"
    options = "autostart=false\nautorestart=false\nstartsecs=0\nexitcodes=0"
    real = supervisord(task=(f"once {mark}", options), other=(f"once {mark}", options))
    one.start()
    for name in ("task", "other"):
        real.ctl("start", name)
        assert one.event("program.crashed", target=f"{name}:{name}")["exit_status"] == 3
    mark.touch()
    real.ctl("start", "task")
    one.event("program.changed", target="task:task", state="EXITED", was="failed")
    one.stop()
    real.ctl("start", "other")
    until(lambda: real.state("other") == "EXITED", "it has ended")
    one.start()
    one.event("program.changed", target="other:other", state="EXITED", was="failed")


def test_a_check_of_a_program_is_looked_at_when_that_changes(daemon, supervisord):
    """A check that looks once an hour knows of a crash at once."""
    one = daemon('[check.process.a]\nprogram = "a"\nevery = "1h"\nspread = "1s"\nfail_after = 1\nrecover_after = 1\n')
    flag = one.tree.folder / "flag"
    real = supervisord(a=(f"while_there {flag}", "autorestart=false"))
    until(lambda: real.state("a") == "RUNNING", "it runs")  # or the one look of the hour comes before
    one.start()
    until(lambda: one.status()["checks"][0]["health"] == "up", "it is up", 30)
    flag.touch()
    assert one.event("check.failed")["seq"] > one.event("program.crashed")["seq"]


def test_programs_that_are_given_up_are_revived_with_growing_pauses(daemon, supervisord):
    """FATAL is told; each attempt waits longer than the one before, also over a restart of maintd, until it runs."""
    one = daemon('[revive.all]\nprograms = ["fallen", "others:*"]\npause = "500ms"\n' + CASCADE)
    licence = one.tree.folder / "licence"
    real = supervisord(
        fallen=(f"unless {licence}", "startsecs=1\nstartretries=0"),
        left=(f"unless {licence}", "startsecs=1\nstartretries=0"),
    )
    one.start()
    fatal = one.event("program.fatal", target="fallen:fallen")
    assert "no licence" in fatal["last_lines"]
    failed = [one.event("program.failed", count=count, target="fallen:fallen") for count in (1, 2)]
    assert failed[0]["job"] == "revive.all"
    one.stop()
    licence.touch()
    one.start()
    started = one.event("program.started", target="fallen:fallen")
    assert "attempt 3" in started["reason"]
    assert real.state("fallen") == "RUNNING"
    assert real.state("left") == "FATAL"  # nobody asked for that one


def test_several_failures_are_one_incident_in_which_nothing_is_restarted(daemon, supervisord):
    """The third program that fails within the window makes a cascade, which names the first; revive waits.

    It lasts for as long as they fail again, also over a kill of maintd, and knows them all in the end.
    """
    one = daemon('[revive.all]\nprograms = ["*:*", "c", "a", "b"]\npause = "100ms"\n[cascade]\ncalm = "3s"\n')
    flags = [one.tree.folder / name for name in "abc"]
    command = "command=/bin/sh -c 'while [ ! -e {} ]; do sleep 0.1; done; sleep 0.5; exit 4'\nautorestart=true"
    supervisord(**{flag.name: ("idle", command.format(flag)) for flag in flags})
    one.start()
    until(lambda: len(one.tree.run("status").stdout), "it answers")
    for flag in flags:
        flag.touch()
        one.event("program.crashed", target=f"{flag.name}:{flag.name}")
    began = one.event("cascade.began")
    assert (began["target"], began["programs"], began["level"]) == ("a:a", "b:b, c:c", "critical")
    until(lambda: seconds(began, one.events("program.crashed")[-1]) > 4.5, "they fail on for longer than calm")
    assert one.events("cascade.ended") == []
    one.end()
    for flag in flags:
        flag.unlink()
    one.start()
    ended = one.event("cascade.ended")
    assert (ended["target"], ended["count"], ended["programs"]) == ("a:a", 3, "a:a, b:b, c:c")
    told = one.events()
    assert [
        event for event in told[told.index(began) : told.index(ended)] if event["event"].startswith("program.st")
    ] == []


def test_a_supervisord_that_is_silent_is_told_once(daemon, supervisord, sink):
    """Where supervisord does not answer, that is said once, and so is that it answers again; a restart is no crash.

    It is an error, and so told by alerts that say nothing of severities: nobody looks after its programs meanwhile.
    For as long as it lasts `maintd status` says so, and ends with 3, after a restart of maintd as well.
    """
    one = daemon(CASCADE + alerts(sink)).start()
    one.event("supervisor.failed")
    _shows_silence(one)
    until(lambda: said(sink) == [("supervisor", False)], "it is told")
    first = supervisord(steady=("idle", ""))
    one.event("supervisor.recovered")
    assert len(one.events("supervisor.failed")) == 1
    assert one.tree.run("status").returncode == 0
    first.stop()
    one.event("supervisor.failed", count=2)
    _shows_silence(one)
    until(lambda: not one.status()["alerts"]["channels"][0]["waiting"], "all is told")
    one.end()
    one.start()
    _shows_silence(one)
    first.start()
    one.event("supervisor.recovered", count=2)
    assert one.tree.run("status").returncode == 0
    assert len(one.events("supervisor.failed")) == 2
    assert one.events("program.crashed") == []


def _shows_silence(one: Daemon) -> None:
    found = one.tree.run("status")
    assert found.returncode == 3
    assert "supervisord fails:" in found.stdout
    assert "answer" in found.stdout


def test_a_supervisord_that_hangs_makes_no_program_down(daemon, supervisord):
    """A check with less time than supervisord is given otherwise is unknown as well, and says how long it waited."""
    one = daemon('[check.process.steady]\nprogram = "steady"\nevery = "1s"\ntimeout = "700ms"\n')
    real = supervisord(steady=("idle", ""))
    assert real.process
    one.start()
    until(lambda: one.status()["checks"][0]["health"] == "up", "it is up", 30)
    real.process.send_signal(signal.SIGSTOP)
    unknown = one.event("check.unknown")
    real.process.send_signal(signal.SIGCONT)
    assert "does not answer: nothing came within 0.7 s" in unknown["reason"]
    one.event("check.recovered")
    assert one.events("check.failed") == []


def test_a_program_that_never_had_a_process_is_revived(daemon, supervisord):
    """Where even the command was missing, so that nothing has ever stopped, it is started once that is there."""
    one = daemon('[revive.all]\nprograms = ["missing"]\npause = "500ms"\n')
    command = one.tree.folder / "command"
    real = supervisord(missing=("idle", f"command={command}\nstartsecs=1\nstartretries=0"))
    one.start()
    one.event("program.fatal", target="missing:missing")
    command.write_text("#!/bin/sh\nexec sleep 600\n")
    command.chmod(0o755)
    one.event("program.started", target="missing:missing")
    assert real.state("missing") == "RUNNING"


def test_what_fails_on_is_no_new_cascade(daemon, supervisord, sink):
    """Programs that are FATAL when maintd starts, and attempts of revive that fail, begin none, and are told once."""
    config = alerts(sink) + CASCADE
    one = daemon(f'{config}[revive.all]\nprograms = ["a", "b", "c"]\npause = "500ms"\n')
    flag = one.tree.folder / "flag"
    slowly = "command=/bin/sh -c 'sleep 1.2; exit 3'\nstartsecs=3\nstartretries=0"  # so that each attempt is seen
    failing = dict.fromkeys("abc", ("idle", slowly))
    real = supervisord(**failing, other=(f"while_there {flag}", "autorestart=false"))
    until(lambda: real.ctl("status").count("FATAL") == 3, "they are given up", 30)
    one.start()
    for name in "abc":
        one.event("program.failed", count=2, target=f"{name}:{name}")
    one.event("alert.sent")
    one.stop()
    until(lambda: real.ctl("status").count("FATAL") == 3, "they are given up", 30)
    told = len(one.events("program.fatal"))
    assert told >= 3
    one.tree.write_config(config)
    one.start()
    until(lambda: one.status()["alerts"]["open"], "it is known what is wrong", 30)
    flag.touch()
    one.event("program.crashed", target="other:other")
    assert len(one.events("program.fatal")) == told
    assert one.events("cascade.began") == []


def test_a_cascade_holds_what_was_to_be_started_already(daemon, supervisord):
    """A cascade that begins while revive starts the first of two ends that run; the other comes after it."""
    one = daemon('[revive.all]\nprograms = ["a", "b"]\npause = "100ms"\n[cascade]\ncalm = "6s"\n')
    licence = one.tree.folder / "licence"
    mark = one.tree.folder / "mark"
    options = "startsecs=2\nstartretries=0"
    first = f"command=/bin/sh -c 'test -e {licence} || exit 3; touch {mark}; sleep 600'\n{options}"
    crashing = dict.fromkeys("xyz", (f"while_there {mark}", "autorestart=false"))
    real = supervisord(a=("idle", first), b=(f"unless {licence}", options), **crashing)
    until(lambda: real.ctl("status").count("FATAL") == 2, "they are given up", 30)
    licence.touch()
    one.start()
    began = one.event("cascade.began")
    assert one.event("action.omitted", target="b:b")["seq"] > began["seq"]
    started = one.event("program.started", target="b:b")
    assert started["seq"] > one.event("cascade.ended")["seq"]
    assert one.events("program.started")[0]["target"] == "a:a"


def test_what_is_given_up_while_maintd_is_away_is_told_once(daemon, supervisord):
    """A program in BACKOFF, told to have crashed, is FATAL when the next maintd starts: that is told, and once."""
    one = daemon(CASCADE)
    real = supervisord(a=("unless /nowhere", "startsecs=1\nstartretries=2"))
    one.start()
    one.event("program.crashed", target="a:a", state="BACKOFF")
    one.end()
    until(lambda: real.state("a") == "FATAL", "it is given up", 30)
    assert one.events("program.fatal") == []
    one.start()
    one.event("program.fatal", target="a:a")
    one.stop()
    one.start()
    real.ctl("start", "a")  # so that there is a later event by which nothing came before
    one.event("program.crashed", count=2, target="a:a")
    told = [found["event"] for found in one.events() if found["event"] in ("program.crashed", "program.fatal")]
    assert told[:3] == ["program.crashed", "program.fatal", "program.crashed"]


def test_what_crashes_before_it_is_seen_is_told(daemon, supervisord):
    """It is told, and counts for a cascade, if it ended after maintd had begun, or since an earlier one ran; but once.

    What had ended before maintd was ever there is not.
    """
    one = daemon('[cascade]\ncalm = "1h"\n')
    ended = dict.fromkeys("abcd", ("idle", "autorestart=false"))
    real = supervisord(old=("crash old 3", "autorestart=false"), **ended)
    log = one.tree.folder / "old.log"
    until(lambda: log.exists() and time.time() - log.stat().st_mtime > 3, "it has ended for long")
    pids = {name: until(lambda name=name: real.pid(name), "it runs") for name in ended}
    assert real.process
    real.process.send_signal(signal.SIGSTOP)  # so that no look at it comes before
    one.start()
    for name in "abc":
        os.kill(pids[name], signal.SIGKILL)
    real.process.send_signal(signal.SIGCONT)
    one.event("cascade.began")
    one.stop()
    os.kill(pids["d"], signal.SIGKILL)
    until(lambda: real.state("d") == "EXITED", "it has ended")
    one.start()
    one.event("program.crashed", target="d:d")
    one.stop()
    one.start()
    real.ctl("start", "old")  # so that there is a later event by which nothing came before
    one.event("program.crashed", target="old:old")
    assert sorted(event["target"] for event in one.events("program.crashed")) == ["a:a", "b:b", "c:c", "d:d", "old:old"]


def test_what_crashes_on_keeps_no_cascade_alive(daemon, supervisord):
    """Three programs fail beside one in a crash loop: the cascade ends, after ten times `calm` at last."""
    one = daemon('[revive.all]\nprograms = ["late"]\npause = "100ms"\n[cascade]\ncalm = "1s"\n')
    flags = [one.tree.folder / name for name in "abc"]
    slowly = "command=/bin/sh -c 'sleep 0.5; exit 3'"
    licence = one.tree.folder / "licence"
    supervisord(
        loop=("idle", slowly),
        late=(f"unless {licence}", "autostart=true\nstartsecs=1\nstartretries=0"),
        **{flag.name: (f"while_there {flag}", "autorestart=false") for flag in flags},
    )
    one.start()
    one.event("program.crashed", count=2, target="loop:loop")
    for flag in flags:
        flag.touch()
    began = one.event("cascade.began")
    ended = one.event("cascade.ended")
    assert ended["count"] >= 3
    looped = [found["seq"] for found in one.events("program.crashed") if found["target"] == "loop:loop"]
    assert any(began["seq"] < seq < ended["seq"] for seq in looped)
    licence.touch()
    assert one.event("program.started", target="late:late")["seq"] > ended["seq"]


def test_another_outage_of_the_same_programs_is_a_cascade_too(daemon, supervisord):
    """It is one when they have run for `calm`, also while they have not recovered from the ones before for that."""
    one = daemon('[cascade]\ncalm = "3s"\n')
    flags = {name: one.tree.folder / name for name in "abcd"}
    real = supervisord(**{name: (f"while_there {flag}", "autorestart=false") for name, flag in flags.items()})
    one.start()
    until(lambda: one.tree.run("status").returncode == 0, "it answers")
    for count, names in enumerate(("abc", "abcd"), 1):
        for name in names:
            flags[name].touch()
        one.event("cascade.began", count=count)
        one.event("cascade.ended", count=count)
        for name in names:
            flags[name].unlink()
            real.ctl("start", name)
        one.event("program.recovered", target=f"{names[-1]}:{names[-1]}")  # after its first failure in any case
    for name in "abc":
        flags[name].touch()
    one.event("cascade.began", count=3)


def test_what_crashes_again_and_again_has_to_run_longer_to_have_recovered(daemon, supervisord):
    """After one failure it has recovered when it ran for `calm`; after the second within the hour, for twice that.

    For how long it was down before does not count.
    """
    one = daemon('[cascade]\ncalm = "2s"\n')
    flag = one.tree.folder / "flag"
    real = supervisord(a=(f"while_there {flag}", "autorestart=false"))
    one.start()
    until(lambda: one.tree.run("status").returncode == 0, "it answers")
    took = []
    for count in (1, 2):
        flag.touch()
        crashed = one.event("program.crashed", count=count)
        until(lambda crashed=crashed: (datetime.now(UTC) - _when(crashed)).total_seconds() > 2, "it is down for long")
        flag.unlink()
        begun = datetime.now(UTC)
        real.ctl("start", "a")
        took.append((_when(one.event("program.recovered", count=count)) - begun).total_seconds())
    assert took[0] >= 2
    assert took[1] >= 4


def seconds(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Between two events."""
    return (_when(second) - _when(first)).total_seconds()


def _when(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["ts"])
