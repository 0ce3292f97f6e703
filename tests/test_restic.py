"""The keep_* rules keep what `restic forget` keeps: a table of policies over three years of snapshots."""

import random
import shutil  # noqa: TID251 - only to find a tool
from datetime import UTC, datetime, timedelta

import pytest

from maintd.retention import Generation, Policy, decide

from .restic import Repository

pytestmark = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed (apt-get install restic)"
)
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)

POLICIES = [
    {"last": 1},
    {"last": 7},
    {"hourly": 5},
    {"daily": 1},
    {"daily": 7},
    {"weekly": 1},
    {"weekly": 60},
    {"monthly": 12},
    {"monthly": 500},
    {"yearly": 2},
    {"yearly": 50},
    {"last": 3, "daily": 3},
    {"hourly": 24, "daily": 7, "weekly": 5, "monthly": 12, "yearly": 10},
    {"last": 2, "hourly": 3, "weekly": 2, "yearly": 1},
    {"daily": 10, "monthly": 2},
    {"weekly": 53, "yearly": 3},
    {"within": "30d"},
    {"within": "3d", "daily": 5, "yearly": 2},
    {"within": "12h", "last": 2},
]


@pytest.fixture(scope="module")
def generations():
    """Every hour of the last days, some of every day before, the turns of ISO years, one at the very moment NOW."""
    rng = random.Random(5)
    times = {NOW, *(NOW - timedelta(hours=hours, minutes=7) for hours in range(1, 70))}
    times |= {NOW - timedelta(days=days, seconds=rng.randrange(86_400)) for days in rng.sample(range(4, 1200), 90)}
    times |= {datetime(year, month, day, 12, tzinfo=UTC) for year in (2024, 2025) for month, day in ((1, 1), (12, 30))}
    return [Generation(f"n{number}", time, 1) for number, time in enumerate(sorted(times))]


@pytest.fixture(scope="module")
def repository(tmp_path_factory, generations):
    folder = tmp_path_factory.mktemp("restic")
    return Repository(folder, [(generation.path, generation.time) for generation in generations])


@pytest.mark.parametrize("rules", POLICIES, ids=str)
def test_it_keeps_what_restic_keeps(repository, generations, rules):
    """Every snapshot that restic would keep stays, and every other goes."""
    counts = {f"keep_{rule}": count for rule, count in rules.items() if rule != "within"}
    within = {"d": timedelta(days=1), "h": timedelta(hours=1)}
    span = int(rules["within"][:-1]) * within[rules["within"][-1]] if "within" in rules else None
    # maintd's keep_within only adds to other rules: alone it would remove nothing, restic's alone removes the rest
    policy = Policy(**(counts or {"keep_last": 1}), keep_within=span)
    ours = {verdict.generation.path for verdict in decide({"": generations}, policy, NOW) if verdict.kept}
    assert ours == repository.kept(*(f"--keep-{rule}={value}" for rule, value in rules.items()))
