"""Signals as a real process hears them."""

import os
import signal
import subprocess
from pathlib import Path

from .conftest import PROGRAM, until

HEARS = """
import ctypes, os, signal, sys
from maintd.hearing import Hearing

reads, tells = int(sys.argv[1]), 1
Hearing({signal.SIGHUP: lambda: os.write(tells, b"heard\\n")})
os.write(tells, b"ready\\n")
print(ctypes.CDLL(None).read(reads, ctypes.create_string_buffer(1), 1))
"""


def test_a_signal_is_heard_at_once_and_interrupts_no_call_of_a_library():
    """What a library asks of the kernel while a signal comes, SQLite an fsync for example, is not broken off by it."""
    reads, writes = os.pipe()
    line = [PROGRAM.with_name("python"), "-c", HEARS, str(reads)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, pass_fds=[reads]) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        call = Path(f"/proc/{process.pid}/syscall")
        until(lambda: call.read_text().startswith(("0 ", "63 ")), "it reads")  # read(2) of x86-64, or of others
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == b"heard\n"
        os.write(writes, b"x")
        assert process.stdout.readline() == b"1\n"
