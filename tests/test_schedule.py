"""The schedule: a real scheduler thread puts what is due, and keeps what did not change."""

import queue
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from maintd.cron import Cron
from maintd.schedule import Schedule
from maintd.timing import Timing, Window, spread_offset
from maintd.triggers import Due, Scheduled

HOUR = timedelta(hours=1)
FAST = Timing(every=timedelta(milliseconds=50))
DAILY = Timing(cron=Cron.parse("@daily"))


class Clock:
    """The wall clock, which jumps when told."""

    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def inbox():
    return queue.SimpleQueue()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def schedule(inbox, clock):
    schedule = Schedule(inbox.put, UTC, "web1", clock)
    schedule.start()
    yield schedule
    schedule.stop()


def names(inbox, count):
    return [inbox.get(timeout=10).job for _ in range(count)]


def test_a_job_is_put_each_time_it_is_due(schedule, inbox):
    """An interval of 50 ms comes again and again, each time with a slot of its own, 50 ms apart or a multiple."""
    before = datetime.now(UTC)
    schedule.set("check.disk", FAST)
    dues = [inbox.get(timeout=10) for _ in range(5)]
    slots = [due.cause.slot for due in dues]
    assert dues == [Due("check.disk", Scheduled(slot)) for slot in slots]
    assert all(slot.tzinfo is UTC for slot in slots)
    gaps = [later - earlier for earlier, later in zip([before, *slots], slots, strict=False)]
    assert all(gap >= FAST.every for gap in gaps)
    assert all(gap % FAST.every == timedelta() for gap in gaps[1:])


def test_cron_comes_at_the_minute_with_its_slot(schedule, inbox):
    """A cron job's next run is cron's next minute in the zone of the schedule, given in UTC."""
    berlin = Schedule(inbox.put, ZoneInfo("Europe/Berlin"), "web1")
    now = datetime.now(UTC)
    berlin.set("rotate.a", Timing(cron=Cron.parse("30 12 * * *")))
    run = berlin.next_run("rotate.a")
    assert run.tzinfo is UTC
    assert now < run <= now + 26 * HOUR
    assert f"{run.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}" == "12:30"


def test_jobs_set_before_the_start_come_after_it(inbox):
    """What is set before the start has a next run, and is put once the thread runs."""
    schedule = Schedule(inbox.put, UTC, "web1")
    schedule.set("check.disk", FAST)
    assert schedule.next_run("check.disk") is not None
    assert inbox.empty()
    assert not schedule.alive
    schedule.start()
    try:
        assert names(inbox, 2) == ["check.disk"] * 2
    finally:
        schedule.stop()


def test_both_triggers_of_a_job_fire(schedule, inbox):
    """With cron and every, the earlier of both is next."""
    schedule.set("rotate.a", Timing(cron=Cron.parse("0 0 1 1 *"), every=timedelta(milliseconds=50)))
    assert names(inbox, 2) == ["rotate.a"] * 2
    schedule.set("rotate.b", Timing(cron=Cron.parse("* * * * *"), every=1000 * HOUR))
    assert schedule.next_run("rotate.b") <= datetime.now(UTC) + timedelta(minutes=1)


def test_a_job_without_cron_and_every_is_never_due(schedule):
    """A job that only growth makes due has no next run, and may gain and lose one."""
    schedule.set("rotate.a", Timing(spread=HOUR))
    assert schedule.next_run("rotate.a") is None
    schedule.set("rotate.a", DAILY)
    assert schedule.next_run("rotate.a") is not None
    schedule.set("rotate.a", Timing())
    assert schedule.next_run("rotate.a") is None


def test_unchanged_jobs_keep_their_next_run(schedule):
    """Over 200 reloads of 1000 jobs with one changed each time, all others keep their next run to the microsecond."""
    timings = {f"rotate.{n}": Timing(every=timedelta(hours=1 + n % 7), spread=HOUR) for n in range(1000)}
    for job, timing in timings.items():
        schedule.set(job, timing)
    before = {job: schedule.next_run(job) for job in timings}
    for reload in range(200):
        changed = f"rotate.{reload}"
        timings[changed] = Timing(every=timedelta(hours=100 + reload))
        for job, timing in timings.items():
            # equal by value, not the same object, as after reading the file again
            schedule.set(job, Timing(timing.cron, timing.every, timing.spread, timing.window), datetime.now(UTC))
        after = {job: schedule.next_run(job) for job in timings}
        assert after.pop(changed) > before.pop(changed)
        assert after.items() >= before.items()


