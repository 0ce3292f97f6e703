"""`maintd alert`: whether the channels of alerts work."""

import os
import socket
from datetime import UTC, datetime, timedelta

import click

from maintd.alert_store import Item
from maintd.cli import output
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.config import load
from maintd.errors import MaintdError, trouble


@click.group(
    short_help="Try the channels of alerts.",
    epilog="\b\nExamples:\n  maintd alert test\n  maintd alert test mail",
)
def alert() -> None:
    """Tries the channels of [alerts]."""


@alert.command(short_help="Send a message through each channel.", epilog="\b\nExample:\n  maintd alert test mail")
@click.argument("channel", required=False, metavar="[CHANNEL]")
@config_option()
@click.pass_obj
def test(called: Invocation, channel: str | None) -> int:
    """Sends a message through each channel of the config, or one of them, now, and says what came of it.

    It needs no daemon. Ends with 1 if a channel did not take it.
    """
    from maintd.couriers import deliver  # noqa: PLC0415 - as above
    from maintd.messages import Message  # noqa: PLC0415 - what sends is not needed to show help

    channels = load(called.config).alerts.channels
    if not channels or (channel is not None and channel not in channels):
        known = f"there are: {', '.join(channels)}" if channels else "write [alerts.channels.NAME]: docs/alerts.md"
        raise MaintdError(f"the config has no channel{f' {channel}' if channel else ''}", hint=known)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    text = "sent by maintd alert test: this channel works"
    item = Item("wrong", os.urandom(8).hex(), "test", "warning", "test: nothing is wrong", text, at, at)
    failed = 0
    for name in [channel] if channel else channels:
        message = Message(os.urandom(8).hex(), socket.gethostname(), (item,), timedelta(minutes=1))
        try:
            deliver(channels[name], message.fields())
        except (OSError, ValueError, MaintdError) as error:
            failed += 1
            found = trouble(error)
            output.say(f"{name}: {output.paint('failed', fg='red')}: {found.error_msg}")
        else:
            output.say(f"{name}: {output.paint('taken', fg='green')}")
    return Exit.FAILED if failed else Exit.OK
