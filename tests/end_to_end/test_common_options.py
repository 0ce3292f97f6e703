"""The options that every kind of job has, as the real program goes by them: severity, timeout, spread, ping."""

import signal
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from typing import Any

import pytest

from maintd.timing import spread_offset
from tests.tree import Tree

JOB = '[rotate.a]\npaths = ["LOGS/*.log"]\ncron = "@yearly"\n'


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_severity_is_the_level_of_a_jobs_failures(tmp_path, severity):
    """What fails of a job, a command as the whole run, is told at the job's severity, and nothing else is."""
    tree = Tree(tmp_path, f"{JOB}severity = '{severity}'\nafter = ['/bin/false']\n")
    tree.log("x.log")
    did = tree.do()
    assert did.code == 5
    levels = {event["event"]: event["level"] for event in did.events()}
    assert (levels["command.failed"], levels["job.finished"], levels["log.rotated"]) == (severity, severity, "info")


def test_timeout_ends_a_run_that_takes_longer(tmp_path):
    """With timeout = "1s" a command without end is ended after a second, the run is a failure, and the log is whole."""
    tree = Tree(tmp_path, JOB + 'timeout = "1s"\nbefore = ["/bin/sleep", "300"]\n')
    log = tree.log("x.log", b"a line\n")
    did = tree.do()
    assert did.code == 1
    finished = did.event("job.finished")
    assert finished["outcome"] == "failure"
    assert 1000 <= finished["dur_ms"] < 8000, "the limit of a command by itself is 10 s"
    assert log.read_bytes() == b"a line\n"


def test_spread_delays_each_job_by_its_share(daemon):
    """The daemon starts a job with spread at its own fixed share of it after the slot, one without at the slot."""
    jobs = "".join(f'[rotate.{name}]\npaths = ["/none/*"]\ncron = "@yearly"\nspread = "6h"\n' for name in "ab")
    one = daemon(jobs + '[rotate.c]\npaths = ["/none/*"]\ncron = "@yearly"\n').start()
    next_runs = {job["name"]: datetime.fromisoformat(job["next"]) for job in one.status()["jobs"]}
    slot = datetime(next_runs["rotate.c"].year, 1, 1, tzinfo=UTC)
    shares = {name: spread_offset(timedelta(hours=6), socket.gethostname(), name) for name in ("rotate.a", "rotate.b")}
    assert all(share > timedelta(seconds=1) for share in shares.values())
    wanted = {name: (slot + share).replace(microsecond=0) for name, share in shares.items()}
    assert next_runs == wanted | {"rotate.c": slot}


@pytest.fixture
def monitor() -> Iterator[tuple[str, "SimpleQueue[str]"]]:
    """An HTTP server: its address, and what is asked of it. It answers 404 below /gone."""
    asked: SimpleQueue[str] = SimpleQueue()

    class Monitor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path.startswith("/gone") else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            asked.put(self.path)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Monitor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_ping_tells_a_monitor_how_a_run_went(daemon, monitor):
    """The URL is fetched after a run that had something to do, with /fail after one that failed; not after others."""
    address, asked = monitor
    unscheduled = JOB.replace('cron = "@yearly"', 'max_size = "1M"')
    one = daemon(f"{unscheduled}ping = '{address}/jobs/a?key=1'\n").start()
    assert one.tree.run("do", "rotate.a").returncode == 0  # there is no log
    one.tree.log("x.log")
    assert one.tree.run("do", "rotate.a").returncode == 0
    assert asked.get(timeout=20) == "/jobs/a?key=1"
    one.tree.write_config(f"{unscheduled}ping = '{address}/jobs/a?key=1'\nbefore = ['/bin/false']\n")
    assert one.tree.run("reload").returncode == 0
    one.tree.log("x.log")
    assert one.tree.run("do", "rotate.a").returncode == 1
    assert asked.get(timeout=20) == "/jobs/a/fail?key=1"
    assert asked.empty()


