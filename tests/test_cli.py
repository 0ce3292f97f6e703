"""The command line, as the real program: what each verb prints, what it changes, and with which code it ends."""

import base64
import json
import os
import pty
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintd import lock, names
from maintd.cli import VERBS
from maintd.cli.prospect import prospects
from maintd.config import Config
from maintd.jobs.rotate import Rotate
from maintd.settings import Daemon, Supervisor
from tests.conftest import PROGRAM, Command, Responder, Site, environment, snapshot, until
from tests.tree import Tree

ROTATE = """
[rotate.services]
paths = ["{logs}/*.log"]
cron = "30 2 * * mon-fri"
max_size = "10M"
keep = 3
"""
ODD = [
    b"a b.log",
    b"new\nline.log",
    b"\x1b[31mred.log",
    b"\xff\xfe.log",
    b"[x]*?.log",
    b"q'\"\\.log",
    "größe.log".encode(),
]
_STAMP = re.compile(r"\d{8}T\d{6}Z(-\d+)?")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# The program as a whole


def test_version_and_help_are_asked_for(maintd: Command):
    """--version and --help answer on stdout with 0."""
    version = maintd("--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert re.fullmatch(r"maintd \d+\.\d+\.\d+\n", version.stdout)
    shown = maintd("-h")
    assert shown.returncode == 0
    assert all(f"  {verb} " in shown.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(maintd: Command, verb: str):
    """Each verb has a help text with an example that names it."""
    shown = maintd(verb, "--help")
    assert shown.returncode == 0
    assert "Example" in shown.stdout
    assert f"maintd {verb}" in shown.stdout or f" {verb}\n" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["plan", "--fast"], ["do"], ["do", "--all", "rotate.services"], ["pause", "--for", "2"], ["events"]],
)
def test_wrong_usage_ends_with_2(site: Site, maintd: Command, arguments: list[str]):
    """A command line that cannot be meant changes nothing and ends with 2, with the reason on stderr."""
    site.configure(ROTATE)
    if arguments == ["events"]:
        reader, writer = pty.openpty()
        process = maintd.start("events", stdin=writer)
        stderr = process.communicate(timeout=60)[1].decode()
        os.close(reader), os.close(writer)
        assert (process.returncode, "stdout_logfile" in stderr) == (2, True)
        return
    found = maintd(*arguments)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr
    assert not site.state_dir.exists()


def test_errors_are_messages_with_advice(site: Site, maintd: Command):
    """A person gets a message and what to do about it, and the traceback only on demand."""
    found = maintd("status")
    assert found.returncode == 4
    assert found.stderr.startswith("maintd: the daemon does not answer")
    assert "Traceback" not in found.stderr
    assert "Traceback" in maintd("--debug", "status").stderr
    assert "Traceback" in maintd("status", env={"MAINTD_DEBUG": "1"}).stderr


def test_what_cannot_be_written_is_said_to_be_so(maintd: Command):
    """Also of what click writes by itself it is told that stdout takes it not; and a config without a name is wrong."""
    with open("/dev/full", "wb") as full:
        for arguments in (("--version",), ("check", "--help")):
            process = maintd.start(*arguments, stdout=full)
            stderr = process.communicate(timeout=60)[1].decode()
            assert (process.returncode, stderr) == (1, "maintd: cannot write to stdout: No space left on device\n")
    found = maintd("check", "-c", "")
    assert (found.returncode, "it is empty: name the file" in found.stderr) == (2, True)


def test_the_next_runs_have_what_tells_them_apart():
    """Runs less than a minute apart are shown with seconds, and where the clocks change that day with the offset."""
    now = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
    berlin = Daemon(timezone="Europe/Berlin")
    often = Rotate(paths=("/none/*",), every="20s")
    hourly = Rotate(paths=("/none/*",), cron="0 2 * * *")
    nightly = Rotate(paths=("/none/*",), cron="0 */2 * * *")
    config = Config(berlin, Supervisor(), {"rotate.a": often, "rotate.b": hourly, "rotate.c": nightly})
    moments = [prospect.moments for prospect in prospects(config, now)]
    assert [len(set(three)) for three in moments] == [3, 3, 3]
    assert re.fullmatch(r"2026-10-25 00:30:\d\d\+02:00", moments[0][0])
    assert moments[1][:2] == ("2026-10-25 02:00+02:00", "2026-10-26 02:00")
    assert moments[2][:2] == ("2026-10-25 02:00+02:00", "2026-10-25 02:00+01:00")


