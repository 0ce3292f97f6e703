"""Events become JSON lines: one flat object each, at most 4096 bytes, through a bounded queue to one writer thread.

A stdout that nobody reads blocks that thread and nothing else; what no longer fits is dropped and counted, and `seq`
shows the gap.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import structlog
from structlog.typing import EventDict

from maintd.events import Event
from maintd.names import printable
from maintd.steps import Outcome
from maintd.units import counted
from maintd.values import dataclass

LONGEST_LINE = 4096
ROOM = 10_000
"""Events that wait for a slow reader, about 5 MB."""
_LONGEST_TARGET, _LONGEST_FIELD = 1200, 600

Listener = Callable[[EventDict], None]


@dataclass(frozen=True, kw_only=True)
class EventsDropped(Event):
    """stdout was not read for so long that events were dropped; jobs went on."""

    name: ClassVar[str] = "events.dropped"
    level: ClassVar[str] = "warning"

    count: int

    @property
    def msg(self) -> str:
        were = "was" if self.count == 1 else "were"
        return f"{counted(self.count, 'event')} {were} dropped because nobody read stdout"


@dataclass(frozen=True)
class Envelope:
    """What stands around an event: whose it is, and how it went. `level` overrides the event's own."""

    job: str = ""
    run: str = ""
    level: str = ""
    outcome: Outcome | None = None
    dur_ms: float | None = None


class _Lines(structlog.BoundLoggerBase):
    """structlog's front: processors make a line of the fields, and the line goes to the queue."""

    def line(self, name: str, **fields: Any) -> None:
        self._proxy_to_logger("put", event=name, **fields)


class Log:
    """Takes events from any thread and never blocks. `write` gets whole lines of bytes, in order, from one thread."""

    def __init__(self, write: Callable[[bytes], None], *, room: int = ROOM) -> None:
        self._write = write
        self._room = room
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._seq = 0
        self._dropped = 0
        self._dropped_now = 0
        self._closing = False
        self._overheard: Callable[[Event, Envelope], None] | None = None
        self._lines = structlog.wrap_logger(
            self, processors=[_fit, structlog.processors.JSONRenderer(serializer=_dump)], wrapper_class=_Lines
        )
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many events were dropped since the start."""
        return self._dropped

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def emit(self, event: Event, envelope: "Envelope | None" = None, listener: Listener | None = None) -> None:
        """Queues one event; `listener` gets the same fields, for whoever asked for this run."""
        given = envelope or Envelope()
        if self._overheard is not None:  # first, so that nothing is written that was not heard
            self._overheard(event, given)
        fields: dict[str, Any] = {
            "ts": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": given.level or event.level,
            "event": event.name,
            "msg": event.msg,
            "job": given.job or None,
            "target": event.target or None,
            "run": given.run or None,
            "outcome": given.outcome,
            "dur_ms": None if given.dur_ms is None else round(given.dur_ms, 1),
        }
        with self._changed:
            self._seq += 1
            fields |= {"seq": self._seq} | event.fields()
            fields = {key: value for key, value in fields.items() if value is not None}
            self._lines.line(event.name, **{key: value for key, value in fields.items() if key != "event"})
        if listener is not None:
            listener(fields)

    def overhear(self, listener: Callable[[Event, "Envelope"], None]) -> None:
        """Has every event told to `listener` as well, in the thread that emits it."""
        self._overheard = listener

    def put(self, line: str) -> None:
        """Queues a finished line, or counts it as dropped. Called by structlog, under the lock."""
        if len(self._waiting) >= self._room:
            self._dropped += 1
            self._dropped_now += 1
            return
        self._waiting.append(line.encode() + b"\n")
        self._changed.notify()

    def close(self, patience: float = 1.0) -> None:
        """Writes what waits, for at most `patience` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience)

    def _drain(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                line = self._waiting.popleft()
            try:
                self._write(line)
            except OSError:
                with self._changed:
                    self._dropped += 1
                    self._dropped_now += 1
                continue
            self._say_dropped()

    def _say_dropped(self) -> None:
        with self._changed:  # so that nobody takes the place of what is said
            if self._dropped_now and len(self._waiting) < self._room:
                count, self._dropped_now = self._dropped_now, 0
                self.emit(EventsDropped(count=count))


def to_descriptor(descriptor: int) -> Callable[[bytes], None]:
    """Writes whole lines to a file descriptor."""
    torn = False

    def write(line: bytes) -> None:
        nonlocal torn
        view = memoryview(b"\n" + line if torn else line)  # what is left of a line must not swallow the next one
        size = len(view)
        while view:
            torn = torn or len(view) < size
            view = view[os.write(descriptor, view) :]
        torn = False

    return write


_FIRST = ("ts", "level", "event", "msg", "job", "target", "run", "outcome", "dur_ms", "seq")


def _ordered(fields: EventDict) -> dict[str, Any]:
    return {key: fields[key] for key in _FIRST if key in fields} | dict(fields)


def _dump(fields: EventDict, **_: Any) -> str:
    return json.dumps(_ordered(fields), ensure_ascii=False, separators=(",", ":"))


def _fit(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """Makes every string printable, and the line short enough to be written in one piece (PIPE_BUF, pipe(7))."""
    target = fields.get("target", "")
    for key, value in fields.items():
        if isinstance(value, str):
            fields[key] = _cut(printable(value), _LONGEST_TARGET if key == "target" else _LONGEST_FIELD)
    if len(printable(target).encode()) > _LONGEST_TARGET:
        fields["target_sha256"] = hashlib.sha256(os.fsencode(target)).hexdigest()
    most = _LONGEST_TARGET
    while len(_dump(fields).encode()) >= LONGEST_LINE:
        most //= 2
        fields = {key: _cut(value, most) if isinstance(value, str) else value for key, value in fields.items()}
    return fields


def _cut(text: str, most: int) -> str:
    """A text of at most `most` bytes, cut in the middle, where names differ least."""
    if len(text.encode()) <= most:
        return text
    half = (most - 3) // 2
    data = text.encode()
    return f"{data[:half].decode(errors='ignore')}…{data[-half:].decode(errors='ignore')}"


def silence_stdlib_logging() -> None:
    """Keeps libraries that log through `logging` away from stdout and stderr, which carry events only."""
    import logging  # noqa: PLC0415 - only the daemon needs it, and it costs 10 ms

    logging.lastResort = None
    with contextlib.suppress(AttributeError):
        logging.raiseExceptions = False