def test_ping_tells_of_starts_and_of_maintd_itself(daemon, monitor):
    """With ping_start a run of the schedule is told as /start and then by its exit code; maintd pings by itself."""
    address, asked = monitor
    job = '[expire.a]\npaths = ["LOGS/*.log"]\nkeep_last = 1\nevery = "1s"\n'
    one = daemon(f"{job}ping = '{address}/a'\nping_start = true\n")
    text = one.tree.config.read_text()
    one.tree.config.write_text(text.replace("[daemon]", f"[daemon]\nping = '{address}/maintd'\nping_every = '1s'"))
    one.tree.log("x.log")
    one.start()
    told: list[str] = []
    while sum(path.startswith("/a/0") for path in told) < 1 or told.count("/maintd") < 2:
        told.append(asked.get(timeout=20))
    end = next(path for path in told if path.startswith("/a/0?rid="))
    assert end.replace("/0?", "/start?") in told[: told.index(end)]


def test_a_ping_that_hangs_holds_up_no_others(daemon, monitor):
    """While the server of three jobs' pings hangs, maintd still tells of itself, and so does a job elsewhere."""
    address, asked = monitor
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere = f"http://127.0.0.1:{silent.getsockname()[1]}"
        urls = {name: f"{nowhere}/{name}" for name in "abc"} | {"good": f"{address}/good"}
        check = '[check.file.{0}]\npaths = ["/etc/hosts"]\nevery = "1s"\ntimeout = "900ms"\nping = "{1}"\n'
        one = daemon("".join(check.format(name, url) for name, url in urls.items()))
        text = one.tree.config.read_text()
        one.tree.config.write_text(text.replace("[daemon]", f"[daemon]\nping = '{address}/maintd'\nping_every = '1s'"))
        one.start()
        held, _ = silent.accept()
        while not asked.empty():
            asked.get()
        told: list[str] = []
        while told.count("/maintd") < 2 or told.count("/good") < 2:
            told.append(asked.get(timeout=20))
        held.setblocking(False)
        assert held.recv(65536).startswith(b"GET /")
        with pytest.raises(BlockingIOError):
            assert held.recv(1), "the ping that hung was over before"
        one.stop()
        held.close()


def test_each_run_that_was_told_to_begin_is_told_to_end(daemon, monitor):
    """What is made up for at each start of maintd, and finds nothing to do, is no run that never ended."""
    address, asked = monitor
    one = daemon(f"{JOB}ping = '{address}/a'\nping_start = true\n")
    for _ in range(2):
        one.start()
        begun, ended = asked.get(timeout=20), asked.get(timeout=20)
        assert begun.startswith("/a/start?rid=")
        assert ended == begun.replace("/start?", "/0?")
        one.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_the_end_of_maintd_cuts_off_is_told_to_end(daemon, monitor, number):
    """Its start was told; its end is told by its exit code 1, before maintd ends or by the next one; then a new run."""
    address, asked = monitor
    job = JOB.replace("@yearly", "@hourly") + 'before = ["/bin/sleep", "300"]\ntimeout = "1h"\n'
    one = daemon(f"{job}ping = '{address}/a'\nping_start = true\n")
    one.tree.log("x.log")
    one.tree.log("x.log.20260101T000000Z")
    one.start()
    told = [asked.get(timeout=20)]
    while not told[-1].startswith("/a/start?"):
        told.append(asked.get(timeout=20))
    begun = told[-1]
    one.process.send_signal(number)
    one.process.communicate()
    one.tree.write_config(f"{JOB}ping = '{address}/a'\nping_start = true\n")
    one.start()
    while begun.replace("/start?", "/1?") not in told:
        told.append(asked.get(timeout=20))
    one.stop()
    rid = begun.partition("?")[2]
    assert [path for path in told if rid in path] == [begun, begun.replace("/start?", "/1?")]


def test_a_failed_ping_names_its_job_and_hides_the_url(daemon, monitor):
    """ping.failed is found by `events --job`, and says of the URL only the server: the rest is often a secret."""
    address, _ = monitor
    secret = "s3cret-token"
    one = daemon(JOB).start()
    for name, url in (
        ("gone", f"{address.replace('://', f'://user:{secret}@')}/gone/{secret}?key={secret}"),
        ("odd", f"http://[odd/{secret}"),
    ):
        one.tree.write_config(f"{JOB.replace('rotate.a', f'rotate.{name}')}ping = '{url}'\n")
        assert one.tree.run("reload", "--force").returncode == 0
        one.tree.log("x.log")
        assert one.tree.run("do", "--all").returncode == 0
        told = one.event("ping.failed", job=f"rotate.{name}")
        assert told["target"] == (address if name == "gone" else "http://[odd")
    assert secret not in one.output.read_text()
    assert one.events("daemon.failed") == []
