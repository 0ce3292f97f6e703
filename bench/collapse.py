"""How long a writer waits while its log is rotated in place, beside a control writer whose log is left alone.

`python bench/collapse.py [--mib 64] [--rounds 5] [--folder FOLDER]`: a process appends 5,000 lines a second, one
write(2) a line, to a log of this size. In each round that is done once with the log left alone, once while `maintd do`
archives and collapses it, and once, if it is installed, with logrotate's copytruncate. Printed are the longest writes,
and the lines that were lost. Beside the latter two a second control writer writes as much to a log of its own, on the
same disk and at the same time: what the disk or the machine keeps anybody waiting for, both wait for.
"""

import argparse
import json
import shutil  # noqa: TID251 - only to find a tool
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAINTD = ROOT / ".venv/bin/maintd"

WRITER = """
import json, os, sys, time

path, mib, rate = sys.argv[1], int(sys.argv[2]), 5000
log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
line, number = "2026-01-05T12:00:00.000Z INFO api request handled path=/v1/items status=200 id=%010d\\n", 0
while os.fstat(log).st_size < mib << 20:
    block = "".join(line % (number + i) for i in range(10_000))
    os.write(log, block.encode())
    number += 10_000
os.fsync(log)
print("ready", flush=True)
for order in sys.stdin:
    waits, begun, first = [], time.monotonic(), number
    while time.monotonic() - begun < float(order):
        for _ in range(int((time.monotonic() - begun) * rate) - (number - first)):
            before = time.monotonic()
            os.write(log, (line % number).encode())
            waits.append(time.monotonic() - before)
            number += 1
        time.sleep(0.001)
    waits.sort()
    print(json.dumps([waits[-1] * 1000, waits[int(len(waits) * 0.999)] * 1000, number]), flush=True)
"""


class Writer:
    def __init__(self, log: Path, mib: int) -> None:
        self.log = log
        argv = [sys.executable, "-IS", "-c", WRITER, log, str(mib)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "ready\n"

    def begin(self, seconds: float) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def end(self) -> tuple[float, float, int]:
        """The longest wait and that of 99.9 % of the writes, in ms, and how many lines it wrote in all."""
        longest, most, lines = json.loads(self._line())
        return longest, most, lines

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()


def _lines(folder: Path, log: str) -> int:
    """How many lines a log and its archives hold; blank ones apart."""
    count = 0
    for path in folder.iterdir():
        if path.name.startswith(log):
            program = {".zst": "zstdcat", ".gz": "zcat"}.get(path.suffix, "cat")
            found = subprocess.run(f"{program} '{path}' | grep -c INFO", shell=True, capture_output=True, check=False)
            count += int(found.stdout)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="How long a writer waits for a rotation in place.")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where, to say on which file system")
    options = parser.parse_args()
    logrotate = shutil.which("logrotate")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        config = folder / "maintd.toml"
        config.write_text(
            f'[daemon]\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n'
            f'[rotate.one]\npaths = ["{folder}/maintd.log"]\ncron = "@daily"\n'
        )
        (folder / "logrotate.conf").write_text(f"{folder}/logrotate.log {{\n rotate 99\n copytruncate\n}}\n")
        done: dict[str, list[tuple[float, float, int]]] = {"control": [], "maintd": []} | (
            {"logrotate": []} if logrotate else {}
        )
        beside: dict[str, list[float]] = {who: [] for who in done}
        commands: dict[str, list[object]] = {
            "maintd": [MAINTD, "-c", config, "do", "--all"],
            "logrotate": [logrotate, "-f", "-s", folder / "state.txt", folder / "logrotate.conf"],
        }
        for _ in range(options.rounds):
            for who, figures in done.items():
                round_, neighbour = _round(folder, who, options.mib, commands.get(who))
                figures.append(round_)
                beside[who].append(neighbour)
    print(f"a log of {options.mib} MiB, a line every 0.2 ms, {options.rounds} rounds")
    for who, figures in done.items():
        longest, most = sorted(figure[0] for figure in figures), sorted(figure[1] for figure in figures)
        lost = sum(figure[2] for figure in figures)
        middle = len(figures) // 2
        print(
            f"{who:10} longest write: median {longest[middle]:6.1f} ms, worst {longest[-1]:6.1f} ms; "
            f"99.9 % within {most[middle]:.2f} ms; lost lines {lost}"
        )
    controls = {
        "the control writer": [figure[0] for figure in done["control"]],
        "the control writer beside it": beside["maintd"],
    }
    for name, control in controls.items():
        slower = sorted(a[0] - b for a, b in zip(done["maintd"], control, strict=True))
        print(f"maintd beyond {name}: median {slower[len(slower) // 2]:.1f} ms, worst {slower[-1]:.1f} ms")


def _round(folder: Path, who: str, mib: int, command: list[object] | None) -> tuple[tuple[float, float, int], float]:
    """The figures of the writer, and the longest wait (ms) of the one beside it."""
    for path in [*folder.glob(f"{who}.log*"), *folder.glob("beside.txt")]:
        path.unlink()
    writers = [Writer(folder / f"{who}.log", mib), Writer(folder / "beside.txt", 1)]
    for writer in writers:
        writer.begin(3)
    time.sleep(1)
    if command:
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
    (longest, most, lines), (neighbour, _, _) = (writer.end() for writer in writers)
    for writer in writers:
        writer.process.communicate()
    return (longest, most, lines - _lines(folder, f"{who}.log")), neighbour


if __name__ == "__main__":
    main()
