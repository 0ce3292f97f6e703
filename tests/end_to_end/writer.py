"""A service for tests: numbered lines on stdout, so many a second, until it is told to stop; then it says how many."""

import os
import signal
import sys
import time

name, rate = sys.argv[1], int(sys.argv[2])
most = int(sys.argv[3]) if len(sys.argv) > 3 else 0
going = True


def stop(*_: object) -> None:
    global going  # noqa: PLW0603 - a signal handler has nothing else
    going = False


signal.signal(signal.SIGTERM, stop)
count, begun = 0, time.monotonic()
while going and not (most and count >= most):
    wanted = int((time.monotonic() - begun) * rate) + 1
    batch = range(count, min(wanted, count + 1000, most or wanted))
    text = "".join(
        f"{name} {number:09d} 2026-11-23T10:00:00 INFO request handled in 12 ms status=200\n" for number in batch
    )
    os.write(1, text.encode())
    count += len(batch)
    time.sleep(0.005)
while going:
    time.sleep(0.05)
