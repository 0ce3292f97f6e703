"""What `maintd do` shows while it goes on: the messages of a run, whether it is done here or by the daemon."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import click

from maintd.cli import output, tables
from maintd.cli.exits import Exit
from maintd.cli.telling import sentence
from maintd.names import enumerated, printable
from maintd.units import format_size
from maintd.values import dataclass

Message = Mapping[str, Any]
_COLOURS = {
    "warning": "yellow",
    "error": "red",
    "critical": "red",
    "success": "green",
    "partly done": "yellow",
    "not yet done": "yellow",
    "failure": "red",
}
_PUT_OFF = ("action.waiting", "job.waiting", "rotate.refused", "rotate.waiting")
"""The events of what is put off: their job is not wholly done."""
_LEAST_PAUSE = 0.1


@dataclass
class Tally:
    """The results of the jobs so far."""

    results: list[Message] = field(default_factory=list)

    @property
    def code(self) -> Exit:
        """5 if something was put off, or was done while the rest failed, was refused or was cut off.

        1 if some of that happened and nothing was done or put off.
        """
        failed, waiting, done = (sum(result[key] for result in self.results) for key in ("failed", "waiting", "done"))
        refused = sum(result.get("refused", 0) for result in self.results)
        if not failed and not waiting and not refused and not any(result.get("aborted") for result in self.results):
            return Exit.OK
        return Exit.PARTLY if done or waiting else Exit.FAILED


class Json:
    """One JSON object a line: `step`, `event` and `result`."""

    def __call__(self, message: Message) -> None:
        if message["type"] in ("step", "event", "result"):
            output.say_json(message)


class People:
    """Lines; on a terminal also how far a long step has come, in a line that is written over."""

    def __init__(self) -> None:
        self._is_live = output.is_terminal()
        self._step: Message = {}
        self._sizes: dict[str, int | None] = {}
        self._shown_at = 0.0
        self._is_drawn = False
        self._put_off: list[str] = []

    def __call__(self, message: Message) -> None:
        match message["type"]:
            case "step":
                self._step = message
                self._sizes[message["target"]] = message.get("in_bytes")
                place = f"[{message['index'] + 1}/{message['of']}]"
                self._line(f"{message['job']} {place} {message['verb']} {printable(message['target'])}")
            case "waits" if self._is_live:
                self._line(f"{message['job']} waits for {', '.join(message['for'])}")
            case "progress":
                self._progress(message["target"], message["bytes"])
            case "event" if message["event"] != "job.finished":
                self._event(message)
            case "result":
                self._line(_result(message, self._put_off))
                self._put_off = []

    def _line(self, text: str) -> None:
        if self._is_drawn:
            click.echo("\r\x1b[2K", nl=False)
            self._is_drawn = False
        output.say(text)

    def _event(self, event: Message) -> None:
        if event["event"] in _PUT_OFF:
            self._put_off.append(printable(os.path.basename(event.get("target", "")) or event["job"]))
        is_here = event.get("target", "") == self._step.get("target")
        said = {key: printable(event.get(key, "")) for key in ("target", "msg")}
        text = said["msg"] if is_here else sentence(said)
        self._line("    " + output.paint(text, fg=_COLOURS.get(event["level"])))

    def _progress(self, target: str, count: int) -> None:
        now = time.monotonic()
        if not self._is_live or output.is_closed() or now - self._shown_at < _LEAST_PAUSE:
            return
        self._shown_at = now
        whole = self._sizes.get(target)
        share = f"{min(count / whole, 1):4.0%} of {format_size(whole)}" if whole else format_size(count)
        text = f"    {share}  {printable(os.path.basename(target))}"
        click.echo(f"\r\x1b[2K{tables.shorten(text, (tables.columns() or 80) - 1)}", nl=False)
        self._is_drawn = True


def _nothing(result: Message) -> str:
    return "not begun" if result.get("aborted") else "nothing to do"


def _result(result: Message, put_off: Sequence[str]) -> str:
    """The end of a job for people; `put_off` names what waits."""
    words = [f"{result['done']} of {result['planned']} done"] if result["planned"] else []
    refused = result.get("refused", 0)
    is_bare = not (result["planned"] or result["failed"] or result["waiting"] or refused)
    words += [_nothing(result)] if is_bare else []
    rest = (("failed", "failed"), ("waiting", "put off"), ("refused", "refused"), ("omitted", "left out"))
    named = {"waiting": _named(put_off)}
    words += [f"{result[key]} {word}{named.get(key, '')}" for key, word in rest if result.get(key)]
    outcome = result["outcome"]
    if outcome == "success" and (result["waiting"] or refused):
        undone = "not yet done" if result["waiting"] else "failure"
        outcome = "partly done" if result["done"] else undone
    return f"{result['job']}: {output.paint(outcome, fg=_COLOURS.get(outcome))}, {', '.join(words)}"


def _named(put_off: Sequence[str]) -> str:
    return f" ({enumerated(list(dict.fromkeys(put_off)))})" if put_off else ""
