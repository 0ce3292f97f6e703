"""400 CSV files, 350 MB: `find -mtime +30 -exec mv` and gzip against a run of maintd's archive job.

`python bench/archive.py [--files 400] [--bytes 350M] [--rounds 3]`. The scripts' way moves the files and compresses
them where they are then (`gzip`, one after the other, as a cron job does), and is synced. Ours is a whole `maintd do`:
it plans, compresses into the archive, reads back, compares, hashes, lists, syncs each file and removes the original.
The order changes from round to round; printed are the medians of the wall times. Every file must be there as it was.
Ours works at nice 19 and needs both cores: what else runs meanwhile counts against it twice.
"""

import argparse
import gzip
import hashlib
import os
import random
import shutil  # noqa: TID251 - the banned path-based copying is fine on a scratch folder of our own
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from backports import zstd

from maintd.units import format_size, parse_size

MAINTD = Path(__file__).resolve().parents[1] / ".venv/bin/maintd"
WAYS = ("find, mv, gzip", "maintd archive")
OLD = 40 * 86_400


def price_history(folder: Path, files: int, size: int) -> dict[str, str]:
    """Files of prices, minute by minute, one a day; returns the SHA-256 of each by its name."""
    rng = random.Random(7)
    then = time.time() - OLD
    digests = {}
    for number in range(files):
        day = date(2024, 1, 1) + timedelta(days=number)
        lines, left, price, at = ["time,symbol,bid,ask,volume\n"], size // files, 100.0 + number, 0
        while left > 0:
            price += rng.gauss(0, 0.02)
            at += rng.randrange(1, 4)
            clock = f"{at // 3600 % 24:02d}:{at // 60 % 60:02d}:{at % 60:02d}"
            symbol, volume = rng.choice(("EURUSD", "BTCEUR", "XAUUSD")), rng.randrange(5000)
            line = f"{day}T{clock}Z,{symbol},{price:.5f},{price + 0.0001:.5f},{volume}\n"
            lines.append(line)
            left -= len(line)
        path = folder / f"day{number:04d}.csv"
        data = "".join(lines).encode()
        path.write_bytes(data)
        os.utime(path, (then, then))
        digests[path.name] = hashlib.sha256(data).hexdigest()
    return digests


def by_script(source: Path, archive: Path) -> None:
    archive.mkdir()
    subprocess.run(["find", source, "-name", "*.csv", "-mtime", "+30", "-exec", "mv", "{}", archive, ";"], check=True)
    subprocess.run(["find", archive, "-name", "*.csv", "-exec", "gzip", "{}", ";"], check=True)
    subprocess.run(["sync", "-f", archive], check=True)


def by_maintd(source: Path, archive: Path) -> None:
    config = source.parent / "maintd.toml"
    config.write_text(
        f'[daemon]\nstate_dir = "{source.parent}/state"\nruntime_dir = "{source.parent}/run"\n'
        f'[archive.prices]\npaths = ["{source}/*.csv"]\nto = "{archive}"\nolder_than = "30d"\ncron = "@daily"\n'
    )
    config.chmod(0o644)
    subprocess.run([MAINTD, "-c", config, "do", "--all"], check=True, stdout=subprocess.DEVNULL)


def read_back(archive: Path) -> dict[str, str]:
    """The SHA-256 of what each archived file holds, by the name of its original."""
    found = {}
    for path in archive.iterdir():
        unpack = {".zst": zstd.decompress, ".gz": gzip.decompress}.get(path.suffix)
        if unpack:
            found[path.name.removesuffix(path.suffix)] = hashlib.sha256(unpack(path.read_bytes())).hexdigest()
    return found


def report(files: int, size: int, rounds: int) -> None:
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        scratch = Path(name).resolve()
        (scratch / "prices").mkdir()
        digests = price_history(scratch / "prices", files, size)
        for number in range(rounds):
            for way in WAYS[:: 1 if number % 2 == 0 else -1]:
                here = scratch / "round"
                here.mkdir()
                shutil.copytree(scratch / "prices", here / "source", copy_function=shutil.copy2)
                os.sync()
                begun = time.perf_counter()
                (by_script if way == WAYS[0] else by_maintd)(here / "source", here / "archive")
                took[way].append(time.perf_counter() - begun)
                if read_back(here / "archive") != digests or list((here / "source").iterdir()):
                    sys.exit(f"{way}: not every file was archived as it was")
                sizes[way] = sum(path.stat().st_size for path in (here / "archive").iterdir())
                shutil.rmtree(here)
    print(f"{files} CSV files, {format_size(size)}, {rounds} rounds, medians; {os.cpu_count()} cores")
    seconds = {way: statistics.median(took[way]) for way in WAYS}
    for way in WAYS:
        print(
            f"{way:15} {seconds[way]:6.2f} s  {seconds[WAYS[0]] / seconds[way]:5.2f} times as fast"
            f"  {format_size(sizes[way]):>9}, {100 * (sizes[way] / sizes[WAYS[0]] - 1):+5.1f} %  all read back"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Archives a price history in two ways.")
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--bytes", default="350M")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    report(arguments.files, parse_size(arguments.bytes), arguments.rounds)


if __name__ == "__main__":
    main()
