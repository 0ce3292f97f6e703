"""Commands around the rotations of a daemon: once for each trigger, also where some logs are rotated in place."""

import pytest

from tests.conftest import until
from tests.numbered import writing

from .daemon import GROWS

COUNT = "$(ls LOGS | grep -cE 'Z(.zst)?$')"
JOB = f"""[rotate.all]
paths = ["LOGS/*.log"]
max_size = "20K"
before = ["/bin/sh", "-c", "echo before {COUNT} >> HERE/record"]
after = ["/bin/sh", "-c", "echo after {COUNT} >> HERE/record"]
"""


@pytest.mark.parametrize(("free", "held"), [(2, 0), (0, 1), (2, 1)], ids=["renamed", "in place", "both"])
def test_commands_run_once_around_all_that_a_trigger_rotates(daemon, free, held):
    """`before` has ended before anything is rotated, and `after` begins when all is; each runs once for a trigger."""
    one = daemon(JOB)
    for number in range(free):
        one.grow(f"{number}.log", b"x" * 40_000)
    with writing(one.tree.logs / "held.log") as writer:
        writer.write(1000 * held)
        one.start()
        one.event("log.rotated", count=free + held)
        until(lambda: one.state_of("rotate.all") == "idle", "the job is at rest")
        assert one.stop() == 0
        writer.check()
    assert (one.tree.folder / "record").read_text().splitlines() == ["before 0", f"after {free + held}"]


def test_a_command_after_rotations_in_place_holds_up_no_other_job(daemon):
    """While `after` of a job takes its time that rotated in place, the logs of another job are rotated."""
    after = "touch HERE/begun; until [ -e HERE/go ]; do sleep 0.02; done"
    job = f'[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "20K"\nafter = ["/bin/sh", "-c", "{after}"]\n'
    one = daemon(job + GROWS.format("b"))
    with writing(one.tree.logs / "held.log") as writer:
        writer.write(1000)
        one.start()
        until((one.tree.folder / "begun").exists, "the command has begun")
        log = one.grow("b/b.log")
        one.event("log.rotated", target=str(log))
        (one.tree.folder / "go").touch()
        one.event("command.finished")
    assert one.stop() == 0
