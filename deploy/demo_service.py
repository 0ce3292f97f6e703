"""One of the demo's services: realistic, numbered lines on stdout until TERM; then it notes how many it wrote.

`demo_service.py KIND LINES_PER_SECOND NOTE`: KIND is access (as nginx writes it), app (a Python service) or worker
(JSON). Each write is at most PIPE_BUF bytes of whole lines, so the kernel never tears one (pipe(7)).
"""

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

_PATHS = ("/", "/api/orders", "/api/orders/{}", "/api/prices?symbol=ACME&day={}", "/static/app.js", "/login", "/health")
_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "curl/8.5.0", "python-httpx/0.28")
_STATUS = (200, 200, 200, 200, 200, 204, 304, 404, 500)
_DOINGS = (
    "INFO app.orders order {} accepted, {} positions",
    "INFO app.db query took {} ms, {} rows",
    "DEBUG app.cache hit prices:{} ({} bytes)",
    "WARNING app.mail no answer from the relay for {} ms, attempt {}",
    "ERROR app.orders order {} refused: stock {} is gone",
)
_QUEUES = ("mail", "thumbnails", "prices", "invoices")


def access(number: int, now: datetime, dice: random.Random) -> str:
    path = dice.choice(_PATHS).format(dice.randrange(1, 90_000))
    address = f"203.0.113.{dice.randrange(256)}"
    request = f'"GET {path} HTTP/1.1" {dice.choice(_STATUS)} {dice.randrange(90, 60_000)}'
    return f'{address} - - [{now:%d/%b/%Y:%H:%M:%S +0000}] {request} "-" "{dice.choice(_AGENTS)}" req={number}'


def app(number: int, now: datetime, dice: random.Random) -> str:
    doing = dice.choice(_DOINGS).format(dice.randrange(10_000, 99_999), dice.randrange(1, 5_000))
    return f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03d} [{os.getpid()}] {doing} req={number}"


def worker(number: int, now: datetime, dice: random.Random) -> str:
    fields = {
        "ts": now.isoformat(timespec="milliseconds"),
        "level": dice.choice(("info", "info", "info", "warning")),
        "queue": dice.choice(_QUEUES),
        "task": f"{dice.getrandbits(64):016x}",
        "took_ms": round(dice.expovariate(0.02), 1),
        "seq": number,
    }
    return json.dumps(fields)


KINDS: dict[str, Callable[[int, datetime, random.Random], str]] = {"access": access, "app": app, "worker": worker}


def portions(lines: Iterator[str]) -> Iterator[tuple[bytes, int]]:
    """Whole lines in pieces that one write(2) puts into a pipe undivided, each with how many they are."""
    piece, held = b"", 0
    for line in lines:
        data = line.encode() + b"\n"
        if len(piece) + len(data) > select.PIPE_BUF:
            yield piece, held
            piece, held = b"", 0
        piece, held = piece + data, held + 1
    if piece:
        yield piece, held


def main() -> None:
    kind, rate, note = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    dice, written, begun = random.Random(kind), 0, time.monotonic()  # noqa: S311 - invented log lines, no secret
    lines = (KINDS[kind](number, datetime.now(UTC), dice) for number in count(1))
    while not ending:
        owed = int((time.monotonic() - begun) * rate) - written
        for piece, held in portions(islice(lines, max(owed, 0))):
            os.write(1, piece)
            written += held
        time.sleep(0.02)
    note.write_text(f"{written}\n", encoding="ascii")


if __name__ == "__main__":
    main()
