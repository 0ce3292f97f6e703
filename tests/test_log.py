"""Events are one flat JSON object a line; a reader that is slow, gone or never there stops nothing."""

import json
import os
import resource
import threading
from dataclasses import dataclass
from typing import ClassVar

import pytest

from maintd.events import Event
from maintd.log import LONGEST_LINE, Envelope, Log, to_descriptor
from maintd.steps import Outcome


@dataclass(frozen=True, kw_only=True)
class Seen(Event):
    """An event for these tests."""

    name: ClassVar[str] = "test.seen"

    count: int = 0
    text: str | None = None

    @property
    def msg(self) -> str:
        return f"saw {self.count}"


def lines(write_events, **options) -> list[dict]:
    out: list[bytes] = []
    log = Log(out.append, **options)
    write_events(log)
    log.close(5)
    return [json.loads(line) for line in out]


def test_the_keys_come_in_their_order():
    """ts, level, event, msg, job, target, run, outcome, dur_ms, seq come first, then the event's own fields."""
    envelope = Envelope("rotate.x", "ab12", "warning", Outcome.SUCCESS, 1.234)
    (event,) = lines(lambda log: log.emit(Seen(target="/x", count=3, text="t"), envelope))
    assert list(event) == [
        "ts", "level", "event", "msg", "job", "target", "run", "outcome", "dur_ms", "seq", "count", "text"
    ]  # fmt: skip
    assert (event["level"], event["outcome"], event["dur_ms"], event["seq"]) == ("warning", "success", 1.2, 1)
    assert event["ts"].endswith("Z")


@pytest.mark.parametrize(
    ("target", "shown"),
    [("/a\nb", "/a\\x0ab"), ("/\udcff", "/\\xff"), ("/a\\b", "/a\\\\b"), ("/\x1b[31m", "/\\x1b[31m"), ("/ä", "/ä")],
)
def test_names_are_printable(target, shown):
    """Control characters and bytes that are not UTF-8 appear as \\xNN, a backslash doubled: a line is always a line."""
    (event,) = lines(lambda log: log.emit(Seen(target=target)))
    assert event["target"] == shown


def test_a_line_is_never_longer_than_a_pipe_takes_whole():
    """A path of 4095 bytes and fields without end are cut in the middle, and the path's hash says which it was."""
    long = "/" + "ä" * 2040
    out: list[bytes] = []
    log = Log(out.append)
    log.emit(Seen(target=long, text="\x01" * 100_000))
    log.close(5)
    assert len(out[0]) <= LONGEST_LINE
    event = json.loads(out[0])
    assert event["target"].startswith("/ää")
    assert "…" in event["target"]
    assert len(event["target_sha256"]) == 64


@dataclass(frozen=True, kw_only=True)
class Quoted(Event):
    """An event that says what it is given."""

    name: ClassVar[str] = "test.quoted"

    text: str = ""

    @property
    def msg(self) -> str:
        return self.text


def test_a_line_is_short_also_if_every_character_of_it_has_to_be_escaped():
    """A job of 700 characters, a target and a message that JSON makes twice as long end in one whole line."""
    out: list[bytes] = []
    log = Log(out.append)
    log.emit(Quoted(target="/" + '"' * 4000, text='"' * 4000), Envelope("j" * 700, "ab12", outcome=Outcome.FAILURE))
    log.close(5)
    assert len(out[0]) <= LONGEST_LINE
    event = json.loads(out[0])
    assert (event["event"], event["level"], event["outcome"]) == ("test.quoted", "info", "failure")
    assert len(event["target_sha256"]) == 64


def test_a_line_that_broke_off_does_not_swallow_the_next(tmp_path):
    """When a sink fails in the middle of a line, the next one begins on a line of its own, and is whole."""
    path = tmp_path / "events"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    write = to_descriptor(descriptor)
    line = json.dumps({"text": "x" * 600}).encode() + b"\n"
    write(line)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # the second line ends after about 400 bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            write(line)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write(line)
    write(line)
    os.close(descriptor)
    first, torn, *rest = path.read_bytes().splitlines(keepends=True)
    assert 0 < len(torn) < len(line)
    assert [first, *rest] == [line] * 3


def test_a_reader_that_never_reads_blocks_nobody_and_drops_are_counted():
    """With stdout blocked every emit returns; what did not fit is counted exactly, and seq shows the gap."""
    reading, writing = os.pipe()
    log = Log(to_descriptor(writing), room=50)
    for count in range(5000):
        log.emit(Seen(count=count, text="x" * 500))
    dropped = log.dropped
    assert dropped > 4000
    got = b""
    closer = threading.Thread(target=log.close, args=[10])
    closer.start()
    while closer.is_alive() or got.count(b"\n") < 5000 - dropped:
        got += os.read(reading, 1 << 16)
        if b"events.dropped" in got:
            break
    closer.join()
    os.close(writing)
    while chunk := os.read(reading, 1 << 16):
        got += chunk
    os.close(reading)
    events = [json.loads(line) for line in got.splitlines()]
    seen = [event for event in events if event["event"] == "test.seen"]
    told = sum(event["count"] for event in events if event["event"] == "events.dropped")
    assert len(seen) + log.dropped == 5000
    assert told == log.dropped
    assert events[-1]["seq"] == 5000 + len(events) - len(seen)


def test_a_closed_stdout_ends_nothing():
    """Writing to a pipe whose reader is gone, or to a full device, is counted as dropped, and emit goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    log = Log(to_descriptor(writing))
    for count in range(10):
        log.emit(Seen(count=count))
    log.close(5)
    os.close(writing)
    assert log.dropped >= 10
    full = os.open("/dev/full", os.O_WRONLY)
    log = Log(to_descriptor(full))
    log.emit(Seen())
    log.close(5)
    os.close(full)
    assert log.dropped >= 1