def test_setting_a_thousand_jobs_is_quick(schedule):
    """1000 cron jobs are set, and set again with one changed, in a time that does not grow with their square."""
    timings = {f"rotate.{n}": Timing(cron=Cron.parse(f"{n % 60} {n % 24} * * *")) for n in range(1000)}
    start = time.monotonic()
    for job, timing in timings.items():
        schedule.set(job, timing)
    first = time.monotonic()
    timings["rotate.500"] = DAILY
    for job, timing in timings.items():
        schedule.set(job, timing)
    second = time.monotonic()
    assert first - start < 20, "0.3 s on an idle machine; bench/startup.py measures it"
    assert second - first < 10


def test_a_replaced_job_goes_by_its_new_timing(schedule, inbox):
    """A changed timing replaces the old one at once."""
    schedule.set("check.disk", FAST)
    assert names(inbox, 1) == ["check.disk"]
    schedule.set("check.disk", Timing(every=HOUR))
    drain(inbox)
    assert schedule.next_run("check.disk") > datetime.now(UTC) + timedelta(minutes=59)
    schedule.set("check.other", FAST)
    assert names(inbox, 3) == ["check.other"] * 3


def test_a_removed_job_is_not_put_again(schedule, inbox):
    """After `remove` returns, nothing comes for the job; removing an unknown one does no harm."""
    schedule.set("check.disk", FAST)
    assert names(inbox, 1) == ["check.disk"]
    schedule.remove("check.disk")
    schedule.remove("check.disk")
    drain(inbox)
    assert schedule.next_run("check.disk") is None
    schedule.set("check.other", FAST)
    assert names(inbox, 3) == ["check.other"] * 3


def drain(inbox):
    while not inbox.empty():
        inbox.get()


def test_a_missed_interval_is_caught_up_once(schedule, inbox):
    """After a week of downtime an hourly job comes at once, once, and then an hour's step later."""
    last = datetime.now(UTC) - timedelta(days=7, minutes=20)
    schedule.set("backup.db", Timing(every=HOUR), last)
    due = inbox.get(timeout=10)
    assert due == Due("backup.db", Scheduled(last + 24 * 7 * HOUR, catch_up=True))
    assert schedule.next_run("backup.db") == last + (24 * 7 + 1) * HOUR
    assert inbox.empty()


def test_a_missed_cron_time_is_caught_up_once(schedule, inbox):
    """After downtime a new cron job comes at once for the last slot that it missed; one that missed none does not."""
    now = datetime.now(UTC)
    daily = Cron.parse("@daily")
    schedule.set("backup.a", Timing(cron=daily), now - timedelta(days=3))
    assert inbox.get(timeout=10) == Due("backup.a", Scheduled(daily.previous(now, UTC), catch_up=True))
    schedule.set("backup.b", Timing(cron=daily), now)
    schedule.set("backup.c", Timing(cron=daily))
    assert schedule.next_run("backup.a") == schedule.next_run("backup.b") == schedule.next_run("backup.c")
    assert inbox.empty()


def test_a_changed_cron_catches_nothing_up(schedule, inbox):
    """An expression that is edited while the daemon runs waits for its next time, though its last is after the run."""
    now = datetime.now(UTC)
    schedule.set("backup.a", Timing(cron=Cron.parse("0 0 1 1 *")), now)
    schedule.set("backup.a", Timing(cron=Cron.parse("@daily")), now - timedelta(days=3))
    assert schedule.next_run("backup.a") == Cron.parse("@daily").next(now, UTC)
    assert inbox.empty()


def test_a_known_success_sets_the_next_run(schedule):
    """An interval counts from the last success, also when the daemon was restarted meanwhile."""
    last = datetime.now(UTC) - timedelta(minutes=20)
    schedule.set("backup.db", Timing(every=HOUR, spread=HOUR), last)
    assert schedule.next_run("backup.db") == last + HOUR


def test_an_interval_counts_from_each_success(schedule):
    """A success while the daemon runs moves the next run as one before its start does; cron is not moved."""
    timing = Timing(every=10 * HOUR, spread=HOUR)
    schedule.set("backup.a", timing)
    schedule.set("backup.b", DAILY)
    at = datetime.now(UTC) - HOUR
    for job in ("backup.a", "backup.b", "backup.unknown"):
        schedule.succeeded(job, at)
    assert schedule.next_run("backup.a") == at + 10 * HOUR
    assert schedule.next_run("backup.b") == DAILY.cron.next(datetime.now(UTC), UTC)
    ahead = datetime.now(UTC) + timedelta(days=365)
    schedule.succeeded("backup.a", ahead)
    assert schedule.next_run("backup.a") <= datetime.now(UTC) + 10 * HOUR


