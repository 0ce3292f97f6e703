"""logrotate's stanzas in the daemon: real services under a real supervisord, rotated by size, killed, and gone back."""

import contextlib
import fcntl
import gzip
import os
import re
import shutil  # noqa: TID251 - only to find a tool
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import until

from .stage import Stage

JOB = '[logrotate.system]\ninclude = ["LOGS/../stanzas"]\nstate = "LOGS/../lr/status"\n'
A_LINE = 80
STANZA = """LOGS/*.log {
    rotate 1000
    size SIZE
    compress
    create
    missingok
    MORE
    postrotate
        kill -USR2 $(cat LOGS/../supervisord.pid)
    endscript
}
"""


def put(made: Stage, name: str, text: str) -> None:
    """Writes a file of stanzas, as whole as an editor does."""
    folder = made.folder / "stanzas"
    folder.mkdir(exist_ok=True)
    new = folder / f".{name}.new"
    new.write_text(text.replace("LOGS", str(made.logs)))
    new.chmod(0o644)
    new.rename(folder / name)
    (made.folder / "lr").mkdir(exist_ok=True)


def stanza(size: str, more: str = "delaycompress\n    sharedscripts") -> str:
    return STANZA.replace("SIZE", size).replace("MORE", more)


def only(name: str, size: str, more: str = "delaycompress") -> str:
    return stanza(size, more).replace("*.log", f"{name}.log")


def numbers(log: Path) -> list[int]:
    """The numbers of all lines of a log, in the order of its generations."""

    def generation(path: Path) -> int:
        return int(re.fullmatch(r"\.(\d+)(?:\.gz)?", path.name.removeprefix(log.name))[1])  # type: ignore[index]

    found = b""
    for path in sorted(log.parent.glob(log.name + ".*"), key=generation, reverse=True):
        data = path.read_bytes()
        found += gzip.decompress(data) if path.suffix == ".gz" else data
    found += log.read_bytes() if log.exists() else b""
    return [int(line.split()[1]) for line in found.splitlines()]


def assert_whole(log: Path, written: int = 1) -> None:
    found = numbers(log)
    assert len(found) >= written
    assert found == list(range(len(found)))


def stop(made: Stage, *services: str) -> None:
    """Stops the services, and maintd once the run that is at work has come to its end."""
    made.ctl("stop", *services)
    until(lambda: not (made.folder / "lr/status.unfinished").exists(), "the run at work has come to its end")
    made.ctl("stop", "maintd")


def entries(made: Stage) -> dict[str, str]:
    text = (made.folder / "lr/status").read_text()
    assert text.startswith("logrotate state -- version 2\n")
    return dict(re.findall(r'(?m)^"(.+)" (\S+)$', text))


def test_stanzas_are_run_by_size_and_one_can_go_back(stage):
    """A log that passes its stanza's size is rotated at once, with logrotate's names, script and state file, and whole.

    Each stanza of the job has its own limit, or none. Debian's logrotate then goes on where maintd has been.
    """
    made = stage({"api": ["4000"], "web": ["2000"], "idle": ["10", "3"]}, JOB)
    put(made, "a-daily", "LOGS/idle.log {\n    daily\n    rotate 3\n}\n")
    put(made, "services", "".join(only(name, limit) for name, limit in (("api", "200k"), ("web", "100k"))))
    made.start()
    pids = {name: made.pid_of(name) for name in ("api", "web")}
    for name in ("api", "web"):
        made.event("log.compressed", count=2, target=str(made.logs / f"{name}.log.1"))
    assert {name: made.pid_of(name) for name in ("api", "web")} == pids, "a service was restarted"
    stop(made, "api", "web")
    for name, limit, rate in (("api", 200 * 1024, 4000), ("web", 100 * 1024, 2000)):
        assert_whole(made.logs / f"{name}.log")
        rotated = [one for one in made.events("log.rotated") if one["target"].endswith(f"/{name}.log")]
        assert all(event["in_bytes"] >= limit for event in rotated)
        assert rotated[0]["in_bytes"] < limit + 4 * rate * A_LINE, "it was not rotated soon after it had grown"
        assert all("size is" in event["reason"] for event in rotated)
        assert all(event["rotated_to"] == f"{made.logs}/{name}.log.1" for event in rotated)
    assert not list(made.logs.glob("idle.log.*"))
    assert entries(made).keys() == {str(made.logs / f"{name}.log") for name in ("api", "web", "idle")}
    assert {event["outcome"] for event in made.events("job.finished")} <= {"success", "skipped"}
    goes_on(made)


