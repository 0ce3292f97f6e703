"""Thousands of random stanzas, trees and states, for Debian's logrotate and for maintd: both leave the same."""

import os
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.logrotate.beside import Place
from tests.logrotate.original import PROGRAM
from tests.logrotate.random_cases import Scene, differences, scenes

from .table import Row, Skipped

NAME = "logrotate"
LONG = True
CASES = 3000
SHOWN = 9
"""How many differences are told; the first ones do for all."""


def run(share: float) -> Row:
    if PROGRAM is None:
        raise Skipped("logrotate is not installed: apt-get install logrotate")
    if os.geteuid() != 0:
        raise Skipped("the files are of several users: sudo .venv-dev/bin/python -m tests.faults logrotate")
    reasons: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        place = Place(Path(folder).resolve() / "place")

        @settings(
            max_examples=max(20, round(CASES * share)),
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(scene=scenes)
        def compare(scene: Scene) -> None:
            reason, found = differences(place, scene)
            reasons[reason] += 1
            if found and len(faults) < SHOWN:
                faults.append("\n".join([str(scene), *found]))

        compare()
    differing = "; ".join(f"{count:,} {reason}" for reason, count in reasons.most_common() if reason)
    detail = f"{reasons['']:,} alike; differing on purpose: {differing or 'none'}"
    return Row("random cases beside logrotate", f"{reasons.total():,} cases", not faults, "\n".join([detail, *faults]))