def test_the_config_is_named_in_three_ways(site: Site):
    """-c stands before the verb or after it, or MAINTD_CONFIG names the file; the option wins."""
    config = str(site.configure(ROTATE))
    for arguments, env in (
        (["-c", config, "check"], {}),
        (["check", "-c", config], {}),
        (["check"], {"MAINTD_CONFIG": config}),
        (["check", "--config", config], {"MAINTD_CONFIG": "/nowhere"}),
        (["-c", "/nowhere", "check", "-c", config], {}),
    ):
        argv = [str(PROGRAM), *arguments]
        found = subprocess.run(argv, capture_output=True, env=environment(**env), check=False, timeout=60)
        assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        (["--version"], {"pydantic", "asyncio", "uvicorn", "starlette", "structlog", "apscheduler", "sqlite3"}),
        (["check"], {"asyncio", "uvicorn", "starlette", "structlog", "apscheduler", "sqlite3", "psutil", "watchdog"}),
    ],
)
def test_a_fast_start_loads_little(site: Site, arguments: list[str], left_out: set[str]):
    """--version loads neither the config's libraries nor the daemon's; `check` not those of a daemon."""
    site.configure(ROTATE)
    code = """
import sys
from maintd.cli import main
try:
    main()
except SystemExit:
    print(*sys.modules)
"""
    argv = [sys.executable, "-c", code, "-c", str(site.config), *arguments]
    found = subprocess.run(argv, capture_output=True, check=True, text=True, timeout=60)
    loaded = found.stdout.splitlines()[-1].split()
    assert "maintd.cli" in loaded
    assert not left_out & set(loaded)


def test_a_reader_that_leaves_is_no_error(site: Site, maintd: Command):
    """With `| head` in the way a command ends quietly, and what it does is done all the same."""
    site.configure(ROTATE)
    for number in range(50):
        site.log(f"{number}.log")
    for arguments in (["plan"], ["do", "--all"]):
        reader, writer = os.pipe()
        os.close(reader)
        process = maintd.start(*arguments, stdout=writer)
        os.close(writer)
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0
    assert sum(name.endswith(".zst") for name in site.names()) == 50


def test_colour_is_for_terminals(site: Site, maintd: Command):
    """Colour appears on a terminal alone, and not there if NO_COLOR is set."""
    site.configure(ROTATE)
    site.log("a.log")

    def shown(**env: str) -> bytes:
        reader, writer = pty.openpty()
        argv = [str(PROGRAM), "-c", str(site.config), "plan"]
        process = subprocess.Popen(argv, stdout=writer, env=environment(TERM="xterm", **env))
        os.close(writer)
        data = b""
        while True:
            try:
                chunk = os.read(reader, 65536)
            except OSError:  # EIO: the other side is closed
                break
            data += chunk
        os.close(reader)
        assert process.wait(60) == 0
        return data

    assert b"\x1b[" in shown()
    assert b"\x1b[" not in shown(NO_COLOR="1")
    assert "\x1b" not in maintd("plan").stdout


# check


def test_check_shows_what_a_config_comes_to(site: Site, maintd: Command):
    """A good config gives a table: the jobs, when they run in words, their next three runs and how many files."""
    site.configure(
        ROTATE + '[compress.old]\npaths = ["{logs}/*.csv"]\nolder_than = "7d"\nevery = "6h"\nenabled = false\n'
    )
    site.log("a.log")
    site.log("b.log")
    found = maintd("check")
    assert found.returncode == 0
    (warning,) = found.stderr.splitlines()
    assert ": warning: supervisor: " in warning, "no supervisord runs here, and nothing else is wrong"
    row = next(line for line in found.stdout.splitlines() if line.startswith("rotate.services"))
    assert "At 02:30 on Monday through Friday" in row
    assert "larger than 10.0 MiB" in row
    assert len(re.findall(r"\d{4}-\d\d-\d\d 02:30", row)) == 3
    assert row.endswith(" 2")
    assert re.search(r"compress\.old +disabled", found.stdout)
    jobs = json.loads(maintd("check", "--json").stdout)["jobs"]
    assert [(job["name"], job["enabled"], job["files"]) for job in jobs] == [
        ("rotate.services", True, 2),
        ("compress.old", False, 0),
    ]


