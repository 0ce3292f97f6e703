"""The environment that maintd was given, for the programs that it runs: without what Python and maintd put into it."""

import os

_ADDED = (b"LC_CTYPE", b"PYDANTIC_DISABLE_PLUGINS")
"""By Python if the locale is C (PEP 538), and by maintd's __init__."""


def given() -> dict[str, str]:
    """The environment as it is, but for these two if maintd was not started with them (proc(5), environ)."""
    try:
        with open("/proc/self/environ", "rb") as file:
            known = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
    except OSError:
        return dict(os.environ)
    added = {os.fsdecode(name) for name in _ADDED if name not in known}
    return {name: value for name, value in os.environ.items() if name not in added}
