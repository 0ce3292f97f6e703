"""Two daemons on one place, and what a dead one left: one works, the other says why not."""

import signal
import socket

from .daemon import ONE


def test_a_second_daemon_on_one_state_dir_ends_with_75(daemon):
    """The second daemon says whose pid holds the lock and ends with 75; the first is not disturbed."""
    first = daemon(ONE).start()
    assert first.process
    second = first.tree.run("run")
    assert second.returncode == 75
    assert second.stderr.splitlines()[0] == (
        f"maintd: another maintd (pid {first.process.pid}) works on {first.tree.folder}/state"
    )
    assert "supervisorctl stop" in second.stderr
    assert second.stdout == ""
    assert first.rotates("a/x.log")


def test_what_a_killed_daemon_left_does_not_keep_the_next_from_starting(daemon):
    """A stale socket and a lock file without a holder are taken over, and the new daemon answers."""
    one = daemon(ONE).start()
    one.stop(signal.SIGKILL)
    assert (one.tree.folder / "run/control.sock").is_socket()
    one.start()
    assert one.process
    assert one.status()["pid"] == one.process.pid
    assert one.stop() == 0
    assert not (one.tree.folder / "run/control.sock").exists()


def test_a_socket_path_that_is_something_else_is_one_message(daemon):
    """A file where the control socket should be is not removed: the daemon says so and ends with 1."""
    one = daemon(ONE)
    (one.tree.folder / "run").mkdir()
    (one.tree.folder / "run/control.sock").write_text("precious")
    done = one.tree.run("run")
    assert done.returncode == 1
    assert done.stderr.startswith("maintd: ")
    assert "control.sock" in done.stderr
    assert "Traceback" not in done.stderr
    assert (one.tree.folder / "run/control.sock").read_text() == "precious"


def test_a_socket_that_another_program_answers_is_left_to_it(daemon):
    """A socket on which somebody answers is never taken away: exit code 75 with advice."""
    one = daemon(ONE)
    (one.tree.folder / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(one.tree.folder / "run/control.sock"))
        listener.listen()
        done = one.tree.run("run")
    assert done.returncode == 75
    assert "runtime_dir" in done.stderr
