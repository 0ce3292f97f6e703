"""Pauses: nothing runs by itself in one, and what was missed is made up for afterwards."""

from datetime import UTC, datetime, timedelta

from .daemon import GROWS, ONE, TWO


def test_a_pause_holds_over_a_restart_and_is_made_up_for(daemon):
    """A paused job is not run for growth, not caught up on at a start, and does what it missed when resumed."""
    one = daemon(ONE + 'cron = "@daily"\n' + GROWS.format("b"))
    late = one.tree.log("a/late.log")
    stamp = datetime.now(UTC) - timedelta(days=2)
    one.tree.log(f"a/late.log.{stamp:%Y%m%dT%H%M%SZ}.zst")
    one.start()
    one.event("log.rotated", target=str(late), count=1)
    assert one.tree.run("pause", "rotate.a").returncode == 0
    one.event("job.paused", job="rotate.a")
    paused = one.grow("a/x.log")
    assert one.rotates("b/x.log")
    assert one.stop() == 0
    one.start()
    assert one.state_of("rotate.a") == "paused"
    assert one.rotates("b/x.log")
    assert one.rotates("b/x.log")
    assert paused.stat().st_size == 2000
    assert one.tree.run("resume", "rotate.a").returncode == 0
    one.event("log.rotated", target=str(paused))


def test_a_pause_is_not_caught_up_on_at_a_start(daemon):
    """A job that is paused when the daemon starts does not make up for what it missed while it was down."""
    one = daemon(GROWS.format("b")).start()  # rotate.a is new to the second one, which must not have run it before
    assert one.tree.run("pause").returncode == 0
    assert one.stop() == 0
    one.tree.write_config(ONE + 'cron = "@daily"\n' + GROWS.format("b"))
    late = one.tree.log("a/late.log")
    one.tree.log(f"a/late.log.{datetime.now(UTC) - timedelta(days=2):%Y%m%dT%H%M%SZ}.zst")
    one.start()
    assert one.status()["paused_all"] is True
    assert one.tree.run("do", "rotate.b").returncode == 0  # whatever was queued before it is done by now
    assert late.stat().st_size
    assert one.tree.run("resume").returncode == 0
    one.event("log.rotated", target=str(late))


def test_a_paused_job_that_left_the_config_may_still_be_resumed(daemon):
    """Resuming a job that a reload has removed meanwhile is no harm to the daemon."""
    one = daemon(TWO + GROWS.format("c")).start()
    assert one.tree.run("pause", "rotate.c").returncode == 0
    one.tree.write_config(TWO)
    assert one.tree.run("reload").returncode == 0
    assert one.tree.run("resume", "rotate.c").returncode == 0
    assert one.event("job.resumed")["job"] == "rotate.c"
    assert one.tree.run("resume", "rotate.c").returncode == 2
    assert one.tree.run("pause", "--for", "1s").returncode == 0
    assert one.rotates("a/x.log")


def test_a_pause_with_an_end_ends_by_itself_and_ends_no_other(daemon):
    """After `pause --for` the jobs go on without a word from anybody; one that was paused by itself stays paused."""
    one = daemon(TWO).start()
    assert one.tree.run("pause", "rotate.b").returncode == 0
    assert one.tree.run("pause", "--for", "1s").returncode == 0
    log = one.grow("a/x.log")
    one.event("job.resumed")
    one.event("log.rotated", target=str(log))
    assert one.state_of("rotate.a") != "paused"
    assert one.state_of("rotate.b") == "paused"


def test_a_resume_of_one_job_says_that_all_are_paused(daemon):
    """While all jobs are paused, resuming one says so, and what ends that; it then does."""
    one = daemon(TWO).start()
    assert one.tree.run("pause", "--for", "2h").returncode == 0
    alone = one.tree.run("resume", "rotate.a")
    assert alone.returncode == 1
    assert "rotate.a is not paused by itself, but all jobs are paused together" in alone.stderr
    assert "`maintd resume` without a name ends that" in alone.stderr
    assert one.tree.run("pause", "rotate.a", "--for", "30m").returncode == 0
    both = one.tree.run("resume", "rotate.a")
    assert both.returncode == 0
    assert "rotate.a, which stays paused: all jobs are paused together" in both.stdout
    assert one.state_of("rotate.a") == "paused"
    assert one.tree.run("resume").stdout == "resumed all jobs\n"
    assert one.state_of("rotate.a") != "paused"