def test_a_success_does_not_end_what_waits_for_the_window(schedule):
    """What was missed and waits for its window comes when that opens, whatever a person had done before."""
    now = datetime.now(UTC)
    closed = Window.parse(f"{now + 2 * HOUR:%H:%M}-{now + 3 * HOUR:%H:%M}")
    schedule.set("backup.a", Timing(every=30 * HOUR, window=closed), now - 100 * HOUR)
    opens = schedule.next_run("backup.a")
    schedule.succeeded("backup.a", now)
    assert schedule.next_run("backup.a") == opens < now + 3 * HOUR


def test_a_new_job_that_goes_by_the_disk_is_asked_at_once(schedule, inbox):
    """Whatever success is known of its cron; its interval only if none is, and then counts from the start."""
    now = datetime.now(UTC)
    schedule.set("rotate.a", DAILY, now, by_disk=True)
    assert inbox.get(timeout=10) == Due("rotate.a", Scheduled(DAILY.cron.previous(now, UTC), catch_up=True))
    schedule.set("rotate.b", Timing(every=7 * HOUR), by_disk=True)
    due = inbox.get(timeout=10)
    assert due.cause.catch_up
    assert now - 7 * HOUR <= due.cause.slot <= datetime.now(UTC) - 7 * HOUR
    assert now + 7 * HOUR <= schedule.next_run("rotate.b") <= datetime.now(UTC) + 7 * HOUR
    schedule.set("rotate.c", Timing(every=7 * HOUR), now - HOUR, by_disk=True)
    assert schedule.next_run("rotate.c") == now + 6 * HOUR
    schedule.set("rotate.c", Timing(cron=DAILY.cron), now - HOUR, by_disk=True)  # changed, not new
    assert schedule.next_run("rotate.c") == DAILY.cron.next(now, UTC)
    assert inbox.empty()


def test_another_time_zone_moves_cron_and_leaves_intervals(schedule, inbox):
    """In another zone cron waits for its next time there, catching nothing up, and intervals keep their next run."""
    tokyo = ZoneInfo("Asia/Tokyo")
    schedule.set("backup.a", DAILY)
    schedule.set("backup.b", Timing(every=HOUR, spread=HOUR))
    kept = schedule.next_run("backup.b")
    schedule.move(tokyo)
    assert schedule.next_run("backup.a") == DAILY.cron.next(datetime.now(UTC), tokyo)
    assert schedule.next_run("backup.a").astimezone(tokyo).hour == 0
    assert schedule.next_run("backup.b") == kept
    schedule.set("backup.c", DAILY)
    assert schedule.next_run("backup.c") == schedule.next_run("backup.a")
    assert inbox.empty()


def test_the_spread_is_the_same_after_every_start(inbox):
    """The share of spread depends on host and job alone."""
    runs = []
    for _ in range(3):
        schedule = Schedule(inbox.put, UTC, "web1")
        schedule.set("backup.db", Timing(cron=Cron.parse("0 0 1 1 *"), spread=HOUR))
        runs.append(schedule.next_run("backup.db"))
    slot = runs[0] - spread_offset(HOUR, "web1", "backup.db")
    assert len(set(runs)) == 1
    assert f"{slot:%m-%d %H:%M:%S.%f}" == "01-01 00:00:00.000000"
    other = Schedule(inbox.put, UTC, "web2")
    other.set("backup.db", Timing(cron=Cron.parse("0 0 1 1 *"), spread=HOUR))
    assert other.next_run("backup.db") != runs[0]


def test_the_slot_is_the_time_without_spread(schedule, inbox):
    """A delayed run carries the nominal time it is for."""
    timing = Timing(every=timedelta(milliseconds=50), spread=timedelta(milliseconds=400))
    schedule.set("check.disk", timing)
    planned = schedule.next_run("check.disk")
    slot = inbox.get(timeout=10).cause.slot
    assert slot >= planned - spread_offset(timing.spread, "web1", "check.disk")
    assert slot + spread_offset(timing.spread, "web1", "check.disk") <= datetime.now(UTC)


def test_runs_wait_for_the_window(schedule, inbox):
    """A run that is due outside its window comes when it opens, a missed one too; inside, it comes as usual."""
    now = datetime.now(UTC)
    closed = Window.parse(f"{now + 2 * HOUR:%H:%M}-{now + 3 * HOUR:%H:%M}")
    opens = (now + 2 * HOUR).replace(second=0, microsecond=0)
    schedule.set("backup.a", Timing(every=timedelta(milliseconds=50), window=closed))
    schedule.set("backup.b", Timing(every=HOUR, window=closed), now - 10 * HOUR)
    assert schedule.next_run("backup.a") == schedule.next_run("backup.b") == opens
    around = Window.parse(f"{now - HOUR:%H:%M}-{now + HOUR:%H:%M}")
    schedule.set("backup.c", Timing(every=timedelta(milliseconds=50), window=around))
    assert names(inbox, 3) == ["backup.c"] * 3


