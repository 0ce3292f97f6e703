"""`maintd do` while a daemon is at work: it does what `plan` shows, of the same config, or nothing."""

import pytest

from .daemon import ONE, TWO


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[supervisor]", "observe = true\n[supervisor]"),
        ("[supervisor]", 'timezone = "Europe/Berlin"\n[supervisor]'),
        ("supervisor.sock", "other.sock"),
        ("[rotate.b]", "[rotate.c]"),
        ("[rotate.b]", "[rotate.b]\nenabled = false"),
        ("[rotate.b]", '[rotate.c]\npaths = ["/none/*.log"]\nmax_size = "1M"\n[rotate.b]'),
    ],
    ids=["observe", "timezone", "supervisor", "renamed", "disabled", "added"],
)
def test_an_edit_that_is_not_taken_over_keeps_do_from_working(daemon, before, after):
    """Whatever differs between the file and what the daemon has, `do` says what to do about it and does nothing."""
    one = daemon(TWO).start()
    one.tree.log("a/x.log")
    good = one.tree.config.read_text()
    assert before in good
    one.tree.config.write_text(good.replace(before, after))
    for order in ("--all", "rotate.a"):
        done = one.tree.run("do", order)
        assert done.returncode == 1, done
        assert "maintd reload" in done.stderr
    assert one.events("log.rotated") == []
    one.tree.config.write_text(good)
    assert one.tree.run("do", "--all").returncode == 0
    assert one.event("log.rotated")


def test_the_order_of_jobs_counts_too(daemon):
    """The first job in the file owns a log that two claim: another order is another plan."""
    one = daemon(ONE + ONE.replace("rotate.a", "rotate.b")).start()
    one.tree.log("a/x.log")
    one.tree.write_config(ONE.replace("rotate.a", "rotate.b") + ONE)
    done = one.tree.run("do", "--all")
    assert (done.returncode, one.events("log.rotated")) == (1, [])
    assert "the order of the jobs" in done.stderr
    assert one.tree.run("reload").returncode == 0
    assert one.tree.run("do", "--all").returncode == 0
    assert one.event("log.rotated")["job"] == "rotate.b"


def test_all_of_very_many_jobs(daemon):
    """`do --all` through the daemon works however many jobs there are, and however long their names."""
    names = [f"{'long' * 40}{number}" for number in range(500)]
    jobs = "".join(f'[rotate.{name}]\npaths = ["LOGS/{name}.log"]\ncron = "@yearly"\n' for name in names)
    one = daemon(jobs).start()
    one.tree.log(f"{names[-1]}.log")
    done = one.tree.run("do", "--all")
    assert done.returncode == 0, done.stderr
    assert one.event("log.rotated")["job"] == f"rotate.{names[-1]}"


def test_an_edited_state_dir_lets_nobody_work_beside_the_daemon(daemon):
    """With another state_dir in the file the lock there is free, and `do` still does not work beside the daemon."""
    one = daemon(TWO).start()
    one.tree.log("a/x.log", b"line\n")
    one.tree.config.write_text(one.tree.config.read_text().replace("/state", "/elsewhere"))
    done = one.tree.run("do", "--all")
    assert done.returncode == 75, done
    assert "supervisorctl restart maintd" in done.stderr
    assert one.tree.names() == ["a/x.log"]
