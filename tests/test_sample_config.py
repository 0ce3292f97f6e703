"""The sample configuration: it loads, it stands for what the README says, and missing paths are no errors."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from maintd import config, jobs

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "config/maintd.toml"
MAINTD = ROOT / ".venv/bin/maintd"


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """The sample as a person installs it: writable by its owner alone, whatever the umask of the clone was."""
    folder = tmp_path / "maintd"
    (folder / "conf.d").mkdir(parents=True)
    for file in [SAMPLE, *(SAMPLE.parent / "conf.d").glob("*.toml")]:
        copy = folder / file.relative_to(SAMPLE.parent)
        copy.write_text(file.read_text())
        copy.chmod(0o644)
    return str(folder / "maintd.toml")


def test_the_sample_loads(installed):
    """The sample and its conf.d load without an error or a warning, and hold a job of every kind, but of those for
    a server that few have, which are there as comments."""
    loaded = config.load(installed, euid=0)
    assert not loaded.warnings
    assert [name for name, job in loaded.jobs.items() if job.lanes] == [
        "rotate.services",
        "rotate.maintd",
        "compress.prices",
        "archive.trades",
        "expire.reports",
        "storage.app",
        "guard.disk",
        "compress.leftovers",
        "backup.app",
        "sqlite.all",
        "sqlite.trading",
        "drill.app",
        "limit.api",
        "revive.services",
        "logrotate.system",
        "rotate.web",
    ]
    assert {job.kind for job in loaded.jobs.values() if job.lanes} == {
        kind for kind in jobs.kinds() if jobs.kind(kind).lanes and kind not in ("postgres", "redis")
    }
    assert re.findall(r"(?m)^# \[(\w+)\.\w+\]$", SAMPLE.read_text()) == ["postgres", "redis"]


def test_the_sample_has_the_checks_that_were_made_by_hand(installed):
    """Programs, a page, ports, data being produced, errors in logs, a database, the machine, a nightly script."""
    kinds = {job.kind.removeprefix("check.") for job in config.load(installed, euid=0).jobs.values() if not job.lanes}
    assert kinds == {"process", "http", "tcp", "file", "log", "sqlite", "disk", "memory", "swap", "heartbeat"}


def test_the_sample_observes_at_first(installed):
    """Who installs the sample as it is lets maintd change nothing before having read what it would do."""
    assert config.load(installed).settings.observe


def test_paths_that_are_not_here_are_warnings(installed):
    """`maintd check` of the sample ends with 0 on a machine without these services, and warns of each missing path."""
    done = subprocess.run(
        [MAINTD, "-c", installed, "check", "--json"], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"]
    assert {problem["severity"] for problem in answer["problems"]} <= {"warning"}
    said = " ".join(problem["message"] for problem in answer["problems"])
    for name, job in config.load(installed).jobs.items():
        named = getattr(job, "paths", None) or getattr(job, "directories", None) or (getattr(job, "directory", None),)
        if named[0] and not os.path.exists(re.split(r"/[^/]*[*]", named[0])[0]):
            assert name in said


def test_what_is_commented_out_is_valid_too(installed):
    """Every option that the sample shows in a comment is taken when the comment sign goes."""
    shown = re.sub(r"(?m)^# (?=\[\[?[\w.]+\]\]?$|\w+ = )", "", SAMPLE.read_text())
    Path(installed).write_text(shown)
    loaded = config.load(installed, euid=0)
    assert {"state_dir", "runtime_dir"} <= loaded.settings.model_fields_set
    assert {"url", "username", "password_file"} <= loaded.supervisor.model_fields_set


def test_the_sample_rotates_what_the_program_section_writes(installed):
    """rotate.maintd names the stdout_logfile of the shipped supervisord section."""
    section = (ROOT / "deploy/supervisord.conf.d/maintd.conf").read_text()
    written = re.search(r"(?m)^stdout_logfile=(.*)$", section)[1]
    assert config.load(installed).jobs["rotate.maintd"].paths == (written,)


def test_editors_find_the_schema():
    """The sample's first line points to the schema beside it."""
    first = SAMPLE.read_text().splitlines()[0]
    assert (SAMPLE.parent / first.removeprefix("#:schema ")).is_file()