def test_check_names_every_error_with_its_place(site: Site, maintd: Command):
    """A bad config ends with 1 and every error as file:line:column on stderr, in JSON on demand."""
    config = site.configure('[rotate.a]\npaths = ["{logs}/*.log"]\ncron = "61 * * * *"\nkep = 3\n')
    found = maintd("check")
    assert (found.returncode, found.stdout) == (1, "")
    told = found.stderr.splitlines()
    assert len(told) == 2
    assert all(re.match(rf"{re.escape(str(config))}:\d+:\d+: error: rotate\.a\.", line) for line in told)
    problems = json.loads(maintd("check", "--json").stdout)["problems"]
    assert [problem["line"] for problem in problems] == [8, 9]


def test_check_warns_and_strict_says_no(site: Site, maintd: Command):
    """What is valid but hardly works is a warning with its place; with --strict the code is 3."""
    site.configure(ROTATE + '[rotate.other]\npaths = ["{logs}/a.log", "{logs}/none-*"]\ncron = "@daily"\n')
    site.log("a.log")
    found = maintd("check")
    assert found.returncode == 0
    assert f"{site.logs}/none-*: matches no file" in found.stderr
    assert "which rotate.services claims as well" in found.stderr
    assert all(
        re.match(rf"{re.escape(str(site.config))}:\d+:\d+: warning: ", line) for line in found.stderr.splitlines()
    )
    assert maintd("check", "--strict").returncode == 3


def test_check_shows_where_settings_come_from(site: Site, maintd: Command):
    """--show prints effective values, each with the line that gave it or `default`."""
    site.configure(ROTATE)
    shown = maintd("check", "--show").stdout
    assert re.search(rf"keep = 3 +# {re.escape(str(site.config))}:11\n", shown)
    assert re.search(r"skip_empty = true +# default\n", shown)


# plan


def test_plan_changes_nothing(site: Site, maintd: Command):
    """Planning leaves every file and directory as it was, to the inode and the time of change."""
    site.configure(ROTATE)
    for name in ODD:
        site.log(name)
    site.log("empty.log", b"")
    site.log("old.log.20250101T000000Z")
    before = snapshot(site.root)
    for arguments in (["plan"], ["plan", "--json"], ["plan", "--due"], ["check"]):
        assert maintd(*arguments).returncode == 0
    assert snapshot(site.root) == before


def test_names_are_printable_and_unambiguous(site: Site, maintd: Command):
    """No file name can reach the terminal raw; programs get its bytes in base64."""
    site.configure(ROTATE)
    for name in ODD:
        site.log(name)
    for arguments in (["plan"], ["plan", "--json"]):
        text = maintd(*arguments).stdout
        assert all(line.isprintable() for line in text.splitlines())
        assert "new\\x0aline" in text.replace("\\\\", "\\")
    rotated = {
        base64.b64decode(step["target_b64"])
        for step in lines(maintd("plan", "--json").stdout)
        if step.get("verb") == "rotate"
    }
    assert rotated == {os.fsencode(site.logs) + b"/" + name for name in ODD}


def test_plan_gives_reasons_and_bytes(site: Site, maintd: Command):
    """Each step has its reason and its size, also what is not done and why."""
    site.configure(ROTATE)
    site.log("a.log", b"x" * 2048)
    site.log("empty.log", b"")
    steps = lines(maintd("plan", "--json").stdout)
    assert [(step["step"], step.get("verb"), step.get("in_bytes")) for step in steps] == [
        ("finding", None, None),
        ("action", "rotate", 2048),
        ("action", "compress", 2048),
    ]
    assert all(step["reason"] and step["job"] == "rotate.services" for step in steps)
    assert "rotate.services: 1 rotate (2.0 KiB), 1 compress (2.0 KiB)" in maintd("plan").stdout


def test_due_restricts(site: Site, maintd: Command):
    """With --due only what is due is planned: a log that was set aside before the last slot, not a new one."""
    site.configure('[rotate.a]\npaths = ["{logs}/*.log"]\nevery = "1d"\ncompress = "none"\n')
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    site.log("new.log")
    site.log("late.log")
    site.log(f"late.log.{two_days_ago:%Y%m%dT%H%M%SZ}")
    steps = lines(maintd("plan", "--due", "--json").stdout)
    assert [step["target"] for step in steps if step["step"] == "action"] == [f"{site.logs}/late.log"]
    assert "ago" in next(step["reason"] for step in steps if step["step"] == "action")


