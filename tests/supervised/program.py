"""What supervisord runs in these tests: `python -IS program.py WHAT …`."""

import os
import signal
import sys
import time


def idle() -> None:
    time.sleep(600)


def hold(megabytes: str) -> None:
    """Has that much memory of its own at once."""
    kept = bytearray(os.urandom(1 << 20) * int(megabytes))
    time.sleep(600)
    del kept


def shared(megabytes: str, children: str) -> None:
    """Forks children that share that much memory with it, which RSS counts once for each."""
    kept = bytearray(os.urandom(1 << 20) * int(megabytes))
    for _ in range(int(children)):
        if os.fork() == 0:
            sum(kept[::4096])  # touched, not written
            time.sleep(600)
            os._exit(0)
    time.sleep(600)


def heeding(megabytes: str, mark: str) -> None:
    """Gives its memory back at SIGUSR1."""
    kept = [bytearray(os.urandom(1 << 20) * int(megabytes))]

    def heed(*_: object) -> None:
        kept.clear()
        with open(mark, "ab") as file:
            file.write(b"heard\n")

    signal.signal(signal.SIGUSR1, heed)
    while True:
        time.sleep(0.5)


def crash(said: str, status: str) -> None:
    """Says something, the last of it in colour, and exits."""
    for number in range(20):
        print(f"line {number}", flush=True)
    print(f"\x1b[31m{said}\x1b[0m", flush=True)
    sys.exit(int(status))


def unless(path: str) -> None:
    """Fails at once, unless a file is there."""
    if not os.path.exists(path):
        print("no licence", flush=True)
        sys.exit(3)
    time.sleep(600)


def leak(megabytes: str) -> None:
    """Takes more memory all the time, up to that much."""
    kept = []
    for _ in range(int(megabytes) // 5):
        kept.append(os.urandom(5 << 20))
        time.sleep(0.3)
    time.sleep(600)


def busy(files: str) -> None:
    """Has that many files open, and works without end."""
    kept = [open(os.devnull, "rb") for _ in range(int(files))]
    while kept:
        pass


def until_allowed(megabytes: str, path: str) -> None:
    """Has memory of its own, and when it is told to stop does so only once a file is there."""

    def linger(*_: object) -> None:
        while not os.path.exists(path):
            time.sleep(0.02)
        os._exit(0)

    signal.signal(signal.SIGTERM, linger)
    hold(megabytes)


def once(path: str) -> None:
    """Does its work and ends well, once somebody has made the file."""
    if not os.path.exists(path):
        sys.exit(3)


def while_there(path: str) -> None:
    """Runs until a file is there, and then fails."""
    while not os.path.exists(path):
        time.sleep(0.02)
    sys.exit(4)


def orphaning() -> None:
    """Starts a process in a group of its own, which a stop does not reach, and takes memory."""
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    hold("40")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
