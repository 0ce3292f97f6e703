"""What maintd itself is short of: descriptors, and connections that one user would like to have all of."""

import grp
import json
import os
import resource
import select
import socket
import subprocess
import sys

import pytest

from maintd import client
from tests.conftest import environment, until
from tests.tree import MAINTD

from .conftest import seen
from .servers import Server
from .test_daemon import FAST, http, is_up

HEARTBEAT = f'[check.heartbeat.backup]\ndown_age = "1h"\n{FAST}'
FILES = (
    f'[check.file.some]\npaths = ["LOGS/*.json"]\n{FAST}'
    f'[check.file.none]\npaths = ["LOGS/*.nix"]\nabsent = true\n{FAST}'
)
HOLDS = """
import encodings.idna, os, select, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[3]))
os.setuid(65534)
held = []
poll = select.poll()
for number in range(int(sys.argv[2])):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].settimeout(5)
    held[-1].connect(sys.argv[1])
    poll.register(held[-1], select.POLLRDHUP)
print("open", flush=True)
left = {one.fileno() for one in held}
while left:
    ready = poll.poll(20_000)
    assert ready, len(left)
    for descriptor, _ in ready:
        left.discard(descriptor)
        poll.unregister(descriptor)
print("over", flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_one_user_of_the_group_does_not_take_all_connections(daemon):
    """A user who opens 800 connections and asks nothing keeps 16 of them, for some seconds: others are answered
    meanwhile, and maintd is not short of descriptors.
    """
    one = daemon("")
    folder = one.tree.folder
    os.chmod(folder, 0o755)
    one.tree.write_config(HEARTBEAT, daemon=f'status_group = "games"\nstatus_dir = "{folder}/open"')
    one.start()
    place = f"{folder}/open/status.sock"
    holder = subprocess.Popen(
        [sys.executable, "-IS", "-c", HOLDS, place, "800", str(grp.getgrnam("games").gr_gid)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "open\n"
        assert client.ask(place, "POST", "/beat", {"name": "backup"})["ok"]
        until(lambda: len(os.listdir(f"/proc/{one.process.pid}/fd")) < 100, "most are closed", 10)
        assert holder.communicate(timeout=40)[0] == "over\n"
        assert holder.returncode == 0
    finally:
        holder.kill()
        holder.communicate()
    until(lambda: one.status()["checks"][0]["health"] == "up", "the beat counts")
    assert one.events("check.failed") == one.events("daemon.failed") == []


def test_a_connection_that_drips_or_stays_is_closed(responder):
    """A request of which a byte comes now and then is over as soon as one of which none comes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(responder.control.path)
        ends = select.poll()
        ends.register(connection, select.POLLRDHUP)
        for letter in b"GET /status HTTP/1.1":
            if ends.poll(500):
                break
            connection.send(bytes([letter]))
        assert ends.poll(0)


def test_what_maintd_is_short_of_is_told_of_no_other(daemon, web: Server):
    """Without a descriptor left no check is down, and maintd lives on; with some again all is as before."""
    answer = is_up(web, "/a")
    named = f'[check.http.named]\nurl = "{web.url.replace("127.0.0.1", "localhost")}/a"\n{FAST}'
    one = daemon(http(web, "a") + named + f'[check.program.true]\ncommand = ["/bin/true"]\n{FAST}' + FILES)
    one.tree.log("some.json")
    one.start()
    until(lambda: {check["health"] for check in one.status()["checks"]} == {"up"}, "all are up", 30)
    pid = one.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    assert before[0] >= min(4096, before[1])
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, before[1]))
    for name in ("check.http.a", "check.http.named", "check.file.some", "check.file.none"):
        one.event("check.unknown", job=name)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    answer(False)
    one.event("check.failed", count=2)
    assert {failed["job"] for failed in one.events("check.failed")} == {"check.http.a", "check.http.named"}
    assert {check["health"] for check in one.status()["checks"]} <= {"up", "down"}
    assert one.stop() == 0
    assert one.events("daemon.failed") == one.events("job.failed") == []


def test_a_full_queue_of_a_unix_socket_is_down_once_the_time_is_over(tree):
    """A server that takes nobody has hung: it is waited for until the deadline, and that is not for want of maintd."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(f"{tree.folder}/socket")
        server.listen(0)
        first.connect(f"{tree.folder}/socket")
        found = seen(tree, f'[check.tcp.a]\nsocket = "{tree.folder}/socket"\ntimeout = "300ms"\n')["check.tcp.a"]
    assert (found["health"], found["reason"]) == ("down", "no answer within 300ms")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network of its own")
def test_what_this_machine_has_no_address_for_is_unknown(tree):
    """Without IPv6 what has such an address alone cannot be told; of what has another as well, that one counts."""
    hosts = tree.folder / "hosts"
    hosts.write_text("127.0.0.1 both.example\n::1 both.example\n")
    tree.write_config('[check.tcp.alone]\nhost = "::1"\nport = 1\n[check.tcp.both]\nhost = "both.example"\nport = 1\n')
    looks = f'mount --bind {hosts} /etc/hosts && exec "$0" -c {tree.config} do --all --json'
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", looks, MAINTD],
        check=False,
        capture_output=True,
        env=environment(),
        timeout=60,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    found = {event["job"]: event["health"] for event in events if event.get("event") == "check.seen"}
    assert found == {"check.tcp.alone": "unknown", "check.tcp.both": "down"}