def test_jobs_are_named_and_misnamed(site: Site, maintd: Command):
    """Without names the enabled jobs are planned; a disabled one can be named; a wrong name gets a suggestion."""
    site.configure(ROTATE + '[rotate.off]\npaths = ["{logs}/*.txt"]\ncron = "@daily"\nenabled = false\n')
    site.log("a.log")
    site.log("b.txt")
    assert {step["job"] for step in lines(maintd("plan", "--json").stdout)} == {"rotate.services"}
    assert {step["job"] for step in lines(maintd("plan", "rotate.off", "--json").stdout)} == {"rotate.off"}
    for verb in ("plan", "do"):
        found = maintd(verb, "rotate.service")
        assert found.returncode == 2
        assert 'did you mean "rotate.services"?' in found.stderr


# do


def test_do_takes_the_planned_steps(site: Site, maintd: Command):
    """What plan prints is what do does: the same actions on the same targets in the same order."""
    site.configure(ROTATE)
    for name in [*ODD, b"x.log.20250101T000000Z", b"x.log.20250102T000000Z", b"x.log.20250103T000000Z"]:
        site.log(name)
    site.log("x.log")

    def steps(text: str) -> list[tuple[str, str, str, int | None]]:
        return [
            (found["job"], found["verb"], _STAMP.sub("STAMP", found["target"]), found["in_bytes"])
            for found in sorted(lines(text), key=lambda line: line.get("index", -1))
            if found.get("step") == "action" or found.get("type") == "step"
        ]

    planned = steps(maintd("plan", "--json").stdout)
    did = maintd("do", "--all", "--json")
    assert did.returncode == 0
    assert steps(did.stdout) == planned
    assert len(planned) > 15
    assert {verb for _, verb, _, _ in planned} == {"rotate", "compress", "delete"}


def test_do_says_what_it_does(site: Site, maintd: Command):
    """Each step is a line, each event says what came of it, and the result ends it."""
    site.configure(ROTATE)
    site.log("a.log")
    found = maintd("do", "rotate.services")
    assert (found.returncode, found.stderr) == (0, "")
    shown = found.stdout.splitlines()
    assert shown[0] == f"rotate.services [1/2] rotate {site.logs}/a.log"
    assert shown[1].startswith("    rotated to a.log.")
    assert shown[-1] == "rotate.services: success, 2 of 2 done"
    assert "\r" not in found.stdout
    kept = [name for name in site.names() if name != "a.log"]
    assert len(kept) == 1
    assert names.parse_archive(kept[0])


def test_observing_does_nothing(site: Site, maintd: Command):
    """A job that observes is planned and reported, and changes nothing, also when it is asked for by name."""
    site.configure(ROTATE + "observe = true\n")
    site.log("a.log")
    before = snapshot(site.logs)
    found = maintd("do", "rotate.services")
    assert found.returncode == 0
    assert "would rotate it" in found.stdout
    assert snapshot(site.logs) == before
    assert "it observes" in maintd("plan").stdout


@pytest.mark.parametrize(
    ("option", "code", "outcome"),
    [('before = ["/bin/false"]', 1, "failure"), ('after = ["/bin/false"]', 5, "failure")],
)
def test_failures_have_their_code(site: Site, maintd: Command, option: str, code: int, outcome: str):
    """1 if nothing of it could be done, 5 if a part of it was."""
    site.configure(ROTATE + option + "\n")
    site.log("a.log")
    found = maintd("do", "--all", "--json")
    assert found.returncode == code
    assert lines(found.stdout)[-1]["outcome"] == outcome
    assert (len(site.names()) == 1) == (code == 1)


def test_without_an_enabled_job_there_is_nothing_to_do(site: Site, maintd: Command):
    """--all without an enabled job says so, and is no failure."""
    site.configure(ROTATE + "enabled = false\n")
    found = maintd("do", "--all", "--json")
    assert (found.returncode, found.stdout) == (0, "")
    assert "nothing to do" in found.stderr


def test_what_is_put_off_is_partly_done(site: Site, maintd: Command):
    """A log that its writer does not let go of is set aside and left uncompressed, which is 5."""
    site.configure(ROTATE + 'reopen = "none"\n')
    with site.log("a.log").open("ab"):
        found = maintd("do", "--all")
    assert found.returncode == 5
    assert re.search(r"^rotate.services: partly done, \d of \d done, 1 put off \(a.log.*\)", found.stdout, re.MULTILINE)
    assert not any(name.endswith(".zst") for name in site.names())