def goes_on(made: Stage) -> None:
    """Debian's logrotate reads the state file as its own, and goes on with the archives."""
    original = shutil.which("logrotate", path="/usr/sbin:/usr/bin")
    if original is None:
        pytest.skip("logrotate is not installed (apt-get install logrotate)")
    config, state, log = made.folder / "stanzas/services", made.folder / "lr/status", made.logs / "api.log"
    shown = subprocess.run([original, "-d", "-s", state, config], check=False, capture_output=True, text=True)
    assert shown.returncode == 0
    assert "error" not in shown.stderr
    year, month, day = entries(made)[str(log)].split("-")[:3]
    assert f"Last rotated at {year}-{month:0>2}-{day:0>2}" in shown.stderr
    before = len(numbers(log))
    done = subprocess.run([original, "-f", "-s", state, config], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_whole(log, before)
    assert not [path for path in made.logs.glob("api.log.*") if ".backup" in path.name]


def test_killed_again_and_again_no_line_is_lost(stage):
    """kill -9 at any moment loses no line and leaves no writer untold: what the run had begun is made up for."""
    made = stage({"api": ["5000"], "web": ["5000"]}, JOB)
    put(made, "services", stanza("150k"))
    made.start()
    for count in (1, 2):
        made.event("log.rotated", count=count * 2)
        before = len(made.events("daemon.started"))
        made.kill_maintd()
        made.event("daemon.started", count=before + 1)
    count = len(made.events("log.rotated"))
    made.event("log.rotated", count=count + 2)
    stop(made, "api", "web")
    for name in ("api", "web"):
        assert_whole(made.logs / f"{name}.log")
    assert not list(made.logs.glob("*.maintd-tmp"))


def test_a_writer_that_was_not_told_is_told_by_the_next_start(stage):
    """A run that is cut off between rename and postrotate is made up for at the next start, which runs the script."""
    made = stage({"api": ["600"]}, JOB)
    put(
        made,
        "services",
        stanza("40k").replace(
            "    postrotate\n",
            "    prerotate\n        touch LOGS/../began\n    endscript\n"
            "    postrotate\n        if mkdir LOGS/../first 2>/dev/null; then sleep 60; fi\n",
        ),
    )
    made.start()
    until((made.folder / "first").exists, "the first postrotate hangs")
    made.kill_maintd()
    made.event("daemon.started", count=2)
    told = made.event("command.finished", command="postrotate")
    assert told["target"].strip() == f"{made.logs}/*.log"
    made.event("log.rotated", count=3)
    stop(made, "api")
    assert_whole(made.logs / "api.log")


def test_what_is_still_written_is_waited_for(stage):
    """With compress and no delaycompress a log is compressed as soon as its writer has let go of it, and not before."""
    made = stage({"api": ["300"]}, JOB)
    put(made, "services", stanza("50k", more="").replace("kill -USR2 $(cat LOGS/../supervisord.pid)", "true"))
    made.start()
    made.event("rotate.waiting", target=str(made.logs / "api.log.1"))
    assert not list(made.logs.glob("*.gz"))
    os.kill(int((made.folder / "supervisord.pid").read_text()), 12)
    made.event("log.compressed", target=str(made.logs / "api.log.1"))
    stop(made, "api")
    assert_whole(made.logs / "api.log")


def test_edits_are_taken_over_by_a_reload(stage):
    """A stanza that is added is watched from a reload on; one that is wrong costs itself alone, and is said once."""
    made = stage({"api": ["1000"], "web": ["1000"]}, JOB)
    put(made, "api", only("api", "50k"))
    made.start()
    made.event("log.rotated", target=str(made.logs / "api.log"))
    assert not list(made.logs.glob("web.log.*"))
    put(made, "web", only("web", "60k"))
    put(made, "wrong", "LOGS/wrong.log {\n    size many\n}\n")
    assert made.maintd("reload").returncode == 0
    made.event("log.rotated", count=2, target=str(made.logs / "web.log"))
    refused = made.event("rotate.refused")
    assert refused["target"].endswith("/stanzas/wrong:2")
    count = len(made.events("log.rotated"))
    made.event("log.rotated", count=count + 2)
    assert len(made.events("rotate.refused")) == 1
    (made.folder / "stanzas").rename(made.folder / "elsewhere")
    assert made.maintd("reload").returncode == 0
    gone = made.event("rotate.refused", count=2)
    assert "cannot stat" in gone["reason"]
    until(lambda: "cannot stat" in made.maintd("status").stdout, "the refusal in status")
    status = made.maintd("status").stdout
    assert "1 error in other config files" in status
    assert "wrong:2" not in status
    stop(made, "api", "web")
    assert_whole(made.logs / "api.log")
    assert_whole(made.logs / "web.log")


def test_with_nothing_to_do_it_rests(stage):
    """A daemon with stanzas does not run them over and over: it takes next to none of a core when nothing is due."""
    made = stage({}, JOB)
    put(made, "a", only("none", "1M"))
    made.start()
    made.event("job.finished")
    daemon = psutil.Process(made.pid_of("maintd"))
    begun, before = time.monotonic(), daemon.cpu_times()
    until(lambda: time.monotonic() - begun > 3, "three seconds")
    after = daemon.cpu_times()
    assert after.user + after.system - before.user - before.system < 1.0


def test_a_refused_log_is_told_of_once(stage):
    """A log that has grown and may not be rotated is refused in one event, however often it is looked at again."""
    made = stage({}, JOB)
    put(made, "a", "LOGS/x.log {\n    size 20k\n    rotate 2\n    dateext\n    dateformat .same\n}\n")
    (made.logs / "x.log.same").write_text("there already")
    made.start()
    made.event("job.finished")
    (made.logs / "x.log").write_bytes(b"x" * 30_000)
    made.event("rotate.refused", target=str(made.logs / "x.log"))
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > 5, "two more looks, after 1 s and 2 s more")
    assert len(made.events("rotate.refused")) == 1


def test_while_logrotate_is_at_work_a_run_is_put_off(stage):
    """A run that finds the state file locked, as logrotate locks it, changes nothing, says so, and is tried again."""
    made = stage({"api": ["1000"]}, JOB)
    put(made, "services", stanza("50k"))
    status = made.folder / "lr/status"
    status.write_text("logrotate state -- version 2\n")
    status.chmod(0o640)
    with status.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        made.start()
        made.event("job.waiting")
        assert not made.events("log.rotated")
    made.event("log.rotated")
    stop(made, "api")
    with contextlib.suppress(FileNotFoundError):
        assert_whole(made.logs / "api.log")
