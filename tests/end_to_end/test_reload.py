"""Reload under load: what differs is applied, what does not keeps its next run, and a bad config changes nothing."""

import json
import os
import signal

from tests.conftest import until

from .stage import lines_of
from .test_rotation import numbers

UNCHANGED = "".join(
    f'[rotate.steady{number}]\npaths = ["LOGS/none{number}/*.log"]\nevery = "{number + 1}h"\nkeep = 3\n'
    for number in range(20)
)


def changing(turn: int) -> str:
    return f'[rotate.services]\npaths = ["LOGS/*.log"]\nmax_size = "{200 + turn}K"\nkeep = 1000\n'


def next_runs(made) -> dict[str, str]:
    jobs = json.loads(made.maintd("status", "--json").stdout)["jobs"]
    return {job["name"]: job["next"] for job in jobs if job["name"].startswith("rotate.steady")}


def test_two_hundred_reloads_under_load(stage):
    """200 reloads while logs are rotated: each applies one change, unchanged jobs keep their next run, no line lost."""
    made = stage({"api": ["3000"], "web": ["3000"]}, UNCHANGED + changing(0))
    made.start()
    before = next_runs(made)
    assert len(before) == 20
    assert all(before.values())
    pid = made.pid_of("maintd")
    for turn in range(1, 201):
        made.write_config(UNCHANGED + changing(turn))
        os.kill(pid, signal.SIGHUP)
        made.event("config.reloaded", count=turn)
    assert {event["diff"] for event in made.events("config.reloaded")} == {"+0 ~1 −0"}  # noqa: RUF001
    assert next_runs(made) == before
    assert made.pid_of("maintd") == pid
    made.event("log.rotated", count=2)
    made.ctl("stop", "api", "web", "maintd")
    for name in ("api", "web"):
        found = numbers(lines_of(made.logs / f"{name}.log"))
        assert found == list(range(len(found)))


def test_supervisorctl_signal_hup_reloads(stage):
    """`supervisorctl signal HUP maintd` applies the edit; a broken one is refused with every place, and is forgiven."""
    made = stage({}, UNCHANGED + changing(0))
    made.start()
    made.write_config(
        UNCHANGED + changing(0) + '[compress.old]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "30d"\n'
    )
    made.ctl("signal", "HUP", "maintd")
    assert made.event("config.reloaded")["added"] == "compress.old"
    made.write_config(UNCHANGED + '[rotate.services]\npaths = ["LOGS/*.log"]\nkep = 3\ncron = "61 * * * *"\n')
    made.ctl("signal", "HUP", "maintd")
    assert made.event("config.rejected")["errors"] == 2
    made.event("config.problem", count=2)
    config = made.folder / "maintd.toml"
    line = config.read_text().splitlines().index("kep = 3") + 1
    problems = [event["problem"] for event in made.events("config.problem")]
    assert problems[0] == f'{config}:{line}:1: error: rotate.services.kep: unknown key (did you mean "keep"?)'
    assert problems[1].startswith(f"{config}:{line + 1}:8: error: rotate.services.cron: ")
    assert "minute: '61' is not allowed" in problems[1]
    assert len(problems) == 2
    done = made.maintd("reload")
    assert done.returncode == 1
    assert [told for told in done.stderr.splitlines() if told.startswith(str(config))] == problems
    status = json.loads(made.maintd("status", "--json").stdout)
    assert "compress.old" in [job["name"] for job in status["jobs"]], "the config before is not in force any more"
    made.write_config(UNCHANGED + changing(0))
    assert "−1" in made.maintd("reload").stdout  # noqa: RUF001


def test_the_end_of_supervisord_ends_maintd(stage):
    """supervisord killed -9: maintd stops in order by itself, so that the next supervisord's maintd finds no lock."""
    made = stage({}, changing(0))
    made.start()
    pid = made.pid_of("maintd")
    made.process.kill()
    made.process.wait()
    until(lambda: not os.path.exists(f"/proc/{pid}"), "maintd has ended")
    assert not (made.folder / "run/control.sock").exists(), "it was cut off"
    made.process = None
    (made.folder / "supervisor.sock").unlink(missing_ok=True)
    made.start()
    assert made.event("daemon.started", count=2)["pid"] != pid