def test_what_is_only_put_off_is_not_yet_done(tmp_path):
    """Where nothing was done and logs are put off, the code is 5 too, and the words say neither that a part was done
    nor that there was nothing to do."""
    tree = Tree(tmp_path, '[rotate.a]\npaths = ["LOGS/*/*.log"]\nolddir = "HERE/old"\ncron = "@yearly"\n')
    for name in ("1/x.log", "2/x.log"):
        tree.log(name)
    found = tree.run("do", "--all")
    assert found.returncode == 5
    assert re.search(r"^rotate.a: not yet done, 2 put off \(x.log\)$", found.stdout, re.MULTILINE)
    assert "nothing to do" not in found.stdout


def test_plan_says_what_do_will_fail_on(tmp_path):
    """A path below a regular file is no harmless finding: plan marks it and ends with 1, as do fails on it."""
    tree = Tree(tmp_path, '[rotate.a]\npaths = ["LOGS/plain/x.log"]\ncron = "@yearly"\n')
    tree.log("plain")
    shown = tree.run("plan", "rotate.a")
    assert shown.returncode == 1
    assert "rotate.a: 1 will fail" in shown.stdout
    assert re.search(rf"^ *fails +{tree.logs}/plain/x.log .*cannot open", shown.stdout, re.MULTILINE)
    (step,) = map(json.loads, tree.run("plan", "--json").stdout.splitlines())
    assert (step["step"], step["fails"]) == ("finding", True)
    assert tree.run("do", "rotate.a").returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_do_in_order(site: Site, maintd: Command, number: signal.Signals):
    """Interrupted in the middle of a compression, do ends with 130 and leaves the original whole and no temporary."""
    site.configure(ROTATE + "level = 19\n")
    size = 4 * 1024**3
    with site.log("big.log", b"").open("wb") as file:
        file.truncate(size)
    process = maintd.start("do", "--all")
    until(lambda: any(name.endswith(names.TEMPORARY) for name in site.names() if ".zst" in name), "a temporary", 30)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 130
    left = site.names()
    assert not any(name.endswith((names.TEMPORARY, ".zst")) for name in left)
    assert sum((site.logs / name).stat().st_size for name in left) == size


def test_do_with_the_lock_held_and_nobody_there_is_4(site: Site, maintd: Command):
    """If somebody works on state_dir and does not answer, do changes nothing and ends with 4."""
    site.configure(ROTATE)
    site.log("a.log")
    before = snapshot(site.logs)
    descriptor = lock.take(str(site.state_dir))
    try:
        found = maintd("do", "--all")
    finally:
        os.close(descriptor)
    assert (found.returncode, found.stdout) == (4, "")
    assert f"pid {os.getpid()}" in found.stderr
    assert snapshot(site.logs) == before


def test_a_second_daemon_is_locked_out(site: Site, maintd: Command):
    """A daemon that finds the lock held ends with 75 and says who holds it."""
    site.configure(ROTATE)
    descriptor = lock.take(str(site.state_dir))
    try:
        found = maintd("run")
    finally:
        os.close(descriptor)
    assert (found.returncode, found.stdout) == (75, "")
    assert f"pid {os.getpid()}" in found.stderr


# Through the daemon


@pytest.fixture
def daemon(site: Site, responder: Responder):
    """Somebody who holds the lock and answers on the socket as the daemon would."""
    site.configure(ROTATE)
    descriptor = lock.take(str(site.state_dir))
    yield responder
    os.close(descriptor)


