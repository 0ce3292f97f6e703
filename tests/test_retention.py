"""Retention is a pure function: generations and policy in, verdicts with reasons out."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from maintd.retention import Generation, Policy, decide

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def generations(*ages_in_hours: float, size: int = 100, log: str = "a") -> list[Generation]:
    """Oldest first."""
    return [Generation(f"{log}{age}", NOW - timedelta(hours=age), size) for age in ages_in_hours]


def removed(policy: Policy, **logs: list[Generation]) -> dict[str, str]:
    return {verdict.generation.path: verdict.reason for verdict in decide(logs, policy, NOW) if not verdict.kept}


def test_keep_counts_generations_of_each_log():
    """keep = 2 leaves the two newest of every log, and says which generation each deleted one was."""
    gone = removed(Policy(keep=2), a=generations(4, 3, 2, 1), b=generations(9, log="b"))
    assert gone == {"a4": "generation 4, keep is 2", "a3": "generation 3, keep is 2"}


def test_keep_within_protects_a_crash_loops_cause():
    """A burst of rotations within keep_within pushes nothing out, whatever keep, max_age and max_total say."""
    burst = generations(*[age / 10 for age in range(20, 0, -1)])
    policy = Policy(keep=2, keep_within=timedelta(hours=3), max_age=timedelta(hours=1), max_total=1)
    assert removed(policy, a=burst) == {}


def test_max_age_removes_old_ones_but_never_the_newest():
    """Even a log that has not been rotated for years keeps its newest generation."""
    assert set(removed(Policy(max_age=timedelta(days=1)), a=generations(900, 800, 700))) == {"a900", "a800"}


def test_max_total_removes_the_oldest_over_all_logs():
    """max_total counts over the job: the oldest go first, whosever they are, and never a log's newest."""
    gone = removed(Policy(max_total=250), a=generations(5, 4, 1), b=generations(9, 3, log="b"))
    assert list(gone) == ["a5", "a4", "b9"] or set(gone) == {"b9", "a5", "a4"}
    assert "max_total" in gone["b9"]


@given(
    st.lists(st.integers(0, 5000), unique=True, max_size=12).map(lambda ages: sorted(ages, reverse=True)),
    st.one_of(st.none(), st.integers(1, 20)),
    st.one_of(st.none(), st.integers(0, 5000).map(lambda hours: timedelta(hours=hours))),
    st.one_of(st.none(), st.integers(0, 2000)),
)
def test_the_newest_always_stays(ages, keep, max_age, max_total):
    """Under every policy the newest generation is kept, each one gets one verdict, and each verdict has a reason."""
    own = generations(*ages)
    verdicts = decide({"a": own}, Policy(keep=keep, max_age=max_age, max_total=max_total), NOW)
    assert [verdict.generation for verdict in verdicts] == own
    assert all(verdict.reason for verdict in verdicts)
    assert not own or verdicts[-1].kept


def test_an_empty_policy_deletes_nothing():
    """No keep and no max means: keep all."""
    assert Policy().is_empty
    assert Policy(keep_within=timedelta(days=1)).is_empty
    assert removed(Policy(), a=generations(900, 800)) == {}


def test_a_time_that_cannot_be_is_put_right_by_the_order():
    """A generation whose time lies years ahead is no younger than the one after it, for max_age as for max_total."""
    wrong = Generation("wrong", NOW + timedelta(days=900), 100)
    policy = Policy(max_age=timedelta(hours=5))
    assert set(removed(policy, a=[wrong, *generations(7, 1)])) == {"wrong", "a7"}
    assert set(removed(policy, a=[*generations(9), wrong, *generations(4, 1)])) == {"a9"}
    assert set(removed(Policy(max_total=200), a=[wrong, *generations(9, 1)])) == {"wrong"}
