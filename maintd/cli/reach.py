"""Finds the daemon of a config and asks it."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from maintd import client
from maintd.cli.invocation import Invocation
from maintd.errors import Unreachable
from maintd.settings import Daemon


def ask(called: Invocation, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The daemon's answer. Raises Unreachable, MaintdError."""
    path, doubt = _socket(called.config)
    try:
        return client.ask(path, method, url, body, timeout=30.0 if url == "/reload" else client.PATIENCE)
    except Unreachable as error:
        raise Unreachable(str(error), hint=doubt or error.hint) from error


def stream(called: Invocation, url: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The daemon's messages as they come. Raises Unreachable, MaintdError."""
    return client.stream(_socket(called.config)[0], url, body)


def _socket(config: str) -> tuple[str, str]:
    """Where the daemon listens, and a doubt about it. A config that was broken meanwhile must not hide a daemon."""
    default: str = Daemon().runtime_dir
    doubt = ""
    try:
        with open(config, "rb") as file:
            settings = tomllib.load(file).get("daemon", {})
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        doubt = f"{os.fspath(config)} cannot be read ({reason}), so the default runtime_dir was taken"
        settings = {}
    given = settings.get("runtime_dir") if isinstance(settings, dict) else None
    return client.socket_path(given if isinstance(given, str) else default), doubt