def result(job: str, **counts: int) -> dict[str, Any]:
    whole = {"planned": 2, "done": 0, "failed": 0, "omitted": 0, "waiting": 0, "aborted": False} | counts
    return {"type": "result", "job": job, "outcome": "failure" if whole["failed"] else "success"} | whole


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"done": 2}, 0),
        ({"done": 1, "failed": 1}, 5),
        ({"failed": 2}, 1),
        ({"done": 1, "waiting": 1}, 5),
        ({"omitted": 2}, 0),  # it observes
        ({"omitted": 2, "aborted": True}, 1),
        ({"done": 1, "omitted": 1, "aborted": True}, 5),
    ],
)
def test_do_goes_through_the_daemon(daemon: Responder, maintd: Command, counts: dict[str, int], code: int):
    """With a daemon at work do shows what the daemon does, and ends as if it had done it itself."""
    step = {"type": "step", "job": "rotate.services", "index": 0, "of": 2, "verb": "rotate", "target": "/l/\udcff.log"}
    event = {"type": "event", "event": "log.rotated", "level": "info", "msg": "rotated to x", "target": "/l/\udcff.log"}
    progress = {"type": "progress", "job": "rotate.services", "target": "/l/\udcff.log", "bytes": 10}
    daemon.says("do", step, event, progress, result("rotate.services", **counts), {"type": "end"})
    found = maintd("do", "rotate.services", "--due")
    assert found.returncode == code
    assert found.stdout.startswith("rotate.services [1/2] rotate /l/\\xff.log\n    rotated to x\nrotate.services: ")
    assert daemon.asked[-1].arguments == {"jobs": ["rotate.services"], "all": False, "due_only": True}
    assert [line["type"] for line in lines(maintd("do", "rotate.services", "--json").stdout)] == [
        "step",
        "event",
        "result",
    ]


def test_all_is_left_to_the_daemon(daemon: Responder, maintd: Command):
    """--all through the daemon names no job, so that their number does not matter; it knows which are enabled."""
    jobs = [{"name": "rotate.a", "state": "idle"}, {"name": "rotate.b", "state": "disabled"}]
    daemon.says("status", {"jobs": jobs})
    daemon.says("do", result("rotate.a", done=2), {"type": "end"})
    assert maintd("do", "--all").returncode == 0
    assert daemon.asked[1].arguments == {"jobs": None, "all": True, "due_only": False}


def test_all_of_no_job_is_nothing_to_do(daemon: Responder, maintd: Command):
    """--all without an enabled job says so and is no failure, and the daemon is given no order."""
    daemon.says("status", {"jobs": [{"name": "rotate.services", "state": "disabled"}]})
    found = maintd("do", "--all")
    assert (found.returncode, found.stdout) == (0, "")
    assert found.stderr == "maintd: no job is enabled, so there is nothing to do\n"
    assert [request.verb for request in daemon.asked] == ["status"]


def test_a_job_that_the_daemon_does_not_know(daemon: Responder, maintd: Command):
    """A name that no job has gets a suggestion; one that the daemon has not read yet, the advice to reload."""
    daemon.says("do", {"type": "error", "error": "the running config has no job of that name"})
    assert "did you mean" in maintd("do", "rotate.servcies").stderr
    found = maintd("do", "rotate.services")
    assert found.returncode == 2
    assert "maintd reload" in found.stderr


def test_a_daemon_that_ends_meanwhile_is_a_failure(daemon: Responder, maintd: Command):
    """If the answer breaks off before its end, nobody takes that for success."""
    daemon.says("do", {"type": "progress", "job": "rotate.services", "target": "/l/a.log", "bytes": 1})
    assert maintd("do", "rotate.services").returncode == 1


def test_interrupting_the_asker_leaves_the_daemon_at_work(daemon: Responder, maintd: Command):
    """Ctrl-C while the daemon works ends the command alone, with 130, and says so."""
    daemon.answers["do"] = lambda request: request.reply.put(
        {"type": "step", "job": "rotate.services", "index": 0, "of": 1, "verb": "rotate", "target": "/l/a.log"}
    )
    process = maintd.start("do", "rotate.services")
    assert process.stdout is not None
    assert b"rotate /l/a.log" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert b"the daemon goes on" in process.communicate(timeout=30)[1]
    assert process.returncode == 130


def status_of(*jobs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": "1.2.3",
        "pid": 42,
        "started": (datetime.now(UTC) - timedelta(hours=3)).isoformat(),
        "config": "/etc/maintd/maintd.toml",
        "observe": False,
        "paused_all": False,
        "growth": {"files": 12, "bound_ms": 250, "degraded": ""},
        "events": {"dropped": 0},
        "jobs": list(jobs),
    } | more


def job(name: str, **more: Any) -> dict[str, Any]:
    keys = ("state", "next", "last_outcome", "last_run", "last_msg", "paused_until")
    return {"name": name} | dict.fromkeys(keys) | {"state": "idle"} | more


