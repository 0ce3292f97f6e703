"""Which jobs hear of a change in a directory: those whose files or whose way to them it may concern, and no others."""

from pathlib import Path

from maintd.followers import Followers
from maintd.growth import Territory, survey
from maintd.inotify import Hint
from maintd.job import Watched


def territory(pattern: str) -> Territory:
    return survey([Watched((pattern,), (), 1)])


def changed(directory: Path, name: str) -> Hint:
    return Hint(str(directory), name, is_directory=False, has_appeared=True)


def test_a_change_beside_the_way_concerns_no_job(tmp_path):
    """A name that comes or goes concerns those who look for files there, or pass that name; a lost directory, all."""
    followers = Followers()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        followers.move(f"rotate.{name}", None, territory(f"{tmp_path}/{name}/*.log"))
    followers.move("rotate.top", None, territory(f"{tmp_path}/*.log"))
    assert followers.of(changed(tmp_path, "new.log")) == {"rotate.top"}
    assert followers.of(changed(tmp_path, "a")) == {"rotate.a", "rotate.top"}
    assert followers.of(changed(tmp_path / "b", "new.log")) == {"rotate.b"}
    assert followers.of(changed(tmp_path.parent, tmp_path.name)) == {"rotate.a", "rotate.b", "rotate.top"}
    assert followers.of(changed(tmp_path.parent, "other")) == set()
    assert followers.of(changed(tmp_path, "")) == {"rotate.a", "rotate.b", "rotate.top"}


def test_a_directory_is_given_up_with_the_last_job_that_watches_it(tmp_path):
    """Whoever leaves a directory hears no more of it; the last one to leave is told that nobody watches it now."""
    followers = Followers()
    (tmp_path / "a").mkdir()
    here, below = territory(f"{tmp_path}/*.log"), territory(f"{tmp_path}/a/*.log")
    followers.move("rotate.one", None, here)
    followers.move("rotate.two", None, below)
    assert followers.move("rotate.two", below, here) == {f"{tmp_path}/a"}
    assert followers.of(changed(tmp_path / "a", "new.log")) == set()
    assert followers.move("rotate.one", here, None) == set()
    assert followers.of(changed(tmp_path, "new.log")) == {"rotate.two"}
    assert followers.move("rotate.two", here, None) == here.to_watch
