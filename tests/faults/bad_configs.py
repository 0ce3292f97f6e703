"""Configs that nobody should be able to harm a daemon with: noise, spoilt text, wrong types, huge and deeply nested."""

import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from maintd import jobs
from maintd.settings import TABLES

Dice = random.Random

VALUES = [
    "0",
    "-1",
    "1",
    "true",
    "false",
    "9" * 4000,
    "9" * 5000,
    "-9223372036854775809",
    "18446744073709551616",
    "0x" + "f" * 300,
    "1e308",
    "1e999",
    "-0.0",
    "inf",
    "-inf",
    "nan",
    "1979-05-27",
    "07:32:00",
    "1979-05-27T07:32:00Z",
    "9999-12-31T23:59:59.999999-23:59",
    '""',
    '"x"',
    '"/"',
    '"/nowhere/*.log"',
    r'"\u0000"',
    r'"/\u0000"',
    r'"\U0010FFFF\u202E\u0085"',
    "'/[[[[[[*?]'",
    "'/nowhere/**/**/**/**/**/**/x'",
    '"10Q"',
    '"1e3G"',
    '"-5M"',
    '"999999999999999999999T"',
    '"0.0000000001B"',
    '"99999999999999999999d"',
    '"1d1d1d"',
    '"0s"',
    '"* * * * *"',
    '"0 0 31 2 *"',
    '"@reboot"',
    '"61 25 32 13 8"',
    '"*/0 * * * *"',
    '"1-99999999 * * * *"',
    '"25:00-26:00"',
    '"00:00-00:00"',
    '"Europe"',
    '"../../etc/passwd"',
    '"http://["',
    '"unix://"',
    '"ftp://x"',
    '"0777777"',
    '"7777"',
    '"root"',
    '"no such user"',
    "[]",
    "[[]]",
    "[1, 'x', 1.0, true, {}]",
    '["/nowhere/a", "/nowhere/b"]',
    '[""]',
    "{}",
    "{ a = 1 }",
    "{ name = 'KILL', pidfile = '/x' }",
    "{ name = 'USR1', program = 'x', pidfile = '/x' }",
    "{ a = { a = { a = { a = {} } } } }",
]
"""Every type of TOML, at its edges, and texts that some option reads; none of them is a command that exists."""


def tables() -> Mapping[str, tuple[str, ...]]:
    """The name of each table of a config with the options it may have."""
    kinds = {f"{name}.fuzzed": tuple(jobs.kind(name).model_fields) for name in jobs.kinds()}
    return {name: tuple(model.model_fields) for name, model in TABLES.items()} | kinds


def noise(dice: Dice, _: bytes) -> bytes:
    """Bytes at random, some of them of one kind only."""
    alphabet = dice.choice(
        [bytes(range(256)), b"[]{}=\"'.,#\n\\ a1", b"\xff\xfe\x00", b"\x00", b"\xed\xa0\x80\xf0\x9f"]
    )
    return bytes(dice.choices(alphabet, k=dice.choice([0, 1, 2, 10, 100, 1000, 20_000])))


