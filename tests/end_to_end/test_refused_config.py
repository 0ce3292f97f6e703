"""A config that cannot be taken over: every problem is told, and the one before stays in force."""

from .daemon import GROWS, ONE, TWO


def test_a_broken_config_is_refused_with_every_problem_and_the_old_one_stays(daemon):
    """SIGHUP with a config full of errors: config.rejected, each problem with its place, and the old jobs go on."""
    one = daemon(ONE).start()
    one.tree.write_config('[rotate.a]\npaths = ["LOGS/*.log"]\nmax_size = "10Q"\nkep = 3\n[rotat.b]\nx = 1\n')
    one.hang_up()
    rejected = one.event("config.rejected")
    assert (rejected["errors"], rejected["level"]) == (3, "error")
    one.event("config.problem", count=3)
    problems = [event["problem"] for event in one.events("config.problem")]
    for line, word in ((9, "10Q"), (10, "kep"), (11, "rotat")):
        assert any(problem.startswith(f"{one.tree.config}:{line}:") and word in problem for problem in problems)
    assert one.rotates("a/x.log")
    assert one.status()["jobs"][0]["name"] == "rotate.a"


def test_a_config_that_vanished_or_cannot_be_parsed_changes_nothing(daemon):
    """Without a file, or with one that ends in mid-word, the old config stays; corrected, it is taken over."""
    one = daemon(ONE).start()
    good = one.tree.config.read_bytes()
    one.tree.config.unlink()
    one.hang_up()
    assert "cannot be read" in one.event("config.problem")["problem"]
    one.tree.config.write_bytes(good[:-5])
    one.hang_up()
    one.event("config.rejected", count=2)
    assert one.rotates("a/x.log")
    one.tree.write_config(TWO)
    one.hang_up()
    assert one.event("config.reloaded")["diff"] == "+1 ~0 \N{MINUS SIGN}0"
    assert one.rotates("b/x.log")
    assert one.rotates("a/x.log")


def test_half_a_config_is_refused_until_it_is_forced(daemon):
    """A config that loses more than half of its jobs may be half-written: refused, until a person insists."""
    one = daemon("".join(GROWS.format(name) for name in "abcd")).start()
    one.tree.write_config(ONE)
    refused = one.tree.run("reload")
    assert refused.returncode == 1
    assert "3 of 4 jobs would be gone" in refused.stderr
    assert "maintd reload --force" in refused.stderr
    assert one.rotates("d/x.log")
    forced = one.tree.run("reload", "--force")
    assert forced.returncode == 0
    assert forced.stdout == "reloaded: +0 ~0 \N{MINUS SIGN}3: removed rotate.b, rotate.c, rotate.d\n"
    assert [job["name"] for job in one.status()["jobs"]] == ["rotate.a"]


def test_do_never_does_by_another_config_than_plan_showed(daemon):
    """A file that was edited and not reloaded: `do` through the daemon is refused, says what to do, does nothing."""
    one = daemon(ONE).start()
    one.tree.log("a/x.log", b"line\n" * 10)
    one.tree.write_config(ONE.replace("[rotate.a]", "[rotate.a]\nkeep = 30"))
    done = one.tree.run("do", "rotate.a")
    assert done.returncode == 1, done
    assert "maintd reload" in done.stderr
    assert one.events("log.rotated") == []
    assert one.tree.run("reload").returncode == 0
    assert one.tree.run("do", "rotate.a").returncode == 0


def test_a_main_file_that_is_empty_does_not_end_observing(daemon):
    """With all jobs in conf.d, a main file cut to nothing is valid and means the defaults: refused, nothing is done."""
    one = daemon("")
    one.tree.write_config("", daemon="observe = true")
    beside = one.tree.folder / "conf.d"
    beside.mkdir()
    (beside / "jobs.toml").write_text(ONE.replace("LOGS", str(one.tree.logs)))
    (beside / "jobs.toml").chmod(0o644)
    one.start()
    one.grow("a/x.log")
    one.event("action.planned", verb="rotate")
    whole = one.tree.config.read_text()
    one.tree.config.write_text("")
    one.hang_up()
    assert "[daemon] and [supervisor] would be gone" in one.event("config.problem")["problem"]
    one.tree.config.write_text(whole)
    assert one.status()["observe"]
    assert (one.events("config.reloaded"), one.events("log.rotated")) == ([], [])
    one.tree.config.write_text(whole[: whole.index("[supervisor]")])
    assert one.tree.run("reload").returncode == 1
    assert one.tree.run("reload", "--force").returncode == 0
    assert one.event("config.reloaded")["settings"] == "supervisor"


def test_another_state_dir_or_runtime_dir_takes_a_restart(daemon):
    """A reload cannot move the lock or the socket of a daemon that runs: refused, even if forced, with what to do."""
    one = daemon(ONE).start()
    good = one.tree.config.read_text()
    line = good.splitlines().index(f'state_dir = "{one.tree.folder}/state"') + 1
    one.tree.config.write_text(good.replace("/state", "/elsewhere"))
    for options in ([], ["--force"]):
        refused = one.tree.run("reload", *options)
        assert refused.returncode == 1
        assert f"{one.tree.config}:{line}:1: error: daemon.state_dir: " in refused.stderr
        assert "supervisorctl restart maintd" in refused.stderr
    one.tree.config.write_text(good.replace("/run", "/elsewhere"))
    one.hang_up()
    one.event("config.rejected", count=3)
    assert "daemon.runtime_dir" in one.events("config.problem")[-1]["problem"]
    assert not (one.tree.folder / "elsewhere").exists()
    assert one.stop() == 0
    one.start()
    assert one.events("daemon.started")[-1]["pid"] == one.status()["pid"]
