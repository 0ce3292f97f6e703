"""What is pending: one run for one cause at a time, and what fails is tried again, later each time."""

from datetime import UTC, datetime

from maintd.agenda import RETRY_FIRST, RETRY_LAST, Agenda
from maintd.triggers import AskedBefore, Due, Grown, Scheduled, Settling

SLOT = datetime(2026, 11, 23, tzinfo=UTC)
DAILY = Due("rotate.a", Scheduled(SLOT))
SETTLES = Due("rotate.a", Settling())


def grown(*paths: str) -> Due:
    return Due("rotate.a", Grown(frozenset(paths)))


def test_a_job_is_queued_once_for_one_cause():
    """While a run is pending, a second one for the same cause is not queued; for another cause or job it is."""
    agenda = Agenda()
    assert agenda.begin(DAILY)
    assert not agenda.begin(DAILY)
    assert agenda.begin(SETTLES)
    assert agenda.begin(Due("rotate.b", DAILY.cause))


def test_what_came_due_meanwhile_follows_once():
    """However often a cause came up during its run, one run follows, for the latest; then the job is free again."""
    agenda = Agenda()
    agenda.begin(DAILY)
    later = Due("rotate.a", Scheduled(SLOT.replace(hour=2)))
    agenda.begin(Due("rotate.a", Scheduled(SLOT.replace(hour=1))))
    agenda.begin(later)
    assert agenda.end(DAILY) == later
    assert agenda.begin(later)
    assert agenda.end(later) is None


def test_no_grown_log_is_forgotten_over_another():
    """The logs that grew during a run are all in the one that follows, and those of the run before are not."""
    agenda = Agenda()
    agenda.begin(grown("/l/a.log"))
    agenda.begin(grown("/l/b.log"))
    agenda.begin(grown("/l/c.log", "/l/b.log"))
    assert agenda.end(grown("/l/a.log")) == grown("/l/b.log", "/l/c.log")


def test_the_delay_grows_to_five_minutes_and_starts_anew_after_a_success():
    """A run that goes on failing is tried again after 5, 10, 20, … up to 300 s; after a success after 5 s again."""
    agenda = Agenda()
    delays = []
    now = 0.0
    for _ in range(9):
        delay = agenda.retry(DAILY, now)
        assert agenda.ripe(now + delay - 0.001) == []
        now += delay
        assert agenda.ripe(now) == [DAILY]
        delays.append(delay)
    assert delays == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert (delays[0], delays[-1]) == (RETRY_FIRST, RETRY_LAST)
    assert agenda.retry(SETTLES, now) == RETRY_FIRST
    agenda.went_well(DAILY)
    assert agenda.retry(DAILY, now) == RETRY_FIRST


def test_what_is_put_off_already_is_not_put_off_twice():
    """Two failures for one cause before the first is tried again come to one more run; ripe runs come in order."""
    agenda = Agenda()
    agenda.retry(DAILY, 0)
    agenda.retry(DAILY, 1)
    agenda.retry(SETTLES, 1)
    agenda.retry(Due("rotate.b", Settling()), 0.5)
    assert agenda.ripe(100) == [DAILY, Due("rotate.b", Settling()), SETTLES]
    assert agenda.ripe(1000) == []


def test_no_log_that_was_asked_for_is_forgotten_over_another():
    """Logs that were asked for and put off at different times are all tried again, in one run."""
    agenda = Agenda()
    first, second = ("/l/a.log", SLOT), ("/l/b.log", SLOT.replace(hour=1))
    agenda.retry(Due("rotate.a", AskedBefore(frozenset([first]))), 0)
    agenda.retry(Due("rotate.a", AskedBefore(frozenset([second]))), 1)
    assert agenda.ripe(1000) == [Due("rotate.a", AskedBefore(frozenset([first, second])))]


def test_a_job_that_is_gone_is_not_tried_again():
    """What was put off for a job that left the config is dropped with its delay; other jobs keep theirs."""
    agenda = Agenda()
    other = Due("rotate.b", Settling())
    for due in (DAILY, SETTLES, other):
        agenda.retry(due, 0)
    agenda.forget("rotate.a")
    assert agenda.ripe(1000) == [other]
    assert agenda.retry(DAILY, 1000) == RETRY_FIRST
    assert agenda.retry(other, 1000) == 2 * RETRY_FIRST


def test_however_often_a_run_has_failed_it_is_tried_again_five_minutes_later():
    """The delay has its longest after a few failures, and stays that after thousands."""
    agenda = Agenda()
    delays = [agenda.retry(DAILY, 0.0) for _ in range(3000)]
    assert delays[:3] == [RETRY_FIRST, 2 * RETRY_FIRST, 4 * RETRY_FIRST]
    assert set(delays[10:]) == {RETRY_LAST}