def spoilt(dice: Dice, good: bytes) -> bytes:
    """The good config with some bytes changed, cut out, doubled, or cut off."""
    text = bytearray(good)
    for _ in range(dice.choice([1, 1, 1, 2, 5, 50])):
        at, end = sorted(dice.randrange(len(text) + 1) for _ in range(2))
        match dice.randrange(6):
            case 0:
                text[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del text[at : min(end, at + 20)]
            case 2:
                text[at:at] = text[at : min(end, at + 200)]
            case 3:
                del text[at:]
            case 4:
                text[at:at] = dice.choice(VALUES).encode()
            case 5:
                text[at:at] = dice.choice([b"\n[", b'"""', b"'''", b"\n[[", b"]\n", b"=", b"\r", b"\xef\xbb\xbf", b"#"])
    return bytes(text)


def typed(dice: Dice, good: bytes) -> bytes:
    """The good config, and a table in which options have values of any type."""
    name, options = dice.choice(list(tables().items()))
    chosen = dice.sample(options, min(len(options), dice.randint(1, 6)))
    lines = [f"{option} = {dice.choice(VALUES)}" for option in chosen]
    if name in TABLES:  # which the good config has already
        return good.replace(f"[{name}]\n".encode(), "\n".join([f"[{name}]", *lines, ""]).encode(), 1)
    return good + "\n".join(["", f"[{name}]", *lines, ""]).encode()


def huge(dice: Dice, good: bytes) -> bytes:
    """The good config, and one thing too many of."""
    count = dice.choice([100, 1000, 5000])
    more: list[Callable[[], str]] = [
        lambda: "".join(f"[rotate.j{number}]\npaths = ['/nowhere/{number}']\n" for number in range(count)),
        lambda: "[rotate.fuzzed]\n" + "".join(f"k{number} = {number}\n" for number in range(count)),
        lambda: "[rotate.fuzzed]\npaths = [" + "'/nowhere/x', " * count + "]\nkeep = -1\n",
        lambda: "[rotate.fuzzed]\npaths = ['/" + "x" * count * 20 + "']\n",
        lambda: "[rotate." + "x" * count * 20 + "]\n",
        lambda: f'"{"k" * count * 20}" = 1\n',
        lambda: "# " + "x" * count * 100 + "\n[",
        lambda: "[[rotate.fuzzed]]\n" * count,
        lambda: "\n" * count * 50 + "x",
        lambda: "[compress.fuzzed]\ncron = '" + "1," * count + "1 * * * *'\n",
        lambda: "[rotate.fuzzed]\nmax_size = '" + "9" * count + "T'\nevery = '" + "1h" * count + "'\n",
    ]
    return good + b"\n" + dice.choice(more)().encode()


def enormous(_: Dice, good: bytes) -> bytes:
    """More than a config may have."""
    return good + b"#" * (17 << 20)


def nested(dice: Dice, good: bytes) -> bytes:
    """The good config, and something in something in something."""
    depth = dice.choice([10, 33, 100, 1000, 5000])
    more = [
        "x = " + "[" * depth + "]" * depth,
        "x = " + "[" * depth,
        "x = " + "{ a = " * depth + "1" + " }" * depth,
        "[" + ".".join("a" * depth) + "]",
        ".".join("a" * depth) + " = 1",
        "[rotate.fuzzed]\npaths = " + "[" * depth + '"/x"' + "]" * depth,
        "[rotate.fuzzed.signal" + ".x" * depth + "]\n",
        "\n".join(f"[rotate{'.a' * level}]" for level in range(1, min(depth, 100))),
    ]
    return good + b"\n" + dice.choice(more).encode()


TEXTS: Mapping[str, Callable[[Dice, bytes], bytes]] = {
    "noise": noise,
    "spoilt": spoilt,
    "typed": typed,
    "huge": huge,
    "nested": nested,
}
"""Kinds of text, each from a random source and the good config."""


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


PLACES: Mapping[str, Callable[[Path], None]] = {
    "nothing": lambda _: None,
    "a directory": Path.mkdir,
    "a FIFO": _fifo,
    "a socket": _socket,
    "a looping link": lambda path: path.symlink_to(path.name),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "/proc/self/mem": lambda path: path.symlink_to("/proc/self/mem"),
    "unreadable": lambda path: (path.touch(), path.chmod(0))[0],
    "sparse": lambda path: (path.touch(), os.truncate(path, 1 << 40))[0],
}
"""What can be where a config should be."""


def beside(dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files of conf.d/ that may only add jobs, and do not."""
    extra = {
        "10-settings.toml": b"[daemon]\nobserve = true\n",
        "20-twice.toml": b"[rotate.a]\npaths = ['/nowhere/x']\nmax_size = 1\n",
        "30-\xff\n.toml": b"x",
        "40-noise.toml": noise(dice, b""),
        "50-bom.toml": b"\xef\xbb\xbf",
    }
    for name in dice.sample(list(extra), dice.randint(1, len(extra))):
        yield name, extra[name]
