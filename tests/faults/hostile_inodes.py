"""What maintd does when what it is about to change is no honest file: odd inodes in the place of every such file."""

import os
import sys
from collections import Counter
from collections.abc import Iterator

from .deeds import COLLAPSE, COMPRESS, ROTATE, allowed
from .odd_inodes import ALTERED, INSTEAD
from .odd_scene import WHEN, Scene
from .table import Row, Skipped

NAME = "hostile-inodes"
ALONE = True
"""Each refusal has its second."""
LIMIT_MS = 1000.0


def run(share: float) -> Row:
    if os.geteuid() != 0:
        raise Skipped(f"devices, mounts and chattr need root: sudo .venv-dev/bin/python -m tests.faults {NAME}")
    came: Counter[str] = Counter()
    faults: list[str] = []
    slowest = 0.0
    for scene in _sampled(share):
        scene.play()
        if scene.slowest_ms >= LIMIT_MS:  # the machine may have been busy with something else
            scene = Scene(scene.kind, scene.when, scene.job)  # noqa: PLW2901
            scene.play()
        slowest = max(slowest, scene.slowest_ms)
        came.update(scene.outcomes.values())
        faults += [f"{scene.kind} {scene.when} the plan{fault}" for fault in _faults(scene)]
    for fault in faults:
        print(f"hostile inodes: {fault}", file=sys.stderr)
    spoken = ", ".join(f"{count} {outcome}" for outcome, count in sorted(came.items()))
    detail = f"{spoken}; the slowest answer took {slowest:.0f} ms; {len(faults)} faults"
    return Row("hostile inodes", f"{came.total()} cases", not faults, detail)


def _sampled(share: float) -> list[Scene]:
    """Each odd inode, before and after the plan, for each job; or a share of them, of each kind of inode."""
    jobs = (ROTATE, COMPRESS, COLLAPSE)
    scenes = [Scene(kind, when, job) for kind in (*INSTEAD, *ALTERED) for when in WHEN for job in jobs]
    step = max(1, round(1 / share))
    size = len(WHEN) * len(jobs)
    return [scene for at, scene in enumerate(scenes) if (at + at // size) % min(step, size) == 0]


def _faults(scene: Scene) -> Iterator[str]:
    for deed, outcome in scene.outcomes.items():
        if outcome not in allowed(scene.kind, deed, scene.when):
            yield f", {deed}: {outcome}"
    yield from (f": {fault}" for fault in scene.faults)
    if scene.slowest_ms >= LIMIT_MS:
        yield f": one answer took {scene.slowest_ms:.0f} ms"
