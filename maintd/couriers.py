"""Delivers messages: a thread for each channel, one message at a time, in a child with a hard deadline."""

import signal
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from maintd.alert_settings import Channel
from maintd.child import Worker
from maintd.errors import MaintdError, Trouble, trouble
from maintd.messages import Message
from maintd.values import dataclass

_STARTING = 5.0
"""Seconds beyond its time limit that a delivery's child may take to begin and to end."""


@dataclass(frozen=True)
class Delivered:
    """What came of sending a message, for the daemon's inbox: it was delivered, or `failed`."""

    channel: str
    message: str
    failed: Trouble | None = None


class Couriers:
    """Used by the daemon's main thread. `put` gets what came of each message, from the channel's thread."""

    def __init__(self, put: Callable[[Delivered], None]) -> None:
        self._put = put
        self._queues: dict[str, SimpleQueue[tuple[Channel, Message]]] = {}
        self._threads: dict[str, threading.Thread] = {}

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads.values())

    def send(self, name: str, channel: Channel, message: Message) -> None:
        """Has a message sent; what comes of it is `put`."""
        if name not in self._threads:
            self._queues[name] = SimpleQueue()
            self._threads[name] = threading.Thread(target=self._work, args=[name], name=f"alerts {name}", daemon=True)
            self._threads[name].start()
        self._queues[name].put((channel, message))

    def _work(self, name: str) -> None:
        while True:
            channel, message = self._queues[name].get()
            failed = None
            try:
                deliver(channel, message.fields())
            except (OSError, ValueError, MaintdError) as error:
                failed = trouble(error)
            self._put(Delivered(name, message.id, failed))


def deliver(channel: Channel, message: dict[str, Any]) -> None:
    """Sends one message. Raises OSError, ValueError or MaintdError if it may not have come through."""
    limit = channel.timeout.total_seconds()
    parting = signal.SIGTERM if channel.kind == "command" else signal.SIGKILL  # a command is to be ended with the child
    with Worker(background=False, parting=parting) as worker:
        worker.call(
            "maintd.channels:send",
            {
                "kind": channel.kind,
                "url": channel.url(),
                "argv": list(channel.command or ()),
                "limit": limit,
                "message": message,
            },
            deadline=time.monotonic() + limit + (_STARTING if channel.kind == "command" else 0.0),
        )
