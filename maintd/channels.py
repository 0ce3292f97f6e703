"""Sends one message, in a child process: by apprise, to Alertmanager, or to a command. The home of apprise."""

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from maintd import commands
from maintd.errors import MaintdError, Rejected

_LEAST_SECRET = 6
_NOT_AS_IT_IS = (400, 413, 422)
"""What a server answers whom the message does not suit; by others of the 400s it is the address, or the password."""
_TYPES = {"info": "success", "warning": "warning", "error": "failure", "critical": "failure"}


def send(  # noqa: PLR0913 - they cross a pipe by name
    progress: Callable[[int], None], *, kind: str, url: str, argv: list[str], limit: float, message: dict[str, Any]
) -> None:
    """Delivers `message` (Message.fields()). Raises OSError or MaintdError if it may not have come through."""
    if kind == "command":
        _by_command(progress, argv, limit, message)
    elif kind == "alertmanager":
        _to_alertmanager(url, limit, message["alerts"])
    else:
        _by_apprise(url, message)


def _by_command(progress: Callable[[int], None], argv: list[str], limit: float, message: Mapping[str, Any]) -> None:
    told = {f"MAINTD_ALERT_{key.upper()}": str(message[key]) for key in ("id", "host", "level", "title", "text")}
    told["MAINTD_ALERT_JSON"] = json.dumps(message["alerts"])
    done = commands.run(progress, argv=argv, limit=limit, user=None, more=told)
    if done["status"]:
        raise MaintdError(f"{argv[0]} ended with {done['status']}" + (f": {done['output']}" * bool(done["output"])))


def _to_alertmanager(url: str, limit: float, alerts: list[dict[str, Any]]) -> None:
    request = urllib.request.Request(  # noqa: S310 - http(s) only, by its pattern
        f"{url.rstrip('/')}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=limit):  # noqa: S310 - as above
            return
    except urllib.error.HTTPError as error:
        said = error.read(300).decode(errors="replace")
        kind = Rejected if error.code in _NOT_AS_IT_IS else MaintdError
        raise kind(f"Alertmanager answers {error.code} {error.reason}: {said}") from error
    except (ValueError, http.client.HTTPException) as error:
        raise MaintdError(f"it is no usable address ({type(error).__name__})") from error


def _by_apprise(url: str, message: Mapping[str, Any]) -> None:
    try:
        import apprise  # noqa: PLC0415 - an extra, and 30 MB
    except ImportError as error:
        raise MaintdError("apprise is not installed", hint="install maintd with the extra alerts") from error
    said = ""
    # what the service needs is in its URL; no file of the user's, and no plugin from elsewhere, is read
    asset = apprise.AppriseAsset(app_id="maintd", app_desc="maintd", plugin_paths=[], storage_mode="memory")
    notifier = apprise.Apprise(asset=asset)
    with apprise.LogCapture(level=apprise.logging.INFO) as log:  # type: ignore[no-untyped-call]
        taken = notifier.add(url)
        if not re.search(r"[?&]overflow=", url):
            for service in notifier:
                service.overflow_mode = apprise.OverflowMode.SPLIT  # what is longer than it takes comes in several
        sent = taken and notifier.notify(
            body=message["text"],
            title=message["title"],
            notify_type=_TYPES.get(message["level"], "info"),
            body_format="text",
        )
        lines = [line for line in log.getvalue().splitlines() if line.strip()]
        said = lines[-1] if lines else ""
    if not sent:
        what = "apprise could not deliver it" if taken else "apprise does not know this kind of URL"
        kind = Rejected if any(f"error={code}" in said for code in _NOT_AS_IT_IS) else MaintdError
        raise kind(f"{what}: {_without_secrets(said, url)}", hint="look at https://appriseit.com for its form")


def _without_secrets(text: str, url: str) -> str:
    """A text without anything of the URL that may be one: what stands between its marks."""
    for part in sorted(set(re.split(r"[/:@?&=,\s]+", url)), key=len, reverse=True):
        if len(part) >= _LEAST_SECRET:
            text = text.replace(part, "…")
    return text
