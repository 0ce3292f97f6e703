"""What growth watching costs and how soon it notices, in one run: `python bench/growth.py` (about a minute).

(a) CPU of our watch beside 12 logs that get 60,000 lines a second in all, against watchdog's recursive Observer with
all events, each in a process of its own; (b) the time from the write that passes the size to the Due, 12 logs at 5,000
lines a second each; (c) the interval and CPU with 400 logs; (d) start, bound and CPU with 10,000 files.
"""

import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from maintd.job import Watched
from maintd.triggers import Due, Grown
from maintd.watch import Watch

LOGS, RATE, SECONDS = 12, 5_000, 4.0
NEVER = 1 << 50
LINE = b"2026-01-05T12:00:00.000Z INFO api request handled path=/v1/items status=200 dur_ms=12 id=%010d\n"


def _write(path: str, seconds: float, limit: int) -> None:
    """A service: about RATE lines a second, each its own write; a new file as soon as the old one was moved away.

    Prints the inode and the monotonic time of each write that passed `limit`, then the number of lines.
    """
    end = time.monotonic() + seconds
    rate = RATE * random.Random(path).uniform(0.9, 1.1)  # so that the logs do not pass it in step with the poll
    begun, lines = time.monotonic(), 0
    log, size = _opened(path)
    while time.monotonic() < end:
        for _ in range(int((time.monotonic() - begun) * rate) - lines):
            passed = size > limit
            size += os.write(log, LINE % lines)
            lines += 1
            if size > limit and not passed:
                print(json.dumps([os.fstat(log).st_ino, time.monotonic()]), flush=True)
            if size > limit and lines % 50 == 0 and not os.path.exists(path):
                os.close(log)
                log, size = _opened(path)
        time.sleep(0.002)
    print(lines, flush=True)


def _opened(path: str) -> tuple[int, int]:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 0


def _observe(directory: str, seconds: float) -> None:
    """The naive watch: one recursive Observer, all events, a handler that looks at the size."""
    from watchdog.events import FileSystemEventHandler  # noqa: PLC0415, TID251 - the peer, in its own process
    from watchdog.observers import Observer  # noqa: PLC0415, TID251 - the peer, in its own process

    class Handler(FileSystemEventHandler):
        def on_modified(self, event) -> None:
            if not event.is_directory and os.path.exists(event.src_path):
                os.path.getsize(event.src_path)

    observer = Observer()
    observer.schedule(Handler(), directory, recursive=True)
    observer.start()
    _measured(seconds)


def _watch(directory: str, seconds: float) -> None:
    watch = Watch(lambda _: None)
    watch.set("rotate.bench", [Watched((f"{directory}/*.log",), (), NEVER)])
    watch.start()
    _measured(seconds, watch)
    watch.stop()


def _measured(seconds: float, watch: Watch | None = None) -> None:
    """Prints this process's CPU as a share of one core over `seconds`, after a moment to settle."""
    time.sleep(1.0)
    begun, spent = time.monotonic(), time.process_time()
    time.sleep(seconds)
    share = (time.process_time() - spent) / (time.monotonic() - begun)
    print(json.dumps([share, watch.bound if watch else 0.0, watch.files if watch else 0]), flush=True)


@contextmanager
def _processes(*calls: tuple[object, ...]) -> Iterator[list[subprocess.Popen[str]]]:
    argvs = [[sys.executable, __file__, *map(str, call)] for call in calls]
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for argv in argvs]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def _result(process: subprocess.Popen[str]) -> list[float]:
    out, _ = process.communicate(timeout=60)
    return json.loads(out)


def cpu_beside_writers(root: Path, watcher: str) -> tuple[float, float]:
    """The watcher's share of a core, and the lines a second that were written beside it."""
    directory = root / watcher
    directory.mkdir()
    paths = [directory / f"{n}.log" for n in range(LOGS)]
    writers = [("write", path, SECONDS + 2, NEVER) for path in paths]
    with _processes((watcher, directory, SECONDS), *writers) as (process, *writing):
        share = _result(process)[0]
        lines = sum(int(one.communicate(timeout=60)[0]) for one in writing)
    return share, lines / (SECONDS + 2)


def latencies(root: Path, limit: int = 400_000) -> list[float]:
    """Seconds from the write that passed the size to the Due, one for each; the log is then moved away at once."""
    directory = root / "latency"
    directory.mkdir()
    (directory / "old").mkdir()
    dues: queue.SimpleQueue[tuple[float, Due]] = queue.SimpleQueue()
    watch = Watch(lambda due: dues.put((time.monotonic(), due)))
    watch.set("rotate.bench", [Watched((f"{directory}/*.log",), (), limit)])
    watch.start()
    noticed: dict[int, float] = {}
    seconds = 10.0
    with _processes(*(("write", directory / f"{n}.log", seconds, limit) for n in range(LOGS))) as writing:
        while any(process.poll() is None for process in writing):
            try:
                when, due = dues.get(timeout=0.2)
            except queue.Empty:
                continue
            assert isinstance(due.cause, Grown)
            for path in due.cause.paths:
                inode = os.stat(path).st_ino
                noticed.setdefault(inode, when)
                os.rename(path, directory / "old" / f"{len(noticed)}")
        passed = [json.loads(line) for process in writing for line in process.communicate()[0].splitlines()[:-1]]
    watch.stop()
    end = max(when for _, when in passed)
    settled = [(inode, when) for inode, when in passed if when < end - 1]
    return sorted(noticed.get(inode, float("inf")) - when for inode, when in settled)


def many(root: Path, files: int, seconds: float) -> tuple[float, float, float]:
    """Seconds until all files are watched, the bound in seconds, and the share of a core afterwards."""
    directory = root / f"many{files}"
    directory.mkdir()
    for n in range(files):
        os.close(os.open(directory / f"service-{n}.log", os.O_CREAT | os.O_WRONLY))
    watch = Watch(lambda _: None)
    watch.set("rotate.bench", [Watched((f"{directory}/*.log",), (f"{directory}/debug*.log",), NEVER)])
    begun = time.monotonic()
    watch.start()
    while watch.files < files:
        time.sleep(0.005)
    took = time.monotonic() - begun
    watch.stop()
    with _processes(("watch", directory, seconds)) as (process,):
        share, bound, _ = _result(process)
    return took, bound, share


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as name:
        root = Path(name)
        ours, rate = cpu_beside_writers(root, "watch")
        naive, naive_rate = cpu_beside_writers(root, "observe")
        print(f"(a) {LOGS} logs, {rate:,.0f} lines/s: maintd {ours:.2%} of a core; naive Observer {naive:.1%}")
        print(f"    ({naive_rate:,.0f} lines/s beside it): {naive / ours:.0f} times as much")
        late = latencies(root)
        p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
        print(f"(b) size passed → due, {len(late)} times: p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms,", end=" ")
        print(f"max {late[-1] * 1e3:.0f} ms")
        for mark, files, seconds in (("c", 400, 5.0), ("d", 10_000, 20.0)):
            took, bound, share = many(root, files, seconds)
            print(f"({mark}) {files:,} files: start {took:.2f} s, bound {bound * 1e3:.0f} ms, {share:.2%} of a core")


CALLS: dict[str, Callable[[list[str]], None]] = {
    "write": lambda a: _write(a[0], float(a[1]), int(a[2])),
    "observe": lambda a: _observe(a[0], float(a[1])),
    "watch": lambda a: _watch(a[0], float(a[1])),
}

if __name__ == "__main__":
    if sys.argv[1:]:
        CALLS[sys.argv[1]](sys.argv[2:])
    else:
        main()
