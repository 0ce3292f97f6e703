"""A `logrotate` job by plan and do: what is due for whom, whose a log is, and what is done about what has to wait."""

import fcntl
import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintd.job import Context, Watched
from maintd.jobs.logrotate import Logrotate
from maintd.steps import Action, Finding, Step
from maintd.triggers import Asked, AskedBefore, Cause, Grown, Scheduled, Settling
from tests.tree import Tree

from .busy import busy

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)


class Place:
    """A directory of logs, with stanzas for them, a state file, and the job that runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.logs, self.state = folder, folder / "logs", folder / "status"
        self.logs.mkdir()
        self.stanzas = folder / "stanzas"
        self.job = Logrotate.model_validate({"include": [str(self.stanzas)], "state": str(self.state)})

    def write(self, stanzas: str) -> None:
        self.stanzas.write_text(stanzas.replace("HERE", str(self.logs)))
        self.stanzas.chmod(0o644)

    def log(self, name: str, content: bytes = b"a line\n", rotated: datetime | None = None) -> Path:
        path = self.logs / name
        path.write_bytes(content)
        if rotated:
            top = "" if self.state.exists() else "logrotate state -- version 2\n"
            local = rotated.astimezone()
            with self.state.open("a") as file:
                file.write(f'{top}"{path}" {local.year}-{local.month}-{local.day}-{local:%H:%M:%S}\n')
            self.state.chmod(0o640)
        return path

    def plan(self, cause: Cause, **context: Any) -> list[Step]:
        return list(self.job.plan(Context(now=NOW, cause=cause, **context)))

    def rotates(self, cause: Cause) -> set[str]:
        """The names of the logs that are rotated for this cause."""
        steps = [step for step in self.plan(cause) if isinstance(step, Action)]
        return {os.path.basename(step.target) for step in steps if step.verb == "rotate"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_each_cause_has_its_logs(place):
    """A schedule rotates what the stanzas call due; growth what has grown; a person everything, or only what is due."""
    place.write("HERE/*.log {\n daily\n rotate 2\n maxsize 1k\n}\n")
    due = place.log("due.log", rotated=NOW - timedelta(days=1))
    place.log("done.log", rotated=NOW - timedelta(minutes=5))
    large = place.log("large.log", b"x" * 2000, rotated=NOW - timedelta(minutes=5))
    place.log("new.log")
    assert place.rotates(Scheduled(NOW)) == {"due.log", "large.log"}
    assert place.rotates(Asked(due_only=True)) == {"due.log", "large.log"}
    assert place.rotates(Asked()) == {"due.log", "done.log", "large.log", "new.log"}
    assert place.rotates(Grown(frozenset({str(large)}))) == {"large.log"}
    assert place.rotates(Settling()) == set()
    before = AskedBefore(frozenset({(str(due), NOW - timedelta(hours=1))}))
    assert place.rotates(before) == {"due.log"}


def test_catching_up_leaves_what_was_rotated_since_its_time(place):
    """At a start, what was rotated since the time that was missed is not rotated again, though an hour has begun."""
    place.write("HERE/*.log {\n hourly\n rotate 2\n}\n")
    place.log("done.log", rotated=NOW - timedelta(hours=2))
    place.log("missed.log", rotated=NOW - timedelta(days=2))
    assert place.rotates(Scheduled(NOW - timedelta(hours=3), catch_up=True)) == {"missed.log"}
    assert place.rotates(Scheduled(NOW)) == {"done.log", "missed.log"}


def test_what_is_seen_for_the_first_time_is_written_down_once(place):
    """A first sight is an entry in the state file; when nothing is new, nothing is to be done, not even that."""
    place.write("HERE/*.log {\n daily\n}\n")
    place.log("a.log")
    assert [step.verb for step in place.plan(Scheduled(NOW)) if isinstance(step, Action)] == ["write"]
    place.log("a.log", rotated=NOW)
    assert [step for step in place.plan(Scheduled(NOW)) if isinstance(step, Action)] == []


def test_after_a_jump_of_the_clock_nothing_goes_by_age(place):
    """After the clock has jumped no archive goes because of maxage; later it does."""
    place.write("HERE/a.log {\n daily\n rotate 9\n maxage 30\n}\n")
    place.log("a.log", rotated=NOW - timedelta(days=1))
    old = place.log("a.log.1")
    os.utime(old, (1e9, 1e9))
    assert "delete" in {step.verb for step in place.plan(Scheduled(NOW)) if isinstance(step, Action)}
    steps = place.plan(Scheduled(NOW), clock_jumped=True)
    assert "delete" not in {step.verb for step in steps if isinstance(step, Action)}


def test_what_is_watched_has_the_limit_of_its_stanza(place):
    """size, and maxsize, is a limit; a stanza without one keeps its logs from the limits of those after it."""
    place.write(
        "HERE/a {\n daily\n}\nHERE/b[[:digit:]] {\n size 10k\n}\nHERE/c {\n weekly\n maxsize 1M\n}\n"
        "HERE/d {\n size 1\n}\n"
    )
    assert place.job.watched() == (
        Watched((f"{place.logs}/a",), (), None),
        Watched((f"{place.logs}/b[0-9]",), (), 10 * 1024 - 1),
        Watched((f"{place.logs}/c",), (), 1024 * 1024),
    )


def test_a_log_that_is_still_written_is_not_compressed(place):
    """What a run had to leave uncompressed is put off while it is written, and so is its log; then it is compressed."""
    place.write("HERE/a.log {\n size 1\n rotate 3\n compress\n}\n")
    log, left = place.log("a.log"), place.log("a.log.1")
    with busy(left, os.O_APPEND):
        for cause in (Settling(), Grown(frozenset({str(log)}))):
            steps = place.plan(cause)
            assert not [step for step in steps if isinstance(step, Action) and step.verb in ("rotate", "compress")]
            assert any(isinstance(step, Finding) and step.is_put_off for step in steps)
    assert [step.verb for step in place.plan(Settling()) if isinstance(step, Action)] == ["compress", "write"]
    verbs = [step.verb for step in place.plan(Scheduled(NOW)) if isinstance(step, Action)]
    assert verbs == ["compress", "displace", "rename", "rotate", "compress", "write"]


def test_with_dates_only_the_last_rotation_is_made_up_for(place):
    """What a run could not compress yet is made up for, unless the stanza is newer; all of before stays as it is."""
    place.write("HERE/a.log {\n daily\n rotate 1\n dateext\n compress\n}\n")
    place.log("a.log", rotated=NOW - timedelta(days=1))
    for day in (24, 25, 26):
        place.log(f"a.log-202611{day}")

    def changed() -> list[tuple[str, str]]:
        steps = [step for step in place.plan(Settling()) if isinstance(step, Action)]
        return [(step.verb, os.path.basename(step.target)) for step in steps if step.verb in ("compress", "delete")]

    assert changed() == [("compress", "a.log-20261126")]
    os.utime(place.stanzas, (2**31, 2**31))
    assert changed() == []


@pytest.mark.parametrize("is_same", [True, False])
def test_a_compression_that_was_cut_off_is_completed(tmp_path, is_same):
    """A file and its compressed copy: a kill came before the first was removed. Another copy stays aside."""
    tree = Tree(tmp_path, '[logrotate.system]\ninclude = ["HERE/stanzas"]\nstate = "HERE/status"\n')
    (tmp_path / "stanzas").write_text(f"{tree.logs}/a.log {{\n size 1\n rotate 5\n compress\n}}\n")
    tree.log("a.log", b"new\n")
    tree.log("a.log.1", b"old\n")
    tree.log("a.log.1.gz", gzip.compress(b"old\n" if is_same else b"another\n"))
    done = tree.do("logrotate.system")
    assert done.code == 0, done
    held = [gzip.decompress((tree.logs / f"a.log.{number}.gz").read_bytes()) for number in (1, 2)]
    assert held == [b"new\n", b"old\n"]
    aside = [path for path in tree.logs.iterdir() if path.name.endswith(".backup")]
    assert [gzip.decompress(path.read_bytes()) for path in aside] == ([] if is_same else [b"another\n"])
    assert not (tree.logs / "a.log.1").exists()


def test_a_bad_stanza_is_refused_with_its_place(place):
    """An error costs its stanza, and is said with file and line; a log that cannot be rotated is said as well."""
    place.write("HERE/a.log {\n size many\n}\nHERE/b.log {\n daily\n}\nHERE/none.log {\n daily\n}\n")
    place.log("a.log")
    place.log("b.log")
    found = {step.target: step.event for step in place.plan(Asked()) if isinstance(step, Finding) and step.event}
    assert {event.name for event in found.values()} == {"rotate.refused"}
    assert found.keys() == {f"{place.stanzas}:2", str(place.logs / "none.log")}
    assert place.rotates(Asked()) == {"b.log"}


JOBS = (
    '[rotate.first]\npaths = ["LOGS/first.log"]\ncron = "@daily"\n'
    '[logrotate.system]\ninclude = ["LOGS/../stanzas"]\nstate = "LOGS/../status"\n'
    '[rotate.last]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
)


def test_a_log_has_one_owner(tmp_path):
    """A native job and a stanza that name one log never both rotate it: the first in the file does."""
    tree = Tree(tmp_path, JOBS)
    (tmp_path / "stanzas").write_text(f"{tree.logs}/first.log {tree.logs}/second.log {{\n daily\n rotate 3\n}}\n")
    (tmp_path / "stanzas").chmod(0o644)
    for name in ("first", "second", "third"):
        tree.log(f"{name}.log", b"a line\n")
    done = tree.run("do", "--all")
    assert done.returncode == 0, done.stderr
    found = sorted(path.name for path in tree.logs.iterdir() if ".log." in path.name)
    assert len(found) == 3
    assert found[0].startswith("first.log.2")
    assert found[1] == "second.log.1"
    assert found[2].startswith("third.log.2")
    warned = tree.run("check").stderr
    assert "logrotate.system: claims" in warned
    assert "rotate.last: claims" in warned


def test_do_does_what_plan_shows(tmp_path):
    """`maintd do` takes the steps of `maintd plan`, and leaves what logrotate -f would; then nothing is due."""
    tree = Tree(tmp_path, JOBS)
    (tmp_path / "stanzas").write_text(
        f"{tree.logs}/second.log {{\n daily\n rotate 3\n create\n compress\n postrotate\n  echo said\n endscript\n}}\n"
    )
    (tmp_path / "stanzas").chmod(0o644)
    tree.log("second.log", b"a line\n")
    shown = [json.loads(line) for line in tree.run("plan", "logrotate.system", "--json").stdout.splitlines()]
    told = tree.run("do", "logrotate.system", "--json")
    assert told.returncode == 0, told.stderr
    said = [json.loads(line) for line in told.stdout.splitlines()]
    planned = [(step["verb"], step["target"]) for step in shown if step["step"] == "action"]
    assert planned == [(line["verb"], line["target"]) for line in said if line["type"] == "step"]
    assert [verb for verb, _ in planned] == ["note", "rotate", "run", "compress", "write", "forget"]
    assert [line["output"] for line in said if line.get("event") == "command.finished"] == ["said"]
    assert sorted(path.name for path in tree.logs.iterdir()) == ["second.log", "second.log.1.gz"]
    assert f'"{tree.logs}/second.log"' in (tmp_path / "status").read_text()
    assert not list(tmp_path.glob("status.*"))
    assert '"action"' not in tree.run("plan", "logrotate.system", "--due", "--json").stdout


@pytest.mark.parametrize(
    ("stanzas", "code", "said"),
    [
        ("LOGS/a.log {\n rotate x\n}\nLOGS/b.log {\n}\n", 5, "bad rotation count 'x'"),
        ("LOGS/a.log {\n rotate x\n}\n", 1, "bad rotation count 'x'"),
        ("LOGS/none.log {\n}\n", 5, "stat of"),
        (None, 1, "cannot stat"),
    ],
    ids=["one bad stanza of two", "one bad stanza", "a log that is missing", "no include"],
)
def test_do_does_not_call_it_success_if_something_was_refused(tmp_path, stanzas: str | None, code: int, said: str):
    """What was left out because of an error makes the exit code 5, or 1 if nothing was done; it is told, with why."""
    tree = Tree(tmp_path, JOBS)
    tree.log("a.log", b"a line\n")
    tree.log("b.log", b"a line\n")
    if stanzas is not None:
        (tmp_path / "stanzas").write_text(stanzas.replace("LOGS", str(tree.logs)))
        (tmp_path / "stanzas").chmod(0o644)
    done = tree.run("do", "logrotate.system")
    assert done.returncode == code, done.stdout
    assert said in done.stdout
    assert "success" not in done.stdout
    assert "1 refused" in done.stdout


def test_a_locked_state_file_puts_a_run_off(tmp_path):
    """While another holds the lock on the state file, `maintd do` changes nothing and says so; plan needs no lock."""
    tree = Tree(tmp_path, JOBS)
    (tmp_path / "stanzas").write_text(f"{tree.logs}/second.log {{\n daily\n rotate 3\n}}\n")
    (tmp_path / "stanzas").chmod(0o644)
    tree.log("second.log", b"a line\n")
    state = tmp_path / "status"
    state.write_text("logrotate state -- version 2\n")
    state.chmod(0o640)
    with state.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert '"action"' in tree.run("plan", "logrotate.system", "--json").stdout
        done = tree.run("do", "logrotate.system", "--json")
        assert done.returncode == 5
        assert '"job.waiting"' in done.stdout
    assert [path.name for path in tree.logs.iterdir()] == ["second.log"]


def test_what_is_observed_changes_nothing(tmp_path):
    """Under observe a run says what it would do, and makes not even the state file."""
    tree = Tree(tmp_path, JOBS.replace('status"\n', 'status"\nobserve = true\n'))
    (tmp_path / "stanzas").write_text(f"{tree.logs}/second.log {{\n daily\n rotate 3\n}}\n")
    (tmp_path / "stanzas").chmod(0o644)
    tree.log("second.log", b"a line\n")
    assert '"action.planned"' in tree.run("do", "logrotate.system", "--json").stdout
    assert [path.name for path in tree.logs.iterdir()] == ["second.log"]
    assert not (tmp_path / "status").exists()
