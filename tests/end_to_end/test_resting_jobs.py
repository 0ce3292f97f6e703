"""Jobs that are switched off, or only observe: they change nothing, whatever grows."""

import time

from tests.conftest import snapshot

from .daemon import GROWS, ONE, TWO


def test_a_disabled_job_runs_neither_before_nor_after_a_reload(daemon):
    """enabled = false keeps a job in the file and lets it rest, also when it is switched off by a reload."""
    one = daemon(ONE + "enabled = false\n" + GROWS.format("b")).start()
    idle = one.grow("a/x.log")
    assert one.rotates("b/x.log")
    assert one.rotates("b/x.log")
    assert (one.state_of("rotate.a"), idle.stat().st_size) == ("disabled", 2000)
    one.tree.write_config(ONE + GROWS.format("b") + "enabled = false\n")
    assert one.tree.run("reload").returncode == 0
    one.event("log.rotated", target=str(idle))
    idle = one.grow("b/x.log")
    assert one.rotates("a/x.log")
    assert one.rotates("a/x.log")
    assert idle.stat().st_size == 2000


def test_growth_that_is_only_observed_is_said_once(daemon):
    """A log that stays too large under observe is told once; when the job observes no more, it is rotated at once."""
    one = daemon(ONE + "observe = true\n" + GROWS.format("b")).start()
    begun = time.monotonic()
    log = one.grow("a/x.log")
    one.event("job.finished", job="rotate.a")
    while time.monotonic() < begun + 2:  # what is still too large after a run is looked at again a second later
        assert one.rotates("b/x.log")
    assert len([event for event in one.events("action.planned") if event["target"] == str(log)]) == 1
    assert len([event for event in one.events("job.finished") if event["job"] == "rotate.a"]) == 1
    one.tree.write_config(TWO)
    assert one.tree.run("reload").returncode == 0
    one.event("log.rotated", target=str(log))


def test_a_job_that_observes_says_what_it_would_do_and_changes_nothing(daemon):
    """Under observe, each action is told as action.planned with its reason, once, and no file is touched."""
    one = daemon(ONE + "observe = true\nkeep = 1\n")
    one.tree.log("a/x.log.20250101T000000Z")
    one.tree.log("a/x.log.20260101T000000Z.zst")
    log = one.grow("a/x.log")
    before = snapshot(one.tree.logs)
    one.start()
    planned = one.event("action.planned", verb="rotate", target=str(log))
    assert "would rotate it" in planned["msg"]
    assert "more than max_size" in planned["reason"]
    one.event("action.planned", verb="delete")
    one.event("job.finished", outcome="skipped", done=0, count=2)
    said = [(event["verb"], event["target"]) for event in one.events("action.planned")]
    assert sorted(set(said)) == sorted(said)
    assert snapshot(one.tree.logs) == before
    assert one.tree.do().event("job.finished")["outcome"] == "skipped"
    assert snapshot(one.tree.logs) == before
