"""A service for tests: `writer.py NAME RATE [MOST | stamped]` writes RATE numbered lines a second to stdout.

It ends its lines after MOST of them and lives on, or puts the time into each line, until it is told to stop.
"""

import os
import signal
import sys
import time

name, rate, option = sys.argv[1], int(sys.argv[2]), (sys.argv[3:] or ["0"])[0]
stamped = option == "stamped"
most = 0 if stamped else int(option)
going = True


def stop(*_: object) -> None:
    global going  # noqa: PLW0603 - a signal handler has nothing else
    going = False


signal.signal(signal.SIGTERM, stop)
count, begun = 0, time.monotonic()
while going and not (most and count >= most):
    wanted = int((time.monotonic() - begun) * rate) + 1
    batch = range(count, min(wanted, count + 1000, most or wanted))
    when = f"{time.time():.6f}" if stamped else "2026-11-23T10:00:00"
    text = "".join(f"{name} {number:09d} {when} INFO request handled in 12 ms status=200\n" for number in batch)
    os.write(1, text.encode())
    count += len(batch)
    time.sleep(0.005)
while going:
    time.sleep(0.05)
