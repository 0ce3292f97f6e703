"""`make run`: the demo plays for real, ends by itself or when told to, and leaves no process behind."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import until

from .stage import decompressed

DEMO = Path(__file__).resolve().parents[2] / "deploy/demo.py"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def started(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, DEMO, "--folder", folder, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def alive_in(folder):
    """The pids of processes that have the folder in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def events(folder):
    """All that maintd has said, also in what was rotated away."""
    files = (folder / "maintd").glob("events.log*")
    return [json.loads(line) for path in files for line in decompressed(path).splitlines()]


def test_the_demo_ends_by_itself_and_loses_nothing(folder):
    """It shows events as they come, then what was rotated and compressed, with every line counted, and ends with 0.

    maintd complains of nothing in it.
    """
    demo = started(folder, "--seconds", "3")
    said, _ = demo.communicate(timeout=150)
    assert demo.returncode == 0, said
    assert "rotated to access.log." in said
    assert re.search(r"rotated +[1-9]", said)
    assert re.search(r"compressed +[1-9].* times smaller", said)
    assert re.search(r"lines +([1-9][\d,]+) written, \1 found .*, 0 lost", said)
    assert [event for event in events(folder) if event["level"] not in ("debug", "info")] == []
    assert not alive_in(folder)


def test_the_demo_ends_in_order_when_told_to(folder):
    """TERM, as Ctrl-C, ends supervisord, the services and maintd, and the summary still comes."""
    demo = started(folder)
    until(lambda: (folder / "logs/access.log").exists() and (folder / "maintd/events.log").exists(), "it plays")
    demo.send_signal(signal.SIGTERM)
    said, _ = demo.communicate(timeout=150)
    assert demo.returncode == 0, said
    assert ", 0 lost" in said
    assert not alive_in(folder)


def test_the_demo_leaves_other_folders_alone(tmp_path):
    """A folder that holds something else is not emptied."""
    (tmp_path / "thesis.txt").write_text("years of work")
    done = subprocess.run(
        [sys.executable, DEMO, "--folder", tmp_path], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "left alone" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