def test_status_shows_the_daemon_and_its_jobs(daemon: Responder, maintd: Command):
    """status shows who is at work since when, each job with its next run, and what is not as it should be."""
    soon = (datetime.now(UTC) + timedelta(hours=20, minutes=1)).isoformat()
    paused = job("rotate.b", state="paused", paused_until=soon)
    shown = status_of(
        job("rotate.a", next=soon, last_outcome="success", last_run=soon, last_msg="2 of 2"),
        paused,
        observe=True,
        growth={"files": 5000, "bound_ms": 900, "degraded": "no inotify"},
        events={"dropped": 7},
    )
    daemon.says("status", shown)
    found = maintd("status")
    assert found.returncode == 0
    assert "maintd 1.2.3, pid 42, up 3h" in found.stdout
    assert "5000 files watched, noticed within 900 ms" in found.stdout
    assert all(word in found.stdout for word in ("observing", "no inotify", "7 dropped"))
    assert re.search(r"rotate\.a +idle +\S+ \S+Z \(in 20h\).* +success: 2 of 2", found.stdout)
    assert re.search(r"rotate\.b +paused until ", found.stdout)
    assert json.loads(maintd("status", "--json").stdout) == shown


def test_a_failed_job_is_a_no(daemon: Responder, maintd: Command):
    """status ends with 3 if the last run of any job failed, so that a script can ask."""
    daemon.says("status", status_of(job("rotate.a", last_outcome="success"), job("rotate.b", last_outcome="failure")))
    assert maintd("status").returncode == 3
    assert maintd("status", "--json").returncode == 3


def test_a_broken_config_hides_no_daemon(daemon: Responder, site: Site, maintd: Command):
    """The daemon can be asked while its config file is wrong: that is when one wants to."""
    daemon.says("status", status_of())
    site.configure(ROTATE + "nonsense = 1\n")
    assert maintd("status").returncode == 0
    site.config.write_text(site.config.read_text() + "[rotate\n")
    assert maintd("status").returncode == 0
    site.config.write_text("[daemon\n")
    found = maintd("status")
    assert found.returncode == 4
    assert "cannot be read" in found.stderr
    assert f"looked for at {Daemon().runtime_dir}/control.sock" in found.stderr
    site.config.unlink()
    found = maintd("reload")
    assert (found.returncode, "pass one that names it" in found.stderr) == (4, True)


def test_a_config_that_names_no_runtime_dir_is_said(site: Site, maintd: Command):
    """An empty config, half-written perhaps, leads to the usual place: that is said with the error, and how to tell."""
    site.config.write_text("")
    found = maintd("reload")
    assert found.returncode == 4
    assert "names no runtime_dir in [daemon]" in found.stderr


def test_pause_and_resume(daemon: Responder, maintd: Command):
    """One job, several or all, for a time or until resumed; a refusal is an error."""
    daemon.says("pause", {"ok": True, "error": ""})
    daemon.says("resume", {"ok": True, "error": ""})
    assert maintd("pause").stdout == "paused all jobs until maintd resume\n"
    assert maintd("pause", "rotate.services", "--for", "1h30m").stdout == "paused rotate.services for 1h30m\n"
    assert maintd("pause", "a.b", "a.c").stdout.count("until maintd resume\n") == 2
    assert maintd("resume").stdout == "resumed all jobs\n"
    assert [dict(request.arguments) for request in daemon.asked] == [
        {"job": "*", "seconds": None},
        {"job": "rotate.services", "seconds": 5400.0},
        {"job": "a.b", "seconds": None},
        {"job": "a.c", "seconds": None},
        {"job": "*", "until": None},
    ]
    unknown = {"ok": False, "error": "the running config has no job rotate.x", "jobs": ["rotate.services", "rotate.y"]}
    for verb in ("pause", "resume"):
        daemon.says(verb, unknown)
        found = maintd(verb, "rotate.x")
        assert (found.returncode, 'did you mean "rotate.y"?' in found.stderr) == (2, True)


def test_reload_prints_the_verdict(daemon: Responder, maintd: Command):
    """An accepted config prints its diff; a refused one its problems on stderr, with 1."""
    good = {"ok": True, "diff": "+2 ~1 \N{MINUS SIGN}0", "problems": [], "warnings": ["f:1: warning: w"], "hint": ""}
    daemon.says("reload", good)
    found = maintd("reload", "--force")
    assert (found.returncode, found.stdout, found.stderr) == (
        0,
        "reloaded: +2 ~1 \N{MINUS SIGN}0\n",
        "f:1: warning: w\n",
    )
    assert daemon.asked[0].arguments == {"force": True}
    daemon.says("reload", {"ok": False, "diff": "", "problems": ["f:1:2: error: e"], "warnings": [], "hint": "mend it"})
    found = maintd("reload")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.splitlines()[0] == "f:1:2: error: e"
    assert "mend it" in found.stderr


