"""1,000 logs in 100 stanzas: `logrotate` against `maintd-logrotate`, with the same configuration and state.

`python bench/logrotate.py [--logs 1000] [--stanzas 100] [--kib 64] [--rounds 3] [--from DIR]`. Three kinds of run, each
on a tree and a state file that are laid anew for each program: nothing is due; every log is rotated and made anew, with
a postrotate a stanza; the same with compress, which maintd does in process. Printed are the medians of wall and CPU
time, children included, and logrotate's divided by maintd's: above 1 maintd is faster.
"""

import argparse
import os
import resource
import shutil  # noqa: TID251 - the banned path-based copying is fine on a scratch folder of our own
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from corpus import write

MAINTD = Path(__file__).resolve().parents[1] / ".venv/bin/maintd-logrotate"
PROGRAMS = {"logrotate": "logrotate", "maintd": str(MAINTD)}
KINDS = {"nothing due": "", "rotated": "", "rotated, compress": "compress\n"}


@dataclass(frozen=True)
class Took:
    """Seconds of the clock, and of the processor, children included."""

    wall: float
    cpu: float


def lay(tree: Path, folder: Path, kind: str) -> None:
    """The logs, a stanza for each of their directories, and a state file by which they are due or not."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    shutil.copytree(tree, folder / "run")
    stanzas = []
    for directory in sorted((folder / "run").iterdir()):
        script = "sharedscripts\npostrotate\n:\nendscript\n"
        stanzas.append(f"{directory}/*.log {{\ndaily\nrotate 7\ncreate\n{KINDS[kind]}{script}}}\n")
    (folder / "conf").write_text("".join(stanzas))
    (folder / "conf").chmod(0o644)
    day = time.strftime("%Y-%m-%d-%H:%M:%S") if kind == "nothing due" else "2026-1-1-0:0:0"
    entries = (f'"{log}" {day}\n' for log in (folder / "run").glob("*/*.log"))
    (folder / "state").write_text("logrotate state -- version 2\n" + "".join(entries))
    (folder / "state").chmod(0o640)


def timed(program: str, folder: Path) -> Took:
    os.sync()
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([PROGRAMS[program], "-s", str(folder / "state"), str(folder / "conf")], check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def check(folder: Path, options: argparse.Namespace, kind: str) -> None:
    suffix = {"nothing due": "", "rotated": ".1", "rotated, compress": ".1.gz"}[kind]
    found = len(list((folder / "run").glob(f"*/*.log{suffix}")))
    if found != options.logs:
        raise SystemExit(f"{kind}: {found} files instead of {options.logs}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=1000)
    parser.add_argument("--stanzas", type=int, default=100)
    parser.add_argument("--kib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--from", dest="samples")
    options = parser.parse_args()
    if shutil.which("logrotate") is None:
        raise SystemExit("logrotate is not installed: apt-get install logrotate")
    took: dict[tuple[str, str], list[Took]] = {(kind, program): [] for kind in KINDS for program in PROGRAMS}
    with tempfile.TemporaryDirectory(prefix="maintd-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sample = folder / "sample"
        with sample.open("wb") as out:
            write(out, options.kib << 10, 7, options.samples)
        for number in range(options.logs):
            path = folder / f"tree/s{number % options.stanzas:03d}/app{number:04d}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sample, path)
        for turn in range(options.rounds):
            for kind in KINDS:
                for program in list(PROGRAMS)[:: 1 if turn % 2 else -1]:
                    lay(folder / "tree", folder, kind)
                    took[kind, program].append(timed(program, folder))
                    check(folder, options, kind)
    print(f"{options.logs} logs of {options.kib} KiB in {options.stanzas} stanzas, median of {options.rounds} rounds")
    for kind in KINDS:
        theirs, ours = (
            Took(*(statistics.median(getattr(one, what) for one in took[kind, program]) for what in ("wall", "cpu")))
            for program in PROGRAMS
        )
        print(
            f"  {kind:<18} wall: logrotate {theirs.wall:6.2f} s, maintd {ours.wall:6.2f} s, "
            f"ratio {theirs.wall / ours.wall:5.2f}   "
            f"CPU: {theirs.cpu:6.2f} s, {ours.cpu:6.2f} s, ratio {theirs.cpu / ours.cpu:5.2f}"
        )


if __name__ == "__main__":
    main()
