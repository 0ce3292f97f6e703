"""Finds the daemon of a config and asks it."""

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from maintd import client
from maintd.cli.invocation import Invocation
from maintd.errors import Unreachable
from maintd.settings import Daemon

_RUNTIME_DIR = re.compile(r"""(?m)^\s*(?:daemon\s*\.\s*)?runtime_dir\s*=\s*["']([^"'\\\n]+)["']""")
"""The option in a text that is no TOML; a path with quotes or escapes in it is not found."""


def ask(called: Invocation, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The daemon's answer. Raises Unreachable, MaintdError."""
    path, doubt = _socket(called.config)
    try:
        return client.ask(path, method, url, body, timeout=30.0 if url == "/reload" else client.PATIENCE)
    except Unreachable as error:
        raise Unreachable(str(error), hint=doubt or error.hint) from error


def ask_openly(called: Invocation, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same, through the socket for status_group if this user may not use the other one."""
    path, doubt = _socket(called.config)
    if _is_closed(path):
        path = _open_socket(called.config)
    try:
        return client.ask(path, method, url, body)
    except Unreachable as error:
        raise Unreachable(str(error), hint=doubt or error.hint) from error


def stream(called: Invocation, url: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The daemon's messages as they come. Raises Unreachable, MaintdError."""
    return client.stream(_socket(called.config)[0], url, body)


def _is_closed(path: str) -> bool:
    """Whether this user may not use what is there, or not even see whether it is."""
    try:
        os.stat(path)
    except OSError as error:
        return isinstance(error, PermissionError)
    return not os.access(path, os.W_OK)


def _open_socket(config: str) -> str:
    settings = {}
    with contextlib.suppress(OSError, ValueError), open(config, encoding="utf-8") as file:
        settings = tomllib.loads(file.read()).get("daemon", {})
    given = settings.get("status_dir") if isinstance(settings, dict) else None
    folder: str = given if isinstance(given, str) else Daemon().status_dir
    return client.socket_path(folder, client.STATUS_SOCKET)


def _socket(config: str) -> tuple[str, str]:
    """Where the daemon listens, and a doubt about it. A config that was broken meanwhile must not hide a daemon."""
    default: str = Daemon().runtime_dir
    text = ""
    try:
        with open(config, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        settings = tomllib.loads(text).get("daemon", {})
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        found = _RUNTIME_DIR.search(text)
        path = client.socket_path(found[1] if found else default)
        doubt = f"{config} cannot be read ({reason}), so the daemon was looked for at {path}"
        other = "; if its runtime_dir is another one, put the file back, or pass one that names it in [daemon]: -c FILE"
        return path, doubt if found else doubt + other
    given = settings.get("runtime_dir") if isinstance(settings, dict) else None
    path = client.socket_path(given if isinstance(given, str) else default)
    doubt = (
        f"is it running (supervisorctl status maintd)? {config} names no runtime_dir in [daemon], so this is the usual"
    )
    return path, "" if given else f"{doubt} place"
