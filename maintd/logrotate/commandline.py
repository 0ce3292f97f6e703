"""logrotate's command line, read as logrotate reads it (popt(3)): what was ordered, or what is to be said instead."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from maintd.values import dataclass

STATE = "/var/lib/logrotate/status"
MAILER = "/usr/bin/mail"
_FLAGS = {
    "d": "debug", "debug": "debug", "f": "force", "force": "force", "v": "verbose", "verbose": "verbose",
    "skip-state-lock": "skips_lock", "wait-for-state-lock": "waits_for_lock",
}  # fmt: skip
_VALUES = {"s": "state", "state": "state", "l": "log", "log": "log", "m": "mail", "mail": "mail"}
_ANSWERS = ("version", "usage", "help", "?")

USAGE = """\
Usage: maintd-logrotate [-dfv?] [-d|--debug] [-f|--force] [-m|--mail=command]
        [-s|--state=statefile] [--skip-state-lock] [--wait-for-state-lock]
        [-v|--verbose] [-l|--log=logfile] [--version] [-?|--help] [--usage]
        [OPTION...] <configfile>
"""
HELP = """\
Usage: maintd-logrotate [OPTION...] <configfile>
  -d, --debug                   Change nothing, show what would be done
  -f, --force                   Rotate also what is not due
  -m, --mail=command            Command to send mail (instead of
                                `/usr/bin/mail')
  -s, --state=statefile         Path of state file
      --skip-state-lock         Do not lock the state file
      --wait-for-state-lock     Wait for lock on the state file
  -v, --verbose                 Show what is done, and why
  -l, --log=logfile             Log file or 'syslog' to log to syslog
      --version                 Display version information

Help options:
  -?, --help                    Show this help message
      --usage                   Display brief usage message
"""


@dataclass(frozen=True)
class Order:
    """What was ordered; with `debug` nothing is to be changed."""

    configs: tuple[str, ...] = ()
    state: str = STATE
    mail: str = MAILER
    log: str | None = None
    debug: bool = False
    force: bool = False
    verbose: bool = False
    skips_lock: bool = False
    waits_for_lock: bool = False


@dataclass(frozen=True)
class Answer:
    """What is said instead of doing anything, with the exit code; it goes to stdout if that is 0, else to stderr."""

    text: str
    code: int


def parse(arguments: Sequence[str], version: str) -> Order | Answer:
    """Reads the arguments after the program's name. Options may stand anywhere before `--`, and are not shortened."""
    order, configs, rest = Order(), [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            configs += rest
            break
        if len(word) < 2 or not word.startswith("-"):
            configs.append(word)
            continue
        changed = _long(word, order, rest) if word.startswith("--") else _short(word, order, rest)
        if isinstance(changed, str):
            return _answer(changed, word, version)
        order = changed
    if not configs:
        return Answer(f"maintd-logrotate {version}\n\n{USAGE}", 1)
    return replace(order, configs=tuple(configs), verbose=order.verbose or order.debug)


def _answer(asked: str, word: str, version: str) -> Answer:
    match asked:
        case "version":
            return Answer(_about(version), 0)
        case "usage":
            return Answer(USAGE, 0)
        case "help" | "?":
            return Answer(HELP, 0)
    return Answer(f"maintd-logrotate: bad argument {word}: unknown error\n", 2)


def _about(version: str) -> str:
    return (
        f"maintd-logrotate {version}\n\n    Default mail command:       {MAILER}\n"
        "    Default compress command:   /bin/gzip (done in process)\n    Default uncompress command: /bin/gunzip\n"
        f"    Default compress extension: .gz\n    Default state file path:    {STATE}\n"
        "    ACL support:                yes\n    SELinux support:            yes\n"
    )


def _long(word: str, order: Order, rest: list[str]) -> Order | str:
    """The order with one more option, or what is to be answered instead: an empty one if the option is wrong."""
    name, equals, value = word[2:].partition("=")
    if name in _ANSWERS[:-1] and not equals:
        return name
    if name in _FLAGS and len(name) > 1 and not equals:
        return _with(order, _FLAGS[name], value=True)
    if name in _VALUES and len(name) > 1 and (equals or rest):
        return _with(order, _VALUES[name], value if equals else rest.pop(0))
    return ""


def _short(word: str, order: Order, rest: list[str]) -> Order | str:
    for index, letter in enumerate(word[1:], 2):
        if letter == "?":
            return "?"
        if letter in _FLAGS:
            order = _with(order, _FLAGS[letter], value=True)
        elif letter in _VALUES and (word[index:] or rest):
            return _with(order, _VALUES[letter], word[index:].removeprefix("=") or rest.pop(0))
        else:
            return ""
    return order


def _with(order: Order, name: str, value: Any) -> Order:
    return replace(order, **{name: value})
