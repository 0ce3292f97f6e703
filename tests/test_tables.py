"""What people read fits the terminal, and is whole where there is none: plan, check, status and events."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from maintd.cli import tables
from tests.conftest import Command, Responder, Site
from tests.test_cli import event, job, status_of

JOBS = """
[rotate.services-of-the-front-end]
paths = ["{logs}/*.log"]
cron = "30 2 * * mon-fri"
max_size = "10M"
[compress.prices]
paths = ["{logs}/*.csv"]
older_than = "30d"
cron = "0 3 1 * *"
"""
SOON = (datetime.now(UTC) + timedelta(hours=20, minutes=1)).isoformat()
LONG = "/srv/an/application/with/a/long/path/logs"


def words(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def is_within(lines: list[str], columns: int) -> bool:
    return max(map(tables.width, lines)) <= columns


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("verb", ["plan", "check"])
def test_tables_fit_the_terminal(site: Site, maintd: Command, verb: str, columns: int):
    """On a terminal no line is wider than it; names of jobs, files and dates stay whole as long as there is room."""
    site.configure(JOBS)
    for name in ("api.log", "größe-größe-größe.log", "日本語日本語.log"):
        site.log(name)
    code, shown = maintd.on_terminal(verb, columns=columns)
    table = [line for line in shown if not line.startswith(str(site.root))]
    assert code == 0
    assert is_within(table, columns)
    if verb == "plan":
        step = words(table).partition(f"rotate {site.logs}/api.log 700 B ")[2]
        assert re.match(r"→ api\.log\.\d{8}T\d{6}Z asked; nobody writes it ", step)
    elif columns == 80:
        assert len(re.findall(r"\d{4}-\d\d-\d\d 0[23]:\d\d", "\n".join(table))) == 6
        assert "(0 3 1 * *)" in "\n".join(table)
        assert any(line.startswith("rotate.services-of-the-front-end ") for line in table)


def test_nothing_is_cut_where_there_is_no_terminal(site: Site, maintd: Command):
    """Piped, each row is one line and holds every name whole, whatever COLUMNS says."""
    site.configure(JOBS)
    name = "x" * 150 + ".log"
    site.log(name)
    plan = maintd("plan", env={"COLUMNS": "40"}).stdout.splitlines()
    assert sum(f"{site.logs}/{name}" in line and "asked; nobody writes it" in line for line in plan) == 1
    rows = maintd("check", env={"COLUMNS": "40"}).stdout.splitlines()
    assert len(rows) == 4
    assert all(re.search(r"  \d{4}-.* \d\d:\d\d, \d{4}-.*, \d{4}-.* \d\d:\d\d +\d$", row) for row in rows[1:3])


def test_what_does_not_fit_at_all_is_cut_in_the_middle(site: Site, maintd: Command):
    """A name that is wider than the terminal keeps its beginning and its end."""
    site.configure(JOBS)
    site.log("begin-" + "x" * 120 + "-end.csv.log")
    _, shown = maintd.on_terminal("plan", columns=70)
    row = next(line for line in shown if line.lstrip().startswith("rotate "))
    assert re.search(r"rotate +/\S+…\S+-end\.csv\.log +700 B$", row)
    assert tables.width(row) <= 70


def test_columns_overrule_the_terminal(site: Site, maintd: Command):
    """COLUMNS says how wide to write, where the terminal does not know better."""
    site.configure(JOBS)
    site.log("api.log")
    assert is_within(maintd.on_terminal("plan", columns=0)[1], 80)
    wide = maintd.on_terminal("plan", columns=80, COLUMNS="300")[1]
    assert any("api.log" in line and "nobody writes it" in line for line in wide)


def test_status_fits_the_terminal(responder: Responder, site: Site, maintd: Command):
    """Everything that status may have to say fits 80 columns, and no time, name or advice is cut."""
    site.configure(JOBS)
    refused = {"log": f"{LONG}/api.log", "job": "rotate.a", "since": SOON, "reason": "java (pid 7) holds it"}
    problem = f"{LONG}/maintd.toml:3:1: error: rotate.services.kep: unknown key"
    responder.says(
        "status",
        status_of(
            job("rotate.services-of-the-front-end", state="idle", next=SOON, last_run=SOON, last_outcome="success")
            | {"last_msg": "12 done, 3 put off"},
            job("rotate.b", state="paused", paused_until=SOON, next=SOON),
            rejected={"at": SOON, "errors": 1, "problems": [problem], "advice": "correct the file and reload"},
            refused=[refused | {"advice": "set signal or command, so that maintd can tell it to reopen its log"}],
        ),
    )
    code, shown = maintd.on_terminal("status")
    assert code == 3
    assert is_within([line for line in shown if "maintd.toml:3" not in line], 80)
    everything = words(shown)
    for text in (
        "rotate.services-of-the-front-end ",
        "paused until",
        "success: 12 done, 3 put off",
        "config rejected: 1 error at ",
        problem,
        f"{LONG}/api.log",
        "java (pid 7) holds it; set signal or command, so that maintd can tell it to reopen its log",
    ):
        assert all(word in everything for word in text.split()), text


# Events


def read(maintd: Command, *events: str) -> list[str]:
    return maintd("events", stdin="".join(events).encode()).stdout.splitlines()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"target": "/l/a.log", "msg": "rotated to a.log.20261124T000000Z: asked"}, "/l: rotated to a.log.2026"),
        ({"target": "/l/a.log", "msg": "could not rotate it: gone: /l/a.log"}, "could not rotate it: gone: /l/a.log"),
        ({"target": "/l/a.log", "msg": "deleted: generation 8, keep is 7"}, "/l/a.log: deleted: generation 8"),
        ({"target": "/l/a", "msg": "asked, not b/a but a.b"}, "/l: asked, not"),
        ({"target": "/l/a", "msg": "asked, or b/a"}, "/l/a: asked, or b/a"),
        ({"target": "web:nginx", "msg": "sent SIGHUP to web:nginx (pid 7): asked"}, "sent SIGHUP to web:nginx"),
        ({"msg": "3 of 3 actions done"}, "3 of 3 actions done"),
    ],
)
def test_an_event_names_its_target_once(maintd: Command, told: dict[str, Any], expected: str):
    """Of the target only that is put before the message which the message does not have itself."""
    (line,) = read(maintd, event(1, **told))
    head, _, text = line.partition(" rotate.a ")
    assert re.fullmatch(r"\S{10} \S{8} info +log\.rotated +", head + " ")
    assert text.startswith(expected)


def test_an_event_of_the_daemon_says_maintd_once(maintd: Command):
    """Each line has when, how bad, which event and whose; what the daemon itself says has no job."""
    started = json.loads(event(1)) | {"event": "daemon.started", "msg": "maintd 1.2.3 started with 1 job of /m.toml"}
    del started["job"]
    (line,) = read(maintd, json.dumps(started) + "\n")
    assert re.fullmatch(r"\S{10} \S{8} info     daemon\.started    maintd 1\.2\.3 started .*", line)


def test_events_fit_the_terminal(site: Site, maintd: Command):
    """On a terminal a long event goes on below; every word of it is there, and paths are whole."""
    reason = "10.1 MiB is more than max_size 10.0 MiB; supervisord holds it, and reopens it when told by SIGUSR2"
    log = site.logs / "events.log"
    text = event(1, target=f"{LONG}/api.log", msg=f"rotated to api.log.20261124T000000Z: {reason}")
    log.write_text(text + event(2, target="/" + "y" * 90, msg="deleted"))
    _, shown = maintd.on_terminal("events", str(log))
    assert is_within([line for line in shown if "yyy" not in line], 80)
    assert words(shown) == words(maintd("events", str(log)).stdout.splitlines())
    assert len(shown) <= 8
