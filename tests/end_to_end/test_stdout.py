"""A stdout that takes nothing: no job waits for it, and what was not heard is counted."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

import pytest

from tests.conftest import until

from .daemon import DEADLINE, ONE, Daemon


@pytest.mark.parametrize("stdout", ["closed", "/dev/full"])
def test_a_stdout_that_takes_nothing_stops_no_job(daemon, stdout):
    """With stdout closed or full, logs are rotated and compressed, status counts the drops, and no file is spoilt."""
    one = daemon(ONE)
    if stdout == "closed":
        # what a program opens next would get the number 1, if nobody took care
        one.start(preexec_fn=lambda: os.close(1))
    else:
        with Path(stdout).open("wb") as full:
            one.start(full)
    _is_rotated_unheard(one)
    assert one.status()["events"]["dropped"] >= 4
    assert "dropped because nobody read them" in one.tree.run("status").stdout
    assert one.stop() == 0
    for kept in (one.tree.folder / "state").iterdir():
        assert b'"event"' not in kept.read_bytes(), f"events went into {kept}"


def test_a_pipe_that_nobody_reads_stops_no_job(daemon):
    """With stdout a full pipe, logs are rotated and compressed, status answers, and SIGTERM ends it."""
    one = daemon(ONE)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, b"x" * 512):
            pass
    os.set_blocking(writer, True)
    one.start(writer)
    _is_rotated_unheard(one)
    assert one.status()["events"]["dropped"] == 0, "a few events find room in the queue"
    begun = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - begun < 10, "five times what is promised, on a machine that may be busy"
    assert b"event" not in os.read(reader, 1 << 20)
    os.close(reader)
    os.close(writer)


def _is_rotated_unheard(one: Daemon) -> None:
    log = one.grow("a/x.log")
    until(lambda: list(log.parent.glob("x.log.*.zst")), "it is rotated and compressed", DEADLINE)
