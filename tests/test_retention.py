"""Retention is a pure function: generations and policy in, verdicts with reasons out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maintd.retention import Generation, Policy, decide, within_share

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def generations(*ages_in_hours: float, size: int = 100, log: str = "a") -> list[Generation]:
    """Oldest first."""
    times = [(age, NOW - timedelta(hours=age)) for age in ages_in_hours]
    return [Generation(f"{log}{age}", time, size) for age, time in times]


def in_order(*given: Generation) -> list[Generation]:
    return [replace(generation, order=order) for order, generation in enumerate(given)]


def removed(policy: Policy, **logs: list[Generation]) -> dict[str, str]:
    return {verdict.generation.path: verdict.reason for verdict in decide(logs, policy, NOW) if not verdict.kept}


def test_keep_counts_generations_of_each_log():
    """keep = 2 leaves the two newest of every log, and says which generation each deleted one was."""
    gone = removed(Policy(keep_last=2), a=generations(4, 3, 2, 1), b=generations(9, log="b"))
    assert gone == {"a4": "generation 4, keep is 2", "a3": "generation 3, keep is 2"}


def test_keep_within_protects_a_crash_loops_cause():
    """A burst of rotations within keep_within pushes nothing out, whatever keep, max_age and max_total say."""
    burst = generations(*[age / 10 for age in range(20, 0, -1)])
    policy = Policy(keep_last=2, keep_within=timedelta(hours=3), max_age=timedelta(hours=1), max_total=1)
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
    verdicts = decide({"a": own}, Policy(keep_last=keep, max_age=max_age, max_total=max_total), NOW)
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
    assert set(removed(policy, a=in_order(wrong, *generations(7, 1)))) == {"wrong", "a7"}
    assert set(removed(policy, a=in_order(*generations(9), wrong, *generations(4, 1)))) == {"a9"}
    assert set(removed(Policy(max_total=200), a=in_order(wrong, *generations(9, 1)))) == {"wrong"}


def test_a_period_keeps_its_newest_and_says_so():
    """keep_daily = 2 keeps the newest of the last two days in which there is one; the reasons name the rules."""
    own = generations(60, 50, 30, 29, 2, 1)
    verdicts = decide({"a": own}, Policy(keep_last=1, keep_daily=2), NOW)
    assert [verdict.reason for verdict in verdicts] == [
        "generation 6, beyond keep_last 1, keep_daily 2",
        "generation 5, beyond keep_last 1, keep_daily 2",
        "generation 4, beyond keep_last 1, keep_daily 2",
        "keep_daily",
        "generation 2, beyond keep_last 1, keep_daily 2",
        "the newest is always kept",
    ]


def test_days_are_those_of_the_zone():
    """What is one day in UTC is two in New York, and each of them keeps its newest."""
    own = [Generation(name, NOW - timedelta(hours=hours), 1) for name, hours in (("c", 21), ("b", 18), ("a", 1))]
    policy = Policy(keep_daily=9)
    here = [verdict.kept for verdict in decide({"": own}, policy, NOW)]
    there = [verdict.kept for verdict in decide({"": own}, policy, NOW, ZoneInfo("America/New_York"))]
    assert (here, there) == ([False, False, True], [True, False, True])


def test_the_hour_that_comes_twice_in_autumn_is_two_hours():
    """02:30 in summer time and 02:30 an hour later are kept apart by keep_hourly."""
    berlin = ZoneInfo("Europe/Berlin")
    own = [Generation(str(hour), datetime(2026, 10, 25, hour, 30, tzinfo=UTC), 1) for hour in (0, 1, 2)]
    assert all(verdict.kept for verdict in decide({"": own}, Policy(keep_hourly=3), NOW, berlin))


def test_max_count_leaves_so_many_whatever_the_rules_keep():
    """max_count = 2 leaves two of what keep_hourly would keep, and the reason names it."""
    gone = removed(Policy(keep_hourly=9, max_count=2), a=generations(4, 3, 2, 1))
    assert gone == dict.fromkeys(("a4", "a3"), "more than max_count 2 are kept")


def test_a_file_of_the_future_does_not_stand_for_the_newest():
    """What a clock a year ahead left behind is kept, and so is the newest of those that can be."""
    future = Generation("future", NOW + timedelta(days=365), 1)
    assert set(removed(Policy(keep_last=1), a=[*generations(9, 5, 1), future])) == {"a9", "a5"}


def test_while_the_clock_is_not_trusted_nothing_goes_by_age():
    """Without ages, max_age removes nothing and keep_within holds everything; counts go on where it is not set."""
    own = generations(9000, 8000, 7000)
    assert removed(Policy(max_age=timedelta(days=1)).ageless(), a=own) == {}
    assert removed(Policy(keep_last=1, keep_within=timedelta(days=1)).ageless(), a=own) == {}
    assert set(removed(Policy(keep_last=1, max_age=timedelta(days=1)).ageless(), a=own)) == {"a9000", "a8000"}


def test_a_run_takes_at_most_its_share_the_oldest_first():
    """Half of six files go in one run, the oldest first; the others are left, with the reason; one may always go."""
    verdicts = within_share(decide({"a": generations(6, 5, 4, 3, 2, 1)}, Policy(keep_last=1), NOW), 0.5)
    assert [verdict.kept for verdict in verdicts] == [False] * 3 + [True] * 3
    assert [verdict.is_left for verdict in verdicts] == [False] * 3 + [True] * 2 + [False]
    assert verdicts[3].reason == "left to a later run: of 6 files at most 50% go in one (generation 3, keep is 1)"
    few = within_share(decide({"a": generations(2, 1)}, Policy(keep_last=1), NOW), 0.01)
    assert [verdict.kept for verdict in few] == [False, True]


# Properties, for all policies and files

COUNTS = st.one_of(st.none(), st.integers(1, 4))
SPANS = st.one_of(st.none(), st.integers(0, 4000).map(lambda hours: timedelta(hours=hours)))
KEEPS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
KEEPING = st.builds(Policy, **dict.fromkeys(KEEPS, COUNTS), keep_within=SPANS, max_age=SPANS)
POLICIES = st.builds(
    replace, KEEPING, max_total=st.one_of(st.none(), st.integers(0, 900)), max_count=st.one_of(st.none(), COUNTS)
)
FILES = st.lists(
    st.builds(
        Generation,
        path=st.text("abcdefgh", min_size=1, max_size=4),
        time=st.integers(-50, 9000).map(lambda hours: NOW - timedelta(hours=hours)),
        size=st.integers(0, 300),
        held=st.booleans(),
    ),
    max_size=14,
    unique_by=lambda generation: generation.path,
)
GROUPS = st.tuples(FILES, FILES).map(
    lambda pair: {
        group: [replace(each, path=f"{group}/{each.path}") for each in own]
        for group, own in zip("xy", pair, strict=True)
    }
)


def survivors(groups, policy):
    kept = {verdict.generation.path for verdict in decide(groups, policy, NOW) if verdict.kept}
    return {group: [each for each in own if each.path in kept] for group, own in groups.items()}


@settings(max_examples=60)
@given(GROUPS, POLICIES)
def test_neither_the_newest_nor_what_is_open_ever_goes(groups, policy):
    """Of each group the newest stays, also the newest that is not of the future, and every file that is held."""
    for group, own in survivors(groups, policy).items():
        all_of_it = groups[group]
        past = [each for each in all_of_it if each.time <= NOW]
        for newest in (max(some, key=lambda each: (each.time, each.path)) for some in (all_of_it, past) if some):
            assert newest in own
        assert {each.path for each in all_of_it if each.held} <= {each.path for each in own}


@pytest.mark.parametrize("rule", KEEPS)
@settings(max_examples=30)
@given(groups=GROUPS, policy=KEEPING, more=st.integers(1, 5))
def test_more_of_a_keep_never_removes_more(rule, groups, policy, more):
    """A larger keep_* keeps all that a smaller one keeps, where no limit on count or bytes is set beside it."""
    fewer = replace(policy, **{rule: getattr(policy, rule) or 1})
    greater = replace(policy, **{rule: (getattr(policy, rule) or 1) + more})
    for group, own in survivors(groups, fewer).items():
        assert set(own) <= set(survivors(groups, greater)[group])


@settings(max_examples=60)
@given(GROUPS, KEEPING, st.integers(1, 5000))
def test_a_longer_keep_within_never_removes_more(groups, policy, more):
    """The same holds for keep_within."""
    shorter = replace(policy, keep_within=policy.keep_within or timedelta())
    longer = replace(policy, keep_within=(policy.keep_within or timedelta()) + timedelta(hours=more))
    for group, own in survivors(groups, shorter).items():
        assert set(own) <= set(survivors(groups, longer)[group])


@settings(max_examples=60)
@given(GROUPS, POLICIES)
def test_a_second_run_removes_nothing_more(groups, policy):
    """What one run has left, the next one leaves too."""
    once = survivors(groups, policy)
    assert survivors(once, policy) == once


@settings(max_examples=60)
@given(GROUPS, POLICIES, st.randoms(use_true_random=False))
def test_the_order_in_which_files_are_given_does_not_matter(groups, policy, random):
    """However a directory lists its files, each gets the same verdict with the same reason."""
    shuffled = {group: random.sample(own, len(own)) for group, own in groups.items()}
    assert decide(shuffled, policy, NOW) == decide(groups, policy, NOW)


@settings(max_examples=60)
@given(GROUPS, POLICIES, st.floats(0.01, 1))
def test_a_share_only_ever_leaves_more(groups, policy, share):
    """Whatever the share, what goes in one run is given up by the policy, and no more than the share or one file."""
    all_of_them = decide(groups, policy, NOW)
    gone = [verdict for verdict in within_share(all_of_them, share) if not verdict.kept]
    assert {verdict.generation.path for verdict in gone} <= {v.generation.path for v in all_of_them if not v.kept}
    assert len(gone) <= max(1, share * len(all_of_them))
