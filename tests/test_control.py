"""The control socket: who may connect, what is asked and answered, and what happens when either side goes away."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from maintd import client
from maintd.control import LARGEST_BODY, Control
from maintd.errors import Locked, MaintdError, Refused, Unreachable
from maintd.requests import Request
from tests.conftest import Responder, Site, until


def raw(path: str, request: bytes) -> tuple[int, Any]:
    """The status and the JSON body that a hand-written request gets."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(request)
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def post(path: str, url: str, body: bytes) -> tuple[int, Any]:
    head = f"POST {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return raw(path, head.encode() + body)


def test_only_the_owner_can_connect(responder: Responder, site: Site):
    """The socket is 0600 in a directory that is 0700, whatever the umask."""
    assert stat.S_IMODE(os.lstat(responder.control.path).st_mode) == 0o600
    assert stat.S_IMODE(site.runtime_dir.stat().st_mode) == 0o700
    assert stat.S_ISSOCK(os.lstat(responder.control.path).st_mode)


def test_a_directory_that_others_can_write_is_refused(site: Site):
    """An existing runtime_dir keeps its mode; one in which others could put a socket of theirs is refused."""
    site.runtime_dir.mkdir()
    path = str(site.runtime_dir / "control.sock")
    for mode, is_refused in ((0o755, False), (0o770, True), (0o1777, True)):
        site.runtime_dir.chmod(mode)
        control = Control(path, lambda _: None)
        if is_refused:
            with pytest.raises(Refused, match="others can write"):
                control.start()
        else:
            control.start()
            control.stop()
        assert stat.S_IMODE(site.runtime_dir.stat().st_mode) == mode


def test_a_stale_socket_is_replaced(site: Site):
    """A socket that a killed daemon left does not keep the next one from starting."""
    site.runtime_dir.mkdir()
    path = str(site.runtime_dir / "control.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    responder = Responder(path)
    responder.says("status", {"version": "1"})
    responder.start()
    try:
        assert client.ask(path, "GET", "/status") == {"version": "1"}
    finally:
        responder.stop()


def test_an_answering_socket_is_respected(responder: Responder):
    """Where a daemon answers no second one takes its place."""
    responder.says("status", {"pid": 1})
    with pytest.raises(Locked):
        Control(responder.control.path, lambda _: None).start()
    assert client.ask(responder.control.path, "GET", "/status") == {"pid": 1}


def test_a_file_in_the_way_is_left_alone(site: Site):
    """What is no socket is never removed."""
    site.runtime_dir.mkdir()
    path = site.runtime_dir / "control.sock"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        Control(str(path), lambda _: None).start()
    assert path.read_text() == "mine"


def test_too_long_a_path_is_said_clearly(tmp_path: Path):
    """A path that does not fit into sun_path gets a message that says so and what to do."""
    with pytest.raises(MaintdError, match="longer than 107 bytes") as caught:
        Control(str(tmp_path / ("x" * 100) / "control.sock"), lambda _: None).start()
    assert "runtime_dir" in caught.value.hint


def test_an_answer_comes_back_whole(responder: Responder):
    """What the daemon answers arrives, also names that are not UTF-8."""
    answer = {"ok": True, "diff": "+2 ~1 \N{MINUS SIGN}0", "problems": ["/x/\udcff"], "warnings": [], "hint": ""}
    responder.says("reload", answer)
    assert client.ask(responder.control.path, "POST", "/reload", {"force": True}) == answer
    assert responder.asked[0].arguments == {"force": True}


def test_arguments_that_are_left_out_have_their_defaults(responder: Responder):
    """An empty body asks for what a verb does by itself."""
    responder.says("reload", {"ok": True})
    assert post(responder.control.path, "/reload", b"") == (200, {"ok": True})
    assert responder.asked[0].arguments == {"force": False}


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/reload", b"{"),
        ("/reload", b"[]"),
        ("/reload", b"\xff"),
        ("/reload", b'{"force": "yes"}'),
        ("/reload", b'{"force": true, "more": 1}'),
        ("/pause", b"{}"),
        ("/pause", b'{"job": 3}'),
        ("/pause", b'{"job": "a.b", "seconds": true}'),
        ("/pause", b'{"job": "a.b", "seconds": -1}'),
        ("/pause", b'{"job": "a.b", "seconds": 1e999}'),
        ("/pause", b'{"job": "a.b", "seconds": NaN}'),
        ("/do", b'{"jobs": "a.b"}'),
        ("/do", b"{}"),
        ("/do", b'{"jobs": ["a.b"], "all": true}'),
        ("/do", b'{"all": "yes"}'),
        ("/do", b'{"jobs": []}'),
        ("/do", b'{"jobs": [1]}'),
        ("/do", b"[" * 60_000),
        ("/do", b'{"jobs": ["' + b"x" * LARGEST_BODY + b'"]}'),
    ],
)
def test_what_cannot_be_meant_is_refused(responder: Responder, url: str, body: bytes):
    """A wrong body gets 400 with the reason in JSON, and never reaches the daemon."""
    status, answer = post(responder.control.path, url, body)
    assert status == 400
    assert answer["error"]
    assert responder.asked == []