def test_intervals_outlive_a_jump_of_the_clock(schedule, clock):
    """A clock that is set, ahead or back, neither hurries nor delays an interval; a second look changes nothing."""
    schedule.set("backup.a", Timing(every=10 * HOUR))
    planned = schedule.next_run("backup.a")
    for ahead in (timedelta(days=365), -HOUR, timedelta()):
        clock.ahead = ahead
        for _ in range(2):
            schedule.reanchor()
            assert abs(schedule.next_run("backup.a") - ahead - planned) < timedelta(seconds=1)


def test_cron_is_computed_anew_after_a_jump(schedule, clock, inbox):
    """A clock set back a year has cron run by the year that it shows now."""
    cron = Cron.parse("0 0 1 1 *")
    clock.ahead = timedelta(days=3 * 365)
    schedule.set("backup.a", Timing(cron=cron))
    clock.ahead = timedelta(days=365)
    schedule.reanchor()
    assert schedule.next_run("backup.a") == cron.next(clock(), UTC)
    assert inbox.empty()


def test_a_time_that_the_clock_left_out_is_made_up_for(inbox, clock):
    """A jump ahead over three cron times runs the job once, at once, for the last of them."""
    schedule = Schedule(inbox.put, UTC, "web1", clock)
    clock.ahead = timedelta(days=-3)
    schedule.set("backup.a", Timing(cron=DAILY.cron, every=1000 * HOUR))
    clock.ahead = timedelta()
    schedule.reanchor()
    now = datetime.now(UTC)
    schedule.start()
    try:
        assert inbox.get(timeout=10) == Due("backup.a", Scheduled(DAILY.cron.previous(now, UTC), catch_up=True))
    finally:
        schedule.stop()
    assert inbox.empty()


def test_looking_again_does_not_run_twice(schedule, inbox):
    """Recomputing without a jump leaves each next run where it was and makes nothing due."""
    now = datetime.now(UTC)
    schedule.set("backup.a", DAILY)
    schedule.set("backup.b", Timing(every=HOUR))
    planned = schedule.next_run("backup.b")
    for _ in range(100):
        schedule.reanchor()
    assert schedule.next_run("backup.a") == DAILY.cron.next(now, UTC)
    assert abs(schedule.next_run("backup.b") - planned) < timedelta(seconds=5)
    assert inbox.empty()


def test_the_thread_is_watched(inbox):
    """`alive` is true while the thread runs, and false before the start and after the stop."""
    schedule = Schedule(inbox.put, UTC, "web1")
    assert not schedule.alive
    before = threading.active_count()
    schedule.start()
    assert schedule.alive
    schedule.set("check.disk", FAST)
    assert names(inbox, 3) == ["check.disk"] * 3
    assert threading.active_count() == before + 1
    schedule.stop()
    schedule.stop()
    assert not schedule.alive
    assert threading.active_count() == before


def test_a_put_that_fails_does_not_go_unnoticed():
    """If the inbox cannot take a Due, the schedule is no longer alive, so that the daemon ends and is restarted."""
    tried = threading.Event()

    def put(due):
        tried.set()
        raise MemoryError

    schedule = Schedule(put, UTC, "web1")
    schedule.start()
    try:
        schedule.set("check.disk", FAST)
        assert tried.wait(10)
        deadline = time.monotonic() + 10
        while schedule.alive and time.monotonic() < deadline:
            tried.wait(0.01)
        assert not schedule.alive
    finally:
        schedule.stop()


def test_nothing_is_written_to_the_terminal():
    """Not even a failing put makes apscheduler write to stdout or stderr, where events go."""
    code = """
import logging, queue, threading
from datetime import UTC, timedelta
from maintd.schedule import Schedule
from maintd.timing import Timing
logging.basicConfig(level=logging.DEBUG)
tried = queue.SimpleQueue()
def put(due):
    tried.put(due)
    raise MemoryError
schedule = Schedule(put, UTC, "web1")
schedule.start()
schedule.set("check.disk", Timing(every=timedelta(milliseconds=20)))
tried.get(timeout=10), tried.get(timeout=10)
schedule.stop()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_success_by_the_new_clock_is_not_moved_with_it(schedule, clock):
    """A run that ended between the jump and its being noticed counts from when it was, and not a year after."""
    schedule.set("expire.a", Timing(every=HOUR), clock())
    clock.ahead = timedelta(days=365)
    schedule.succeeded("expire.a", clock())
    schedule.reanchor()
    assert schedule.next_run("expire.a") <= clock() + HOUR