# events


def event(n: int, *, ts: datetime | None = None, **more: Any) -> str:
    when = (ts or datetime.now(UTC)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = {"ts": when, "level": "info", "event": "log.rotated", "msg": f"message {n}", "job": "rotate.a", "seq": n}
    return json.dumps(fields | more) + "\n"


def test_events_are_filtered_and_readable(maintd: Command, tmp_path: Path):
    """Events are shown one a line, by time, job and level, from a file or stdin; what is no event is counted."""
    old = datetime.now(UTC) - timedelta(hours=3)
    text = event(1, ts=old, target="/l/a.log") + "Traceback!\n" + event(2, level="warning") + event(3, job="rotate.b")
    log = tmp_path / "maintd.log"
    log.write_text(text + '{"half": ', encoding="utf-8")
    found = maintd("events", str(log))
    shown = found.stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info +log\.rotated +rotate\.a /l/a\.log: message 1", shown[0])
    assert len(shown) == 3
    assert found.stderr == "maintd: passed over 2 lines that are no events\n"

    def numbers(*arguments: str) -> list[int]:
        return [line["seq"] for line in lines(maintd("events", "--json", *arguments, stdin=text.encode()).stdout)]

    assert numbers() == [1, 2, 3]
    assert numbers("--since", "2h") == [2, 3]
    assert numbers("--since", (old - timedelta(minutes=1)).isoformat()) == [1, 2, 3]
    assert numbers("--job", "rotate.b") == [3]
    assert numbers("--level", "warning") == [2]
    assert maintd("events", "--since", "yesterday", stdin=b"").returncode == 2
    assert maintd("events", str(tmp_path / "none")).returncode == 2


def test_hostile_events_cannot_reach_the_terminal(maintd: Command):
    """What somebody else wrote into the log is made printable."""
    found = maintd("events", stdin=event(1, msg="\x1b[2Jgone", target="a\nb").encode())
    assert all(line.isprintable() for line in found.stdout.splitlines())
    assert "\\x1b[2Jgone" in found.stdout


def test_following_goes_on_over_a_rotation(maintd: Command, tmp_path: Path):
    """-f shows every event once: of the old file also what comes after its renaming, then those of the new one."""
    log = tmp_path / "maintd.log"
    log.write_text(event(1), encoding="utf-8")
    writer = log.open("a", encoding="utf-8")
    process = maintd.start("events", "-f", "--json", str(log))
    assert process.stdout is not None

    def seen() -> int:
        assert process.stdout is not None
        return json.loads(process.stdout.readline())["seq"]

    assert seen() == 1
    os.rename(log, tmp_path / "maintd.log.1")
    log.touch()
    writer.write(event(2) + event(3)[:20])
    writer.flush()
    assert seen() == 2
    writer.write(event(3)[20:])
    writer.close()
    log.write_text(event(4), encoding="utf-8")
    assert [seen(), seen()] == [3, 4]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"", b"\n")
    assert process.returncode == 130


# Texts for others


def test_schema_is_json(maintd: Command):
    """schema prints the JSON Schema of the config."""
    schema = json.loads(maintd("schema").stdout)
    assert {"daemon", "supervisor", "rotate", "compress"} <= schema["properties"].keys()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(maintd: Command, shell: str):
    """completion prints a script that asks the program."""
    found = maintd("completion", shell)
    assert found.returncode == 0
    assert "_MAINTD_COMPLETE" in found.stdout


def test_jobs_are_completed(site: Site):
    """The shell completes the names of the config's jobs, and verbs."""
    site.configure(ROTATE)

    def completed(words: str) -> str:
        env = environment(
            MAINTD_CONFIG=str(site.config),
            _MAINTD_COMPLETE="bash_complete",
            COMP_WORDS=f"maintd {words}",
            COMP_CWORD=str(len(words.split())),
        )
        found = subprocess.run([str(PROGRAM)], capture_output=True, check=True, env=env, text=True, timeout=60)
        return found.stdout

    assert completed("pl") == "plain,plan\n"
    assert completed("plan rot") == "plain,rotate.services\n"