@pytest.mark.parametrize(("line", "status"), [(b"GET /nothing", 404), (b"GET /reload", 405), (b"POST /status", 405)])
def test_unknown_requests_are_refused_in_json(responder: Responder, line: bytes, status: int):
    """A wrong path or method is answered in JSON as well."""
    found = raw(responder.control.path, line + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert found[0] == status
    assert found[1]["error"]


def test_a_run_is_shown_as_it_goes(responder: Responder):
    """Each message arrives when it is put, not when the run is over."""
    replies: SimpleQueue[Any] = SimpleQueue()
    responder.answers["do"] = lambda request: replies.put(request.reply)
    messages = client.stream(responder.control.path, "/do", {"jobs": ["rotate.a"], "due_only": True})
    first = {"type": "step", "job": "rotate.a", "index": 0, "of": 1, "verb": "rotate", "target": "/l/\udcff\n"}

    def put_first() -> None:
        reply = replies.get(timeout=10)
        replies.put(reply)
        reply.put(first)

    thread = threading.Thread(target=put_first)
    thread.start()
    assert next(messages) == first
    thread.join()
    reply = replies.get(timeout=10)
    reply.put({"type": "end"})
    reply.put(None)
    assert list(messages) == [{"type": "end"}]
    assert responder.asked[0].arguments == {"jobs": ["rotate.a"], "all": False, "due_only": True}


def test_a_client_that_leaves_harms_nobody(responder: Responder):
    """When the asker goes away in the middle, the daemon goes on putting, and others are answered."""
    replies: SimpleQueue[Any] = SimpleQueue()

    def begin(request: Request) -> None:
        request.reply.put({"type": "progress", "job": "a.b", "bytes": 1})
        replies.put(request.reply)

    responder.answers["do"] = begin
    responder.says("status", {"pid": 1})
    messages = client.stream(responder.control.path, "/do", {"jobs": ["a.b"]})
    next(messages)
    messages.close()
    reply = replies.get(timeout=10)
    for count in range(30_000):
        reply.put({"type": "event", "n": count})
    reply.put(None)
    assert client.ask(responder.control.path, "GET", "/status") == {"pid": 1}


def test_a_daemon_that_ends_breaks_off_its_answers(site: Site):
    """An asker learns of the daemon's end in the middle of a run, and does not wait for ever."""
    responder = Responder(str(site.runtime_dir / "control.sock"))
    responder.answers["do"] = lambda request: request.reply.put({"type": "progress", "job": "a.b", "bytes": 1})
    responder.start()
    messages = client.stream(responder.control.path, "/do", {"jobs": ["a.b"]})
    assert next(messages)["type"] == "progress"
    responder.stop()
    with pytest.raises((Unreachable, StopIteration)):
        next(messages)
    until(lambda: not responder.control.alive, "its thread has ended")
    assert not os.path.lexists(responder.control.path)


def test_another_daemons_socket_survives(site: Site):
    """A daemon that ends removes its own socket, not the one that has its path by now."""
    responder = Responder(str(site.runtime_dir / "control.sock"))
    responder.start()
    os.unlink(responder.control.path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(responder.control.path)
        responder.stop()
        assert os.path.lexists(responder.control.path)


def test_nobody_there_is_unreachable_with_advice(site: Site):
    """Without a daemon the asker is told where it looked and what to look at."""
    with pytest.raises(Unreachable, match=r"control\.sock") as caught:
        client.ask(str(site.runtime_dir / "control.sock"), "GET", "/status")
    assert "supervisorctl" in caught.value.hint


def test_the_server_is_silent(site: Site):
    """stdout and stderr carry events only: the server's libraries write nothing there, whatever is asked."""
    code = """
import sys
from maintd import client, log
from maintd.control import Control
log.silence_stdlib_logging()
def put(request):
    if request.verb == "status":
        raise RuntimeError("a fault of the daemon")
    request.reply.put({}); request.reply.put(None)
control = Control(sys.argv[1], put)
control.start()
try:
    client.ask(sys.argv[1], "GET", "/status", timeout=5)
except Exception as error:
    assert str(error) == "internal error", error
client.ask(sys.argv[1], "POST", "/reload")
control.stop()
"""
    argv = [sys.executable, "-c", code, str(site.runtime_dir / "control.sock")]
    found = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_asking_needs_no_server_library():
    """A command that only asks loads neither the server's libraries nor those of the config."""
    code = "import sys, maintd.client; print(*{'uvicorn', 'starlette', 'pydantic', 'asyncio'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60)
    assert found.stdout.strip() == ""


def test_the_server_starts_and_stops_in_time(site: Site):
    """Ten starts and stops in a row leave no thread and no socket behind."""
    for _ in range(10):
        control = Control(str(site.runtime_dir / "control.sock"), lambda _: None)
        control.start()
        assert control.alive
        control.stop()
        assert not control.alive
        assert list(site.runtime_dir.iterdir()) == []
