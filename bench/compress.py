"""One 256 MB log: `gzip -6` against maintd's zstd and gzip, each in a child, verification and fsync included.

`python bench/compress.py [--bytes 256M] [--rounds 3] [--from DIR]`. `gzip -6` replaces the log by its compressed file,
which is then synced. Ours is all that the daemon's child does for a file: it starts, compresses in two threads, reads
back, decompresses and compares the hash, copies the attributes, syncs, renames and removes the original; at nice 0, as
gzip has it too. The order changes from round to round; printed are the medians of the wall times, and whether the
system's own gzip and zstd give the log back. Ours needs both cores: what else runs meanwhile counts against it twice.
"""

import argparse
import hashlib
import os
import shutil  # noqa: TID251 - the banned path-based copying is fine on a scratch folder of our own
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from corpus import write

from maintd.child import Worker
from maintd.copies import Request
from maintd.steps import Seen
from maintd.units import format_size, parse_size

_WAYS = ("gzip -6", "maintd zstd", "maintd gzip")


def timed(way: str, source: str) -> float:
    """Seconds for one way to compress `source` beside itself."""
    start = time.perf_counter()
    if way == "gzip -6":
        subprocess.run(["gzip", "-6", source], check=True)
        with Path(f"{source}.gz").open("rb") as packed:
            os.fsync(packed.fileno())
    else:
        request = Request(source, Seen.of(source, os.stat(source)), way.removeprefix("maintd "), None, False, False)
        with Worker(background=False) as worker:
            worker.call("maintd.copies:compress_file", {"request": asdict(request)})
    return time.perf_counter() - start


def rounds(count: int, log: str, scratch: str) -> Iterator[tuple[str, float, int, str]]:
    for number in range(count):
        for way in _WAYS[number % 3 :] + _WAYS[: number % 3]:
            source, packed = f"{scratch}/copy", f"{scratch}/copy{'.zst' if 'zstd' in way else '.gz'}"
            shutil.copyfile(log, source)
            os.sync()
            took = timed(way, source)
            yield way, took, os.stat(packed).st_size, readable(packed, log)
            os.unlink(packed)


def readable(packed: str, log: str) -> str:
    """Whether the system's own tool gives the log back."""
    tool = "zstd" if packed.endswith(".zst") else "gzip"
    try:
        with subprocess.Popen([tool, "-dc"], stdin=open(packed, "rb"), stdout=subprocess.PIPE) as process:
            got = hashlib.file_digest(process.stdout, "sha256").digest()
    except FileNotFoundError:
        return f"no {tool} here"
    with Path(log).open("rb") as file:
        return f"read by {tool}" if got == hashlib.file_digest(file, "sha256").digest() else f"NOT READ by {tool}"


def report(size: int, count: int, folder: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
        log = f"{scratch}/log"
        with Path(log).open("wb") as file:
            write(file, size, 7, folder)
        results = list(rounds(count, log, scratch))
    seconds = {way: statistics.median(took for name, took, *_ in results if name == way) for way in _WAYS}
    sizes = {way: out for way, _, out, _ in results}
    verdicts = {way: verdict for way, *_, verdict in results}
    base = _WAYS[0]
    print(f"one log of {format_size(size)}, {count} rounds, medians; {os.cpu_count()} cores, nice {os.nice(0)}")
    for way in _WAYS:
        print(
            f"{way:12} {seconds[way]:6.2f} s  {seconds[base] / seconds[way]:5.2f} times as fast"
            f"  {format_size(sizes[way]):>9}, {100 * (sizes[way] / sizes[base] - 1):+5.1f} %"
            f"  ratio {size / sizes[way]:5.2f}  {verdicts[way]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compresses one log in three ways.")
    parser.add_argument("--bytes", default="256M")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--from", dest="folder", help="a folder of *.log with real lines, see corpus.py")
    arguments = parser.parse_args()
    report(parse_size(arguments.bytes), arguments.rounds, arguments.folder)


if __name__ == "__main__":
    main()
