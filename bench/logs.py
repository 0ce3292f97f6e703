"""`maintd logs --grep` over compressed generations against zstdgrep and zgrep over the same files.

`python bench/logs.py [--bytes 500M] [--generations 50] [--rounds 5] [--from DIR]`. The log text is cut into generations
of equal size, as `maintd do` leaves them: once compressed with zstd, once with gzip. Each is searched for five regular
expressions: two with a literal in them, one that only has classes, one with alternatives, one that ignores case. All
find the same lines, which is checked; all files are in the page cache. Printed are medians of the wall times, their
ratio (at most 1 is asked), and that of the CPU.
"""

import argparse
import os
import shutil  # noqa: TID251 - only to find a tool
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from backports import zstd
from corpus import text
from zlib_ng import gzip_ng

from maintd.units import format_size, parse_size

MAINTD = Path(__file__).resolve().parents[1] / ".venv/bin/maintd"
PEERS = {"zstd": "zstdgrep", "gzip": "zgrep"}
NEEDLE = b"2026-03-01 00:00:00 ERROR needle %04d took 17.250 ms\n"
PATTERNS = (
    "needle 00[0-4]",
    "needle .* took [0-9]+[.]25",
    "[Nn]eedle [0-9]+ took",
    "needle 00[0-4]|took 17[.]25",
    "(?i)NEEDLE",
)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def make(folder: Path, size: int, count: int, samples: str | None) -> None:
    """`count` generations of one log for each codec, with a needle in each; the live log is empty."""
    windows = text(7, samples)
    for number in range(count):
        parts: list[bytes] = []
        while sum(map(len, islice(parts, len(parts)))) < size // count:
            parts.append(next(windows).rpartition(b"\n")[0] + b"\n")
        content = b"".join([*parts, NEEDLE % number])
        name = f"app.log.{FIRST + timedelta(hours=number):%Y%m%dT%H%M%SZ}"
        for codec, suffix in (("zstd", ".zst"), ("gzip", ".gz")):
            path = folder / codec / (name + suffix)
            path.parent.mkdir(exist_ok=True)
            plain = path.with_suffix("")
            plain.write_bytes(content)
            compress(plain, path, codec)
    for codec in PEERS:
        (folder / codec / "app.log").touch()


def compress(plain: Path, path: Path, codec: str) -> None:
    data = plain.read_bytes()
    plain.unlink()
    if codec == "gzip":
        path.write_bytes(gzip_ng.compress(data, 5))
        return
    pieces = (data[at : at + (512 << 10)] for at in range(0, len(data), 512 << 10))
    options = {zstd.CompressionParameter.compression_level: 1, zstd.CompressionParameter.checksum_flag: 1}
    path.write_bytes(b"".join(zstd.compress(piece, options=options) for piece in pieces))


def timed(command: Sequence[str | Path]) -> tuple[float, float, bytes]:
    """Seconds on the clock, seconds of CPU, and what was found."""
    start, before = time.perf_counter(), os.times()
    done = subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu, done.stdout


def compare(folder: Path, codec: str, pattern: str, rounds: int) -> str:
    log = folder / codec / "app.log"
    ignore = ["-i"] if pattern.startswith("(?i)") else []
    peer = [PEERS[codec], "-h", *ignore, "-E", pattern.removeprefix("(?i)"), *sorted(log.parent.glob("app.log.2*"))]
    ours = [MAINTD, "logs", log, "--grep", pattern]
    walls: dict[str, list[float]] = {"peer": [], "ours": []}
    cpus: dict[str, list[float]] = {"peer": [], "ours": []}
    found: dict[str, bytes] = {}
    for turn in range(rounds):
        for name, command in (("peer", peer), ("ours", ours))[:: 1 if turn % 2 else -1]:
            wall, cpu, found[name] = timed(command)
            walls[name].append(wall)
            cpus[name].append(cpu)
    if found["peer"] != found["ours"] or not found["ours"]:
        raise SystemExit(f"{pattern!r}: not the same lines")
    theirs, own = statistics.median(walls["peer"]), statistics.median(walls["ours"])
    lines = found["ours"].count(b"\n")
    times = f"{PEERS[codec]} {theirs:6.2f} s  maintd {own:6.2f} s"
    share = statistics.median(cpus["ours"]) / statistics.median(cpus["peer"])
    return f"  {pattern:<28} {lines:3} lines  {times}  ratio {own / theirs:.2f}  CPU {share:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=parse_size, default=parse_size("500M"))
    parser.add_argument("--generations", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--from", dest="samples")
    options = parser.parse_args()
    missing = [peer for peer in PEERS.values() if shutil.which(peer) is None]
    if missing:
        raise SystemExit(f"{missing[0]} is not installed: apt-get install zstd gzip")
    with tempfile.TemporaryDirectory(prefix="maintd-bench-") as name:
        make(Path(name), options.bytes, options.generations, options.samples)
        for codec in PEERS:
            size = sum(path.stat().st_size for path in (Path(name) / codec).iterdir())
            print(f"{format_size(options.bytes)} in {options.generations} generations, {format_size(size)} of {codec}")
            for pattern in PATTERNS:
                print(compare(Path(name), codec, pattern, options.rounds))


if __name__ == "__main__":
    main()
