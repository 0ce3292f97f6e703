"""The storm: every kind of writer at full speed while maintd rotates its log, on ext4 and tmpfs; logrotate beside it.

`python -m tests.faults.storm [NAME…] [--share X]` plays only the storms of these names, of `storm_scenes.STORMS`.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping

from . import peers
from .account import Account
from .numbered import LONG
from .storm_scenes import RENAMED, STORMS, Scene, Storm
from .storm_stage import Stage, reached, staged
from .table import Counts, Row, Skipped

NAME = "storm"
ALONE = True
"""The writers' pace is what makes the rotations come."""
SLOWEST = 8.0
"""Seconds that a round of rotations may take on the average before the storm is given up, on a busy machine."""


def run(share: float) -> Row:
    """All storms, then logrotate against the same writers."""
    return row(STORMS, share)


def row(storms: Mapping[str, Storm], share: float, *, beside: bool = True) -> Row:
    """These storms, by name; logrotate `beside` them, to compare."""
    scenes: list[tuple[Scene, Account, str]] = []
    for name, storm in storms.items():
        for scene, account, more in play(storm, share):
            scenes.append((scene, account, more))
            print(f"storm {name}: {scene.name}: {account}{more}", file=sys.stderr, flush=True)
    strict = [account for scene, account, _ in scenes if scene.options is not None and not scene.may_lose]
    wrong = [scene for scene, account, _ in scenes if not account.is_as_promised(may_lose=scene.may_lose)]
    details = [f"{scene.name}: {account}{more}" for scene, account, more in scenes if scene.may_lose or scene in wrong]
    details += peers.compared(share) if beside else []
    return Row(
        what="storm of writers",
        size=f"{sum(one.archives for one in strict):,} rotations, {sum(one.written for one in strict):,} lines",
        holds=not wrong,
        detail="; ".join(details),
        counts=summed(strict),
    )


def summed(accounts: Iterable[Account]) -> Counts:
    found = list(accounts)
    return Counts(*(sum(getattr(one, what) for one in found) for what in ("lost", "doubled", "torn", "nul")))


def play(storm: Storm, share: float) -> Iterator[tuple[Scene, Account, str]]:
    """Plays a storm until each log was rotated often enough: each scene, its account, and what else is known."""
    with staged(storm) as stage:
        daemon = stage.start()
        most = max(scene.scaled(share)[0] for scene in storm.scenes)
        reached(lambda: daemon.poll() is not None or not short(stage, share), 20 + most * SLOWEST)
        missing, said = short(stage, share), {name: complaints(stage, name) for name in stage.scenes}
        for name, account in stage.settle().items():
            if name in missing:
                account.strays.append(f"rotated too seldom: {stage.last_words()}")
            account.strays += said[name]
            account.strays += untold(stage, name, account)
            if account.cut and not stage.scenes[name].may_lose and name not in {scene.name for scene in RENAMED}:
                account.strays.append(f"{account.cut} archives of a log that is rotated in place end within a line")
            yield stage.scenes[name], account, f" (worst write {stage.writers[name].worst_ms:.0f} ms)"


def untold(stage: Stage, name: str, account: Account) -> list[str]:
    """What was lost although maintd did not say so; of a line that is torn, a part is not lost."""
    told = sum(event.get("lost_bytes", 0) for event in stage.said("log.rotated") if event["job"] == f"rotate.{name}")
    lost = account.lost_bytes - account.torn * max(LONG.values())
    return [f"maintd said that {told:,} bytes may be lost, and {lost:,} are"] if lost > told else []


def short(stage: Stage, share: float) -> list[str]:
    """The scenes that lack rotations or lines so far."""
    found = []
    for name, scene in stage.scenes.items():
        rotations, lines = scene.scaled(share)
        if stage.rotations(name) < rotations or sum(stage.writers[name].lines().values()) < lines:
            found.append(name)
    return found


def complaints(stage: Stage, name: str) -> list[str]:
    """The failures and refusals that maintd itself spoke of, about a log of which none was to be expected."""
    found = [event for event in stage.said() if event.get("job") == f"rotate.{name}"]
    said = [f"{event['event']}: {event['msg']}" for event in found if event["event"].endswith((".failed", ".refused"))]
    return [f"{len(said)} complaints, {said[0]}"] if said else []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.storm", description=__doc__)
    parser.add_argument("storm", nargs="*", choices=[*STORMS, []], help="all, if none is named")
    parser.add_argument("--share", type=float, default=1.0)
    asked = parser.parse_args()
    try:
        found = row({name: STORMS[name] for name in asked.storm or STORMS}, asked.share)
    except Skipped as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        return 3
    print(found)
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
