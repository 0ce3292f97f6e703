"""The process under test, forked from one that has loaded maintd: `python -m tests.faults.subject SOCKET OUT ERR`.

It runs in the runtime environment, so it imports nothing but the standard library and maintd. The server is told by
SOCK_SEQPACKET what to run; each subject sends its listener before it starts, and the server how it ended. Their output
goes to the descriptors OUT and ERR.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

from . import forking, seccomp

_MODULES = (
    *("daemon", "runner", "rotation", "settling", "families", "actions.compress", "client"),
    *("child", "commands", "copies", "inplace", "moves", "dropping", "ballast", "storing", "bundling", "packing"),
    *("unpacking", "restored", "restic", "remote", "livedb"),
)
"""What a run and its children load."""
_CONFIG = """
[rotate.a]
paths = ["/nowhere/*.log"]
max_size = "1M"
[compress.a]
paths = ["/nowhere/*.csv"]
older_than = "1d"
cron = "@daily"
[expire.a]
paths = ["/nowhere/*.pdf"]
keep_last = 1
cron = "@daily"
[archive.a]
paths = ["/nowhere/*.txt"]
older_than = "1d"
to = "/nowhere/else"
cron = "@daily"
[backup.a]
files = ["/nowhere/*.db"]
destination = "/nowhere/kept"
cron = "@daily"
"""
"""What it reads once before all runs, so that the tables of these kinds are made."""
_PR_SET_CHILD_SUBREAPER = 36
_GRACE = 1.0
"""Seconds for what a subject leaves behind to end by itself."""


def main() -> None:
    """Answers requests until the campaign's end of the socket is closed."""
    number, out, err = map(int, sys.argv[1:])
    channel = socket.socket(fileno=number)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _load()
    turn = 0
    while request := channel.recv(1 << 16):
        turn += 1
        pid = os.fork()
        if pid == 0:
            if turn % forking.EXECUTED:
                forking.install()
            _live(channel, json.loads(request), out, err)
        status = os.waitpid(pid, 0)[1]
        orphans = _ended()
        channel.send(json.dumps([os.waitstatus_to_exitcode(status), orphans]).encode())


def _load() -> None:
    from maintd import cli

    for verb in cli.VERBS:
        cli._Verbs()[verb]
    for name in _MODULES:
        try:
            importlib.import_module(f"maintd.{name}")
        except ModuleNotFoundError:  # loading is only for speed
            traceback.print_exc()
    from maintd import config, values

    for kind in tuple(values._pending):
        values.completed(kind)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(_CONFIG)
        file.flush()
        config.load(file.name)
    gc.collect()
    gc.freeze()  # what is looked at by no collection is copied for no subject


def _live(channel: socket.socket, argv: list[str], out: int, err: int) -> NoReturn:
    """The subject: the real command line."""
    code = 99
    try:
        for found, standard in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(found, standard)
            os.close(found)
        os.chdir("/")
        sys.argv = ["maintd", *argv]
        listener = seccomp.install()
        socket.send_fds(channel, [str(os.getpid()).encode()], [listener])
        os.close(listener)
        channel.close()
        from maintd import cli

        cli.main()
    except SystemExit as ending:
        code = int(ending.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ended() -> int:
    """Waits for what the subject left; how many processes had to be killed."""
    deadline = time.monotonic() + _GRACE
    killed: set[int] = set()
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    killed |= {pid for pid in _children() if pid not in killed and _kill(pid)}
                time.sleep(0.001)
        except ChildProcessError:
            return len(killed)


def _children() -> Iterator[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        yield from map(int, file.read().split())


def _kill(pid: int) -> bool:
    os.kill(pid, signal.SIGKILL)
    return True


if __name__ == "__main__":
    main()
