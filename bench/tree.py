"""A tree of 120 logs, 500 MB in all: `logrotate` with compress against `maintd do`, doing the same.

`python bench/tree.py [--bytes 500M] [--logs 120] [--rounds 3] [--from DIR]`. Both rotate every log and compress it at
once: logrotate (Debian's package) through gzip, which it neither syncs nor verifies; maintd with zstd and with gzip as
it always does, synced, read back and compared, in a child at nice 19 with two threads. The tree is copied anew for each
run and the caches are synced before; printed are the medians of the wall times, the sizes, and their ratios.
"""

import argparse
import os
import shutil  # noqa: TID251 - the banned path-based copying is fine on a scratch folder of our own
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from corpus import write

from maintd.units import format_size, parse_size

MAINTD = Path(__file__).resolve().parents[1] / ".venv/bin/maintd"
WAYS = ("logrotate gzip", "maintd zstd", "maintd gzip")


def make_tree(folder: Path, logs: int, size: int, samples: str | None) -> None:
    """`logs` files of about `size` / `logs` bytes each, in 12 folders."""
    whole = folder / "whole"
    with whole.open("wb") as out:
        write(out, size, 7, samples)
    share = size // logs
    with whole.open("rb") as lines:
        for number in range(logs):
            path = folder / f"tree/app{number % 12:02d}/service{number:03d}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(lines.read(share) + lines.readline())
    whole.unlink()


def timed(way: str, tree: Path, folder: Path) -> float:
    """Seconds for rotating and compressing the whole tree."""
    tool, codec = way.split()
    if tool == "logrotate":
        conf = folder / "logrotate.conf"
        conf.write_text(f"{tree}/*/*.log {{\n  rotate 7\n  size 1\n  compress\n  create\n}}\n")
        conf.chmod(0o644)
        command = ["logrotate", "-f", "-s", str(folder / "logrotate.state"), str(conf)]
    else:
        conf = folder / "maintd.toml"
        conf.write_text(
            f'[daemon]\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/socket"\n'
            f'[rotate.tree]\npaths = ["{tree}/*/*.log"]\ncron = "@daily"\nkeep = 7\ncompress = "{codec}"\n'
        )
        conf.chmod(0o644)
        command = [str(MAINTD), "-c", str(conf), "do", "rotate.tree"]
    os.sync()
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def compressed_size(tree: Path, logs: int) -> int:
    found = [path for path in tree.rglob("*") if path.suffix in (".gz", ".zst")]
    if len(found) != logs:
        raise SystemExit(f"{len(found)} compressed files instead of {logs}")
    return sum(path.stat().st_size for path in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=parse_size, default=parse_size("500M"))
    parser.add_argument("--logs", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--from", dest="samples")
    options = parser.parse_args()
    if shutil.which("logrotate") is None:
        raise SystemExit("logrotate is not installed: apt-get install logrotate")
    walls: dict[str, list[float]] = {way: [] for way in WAYS}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="maintd-bench-") as name:
        folder = Path(name)
        make_tree(folder, options.logs, options.bytes, options.samples)
        for turn in range(options.rounds):
            for way in WAYS[turn % 3 :] + WAYS[: turn % 3]:
                tree = folder / "run"
                shutil.copytree(folder / "tree", tree)
                walls[way].append(timed(way, tree, folder))
                sizes[way] = compressed_size(tree, options.logs)
                shutil.rmtree(tree)
    peer, peer_size = statistics.median(walls[WAYS[0]]), sizes[WAYS[0]]
    print(f"{options.logs} logs, {format_size(options.bytes)}, median of {options.rounds} rounds")
    for way in WAYS:
        wall = statistics.median(walls[way])
        print(
            f"  {way:<15} {wall:6.2f} s  {format_size(sizes[way]):>10}"
            f"  {peer / wall:5.2f} times as fast  {sizes[way] / peer_size:6.1%} of its size"
        )


if __name__ == "__main__":
    main()
