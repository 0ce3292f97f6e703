"""Runs maintd for real in ./.run: a real supervisord, three services that log fast, and maintd keeping them in order.

`demo.py [--seconds N] [--folder DIR]`: its events are shown as they come, until N seconds are over or Ctrl-C; then what
was rotated, compressed and freed. Every line that the services wrote is looked for. Exit code 0 only if all are there.
"""

import argparse
import contextlib
import json
import shutil  # noqa: TID251 - removes this demo's own folder; maintd's disk changes are not made here
import signal
import subprocess
import sys
import time
from pathlib import Path

from demo_account import Account, Follower, parsed
from demo_stage import MAINTD, PATIENCE, ROOT, SERVICES, Stage, set_up, until

SUPERVISORD = ROOT / ".venv-dev/bin/supervisord"


class Show:
    """The demo while it runs: supervisord, the viewer of its events, and the account that is kept of them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.account = Account()
        self.asked_to_end = False
        signal.signal(signal.SIGINT, self.ask_to_end)
        signal.signal(signal.SIGTERM, self.ask_to_end)
        self.supervisord = self._started()
        self.viewer: subprocess.Popen[bytes] | None = None
        self.follower: Follower | None = None

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [SUPERVISORD, "-c", self.stage.conf],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends all the rest in order
        )

    def ask_to_end(self, *_: object) -> None:
        self.asked_to_end = True

    def play(self, seconds: float) -> None:
        """Shows the events for so long, 0 for as long as nobody ends it."""
        until(lambda: self._all_speak() or self.supervisord.poll() is not None, PATIENCE)
        if not _speaks(self.stage.events):
            self.account.failures.append(f"maintd did not start: {self._last_words()}")
            return
        self.viewer = subprocess.Popen(
            [MAINTD, "-c", self.stage.toml, "events", "-f", self.stage.events],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + seconds if seconds else float("inf")
        while time.monotonic() < end and not self.asked_to_end and self.supervisord.poll() is None:
            self.listen()
            time.sleep(0.1)

    def _all_speak(self) -> bool:
        """Whether maintd and the services have all begun; one that is ended before could not say what it wrote."""
        return all(map(_speaks, [self.stage.events, *(self.stage.logs / f"{name}.log" for name in SERVICES)]))

    def listen(self) -> None:
        if self.follower is None and _speaks(self.stage.events):
            self.follower = Follower(self.stage.events)
        if self.follower:
            for event in parsed(self.follower.lines()):
                self.account.take(event, self.stage.logs)

    def end(self) -> None:
        """Stops the services, lets maintd finish what it has set aside, and stops the rest, each by its pid."""
        self.ctl("stop", "services:*")
        until(self._is_settled, PATIENCE)
        self.supervisord.terminate()
        try:
            self.supervisord.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.supervisord.kill()
            self.supervisord.wait()
            self.account.failures.append("supervisord did not end")
        self.listen()
        if self.viewer:
            self._end_viewer(self.viewer)
        if self.stage.sockets != self.stage.folder:
            shutil.rmtree(self.stage.sockets)

    def _end_viewer(self, viewer: "subprocess.Popen[bytes]") -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = viewer.wait(0.5)  # for it to show the last events
            self.account.failures.append(f"maintd events ended early, with exit code {status}")
        viewer.terminate()
        viewer.wait()

    def _is_settled(self) -> bool:
        self.listen()
        return self.supervisord.poll() is not None or not (self.account.waiting or self._jobs_at_work())

    def _jobs_at_work(self) -> list[str]:
        """The jobs that would be cut off now; none also if maintd does not answer."""
        command = [str(MAINTD), "-c", str(self.stage.toml), "status", "--json"]
        done = subprocess.run(command, capture_output=True, start_new_session=True, timeout=60, check=False)
        jobs = json.loads(done.stdout)["jobs"] if done.stdout else []
        return [job["name"] for job in jobs if job["state"] in ("running", "queued")]

    def ctl(self, *arguments: str) -> None:
        command = [str(SUPERVISORD.with_name("supervisorctl")), "-c", str(self.stage.conf), *arguments]
        subprocess.run(command, stdout=subprocess.DEVNULL, start_new_session=True, timeout=60, check=False)

    def _last_words(self) -> str:
        for file in ("maintd/stderr.log", "supervisord.log"):
            with contextlib.suppress(OSError):
                words = (self.stage.folder / file).read_text(errors="replace").strip()
                if words:
                    return words[-600:]
        return "it said nothing"


def _speaks(log: Path) -> bool:
    return log.exists() and log.stat().st_size > 0


def lines_balance(stage: Stage, account: Account) -> tuple[str, list[str]]:
    """The lines that the services say they wrote against those that are found, and what is wrong."""
    account.count_the_rest(stage.logs)
    written = found = 0
    faults: list[str] = []
    for name in SERVICES:
        try:
            said = int((stage.folder / "written" / name).read_text())
        except FileNotFoundError:
            faults.append(f"{name} did not say how many lines it wrote")
            continue
        counted, wrong = account.found(stage.logs / f"{name}.log")
        written, found = written + said, found + counted
        faults += wrong
        if counted != said:
            faults.append(f"{name} wrote {said} lines, of which {counted} were found")
    return f"{written:,} written, {found:,} found in archives and live logs, {written - found:,} lost", faults


def report(show: Show, took: float) -> int:
    """Prints what was done, and returns the exit code."""
    account = show.account
    balance, faults = lines_balance(show.stage, account)
    if not account.stopped:
        faults.append("maintd did not stop in order")
    print(f"\nIn {took:.0f} seconds, as maintd's events say:")
    for line in account.summary():
        print(f"  {line}")
    print(f"and as counted, line by line, with their numbers:\n  lines       {balance}")
    for failure in (*account.failures, *faults):
        print(f"  FAILED: {failure}")
    print(f"Everything is still there to look at: {show.stage.folder}")
    return 1 if account.failures or faults else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs maintd for real, with three services under supervisord.")
    parser.add_argument("--seconds", type=float, default=0, help="end after so long; 0: at Ctrl-C")
    parser.add_argument("--folder", type=Path, default=ROOT / ".run", help="made afresh; default: .run")
    arguments = parser.parse_args()
    stage = set_up(arguments.folder.resolve())
    ends = f"for {arguments.seconds:.0f} seconds" if arguments.seconds else "until Ctrl-C"
    print(
        f"supervisord, maintd and {len(SERVICES)} services run in {stage.folder} {ends}; these are maintd's events:\n"
    )
    sys.stdout.flush()
    begun = time.monotonic()
    show = Show(stage)
    try:
        show.play(arguments.seconds)
    finally:
        show.end()
    return report(show, time.monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main())
