"""One question to one name server (RFC 1035), over UDP, and over TCP if the answer is too long for that."""

import ipaddress
import os
import socket
import struct
import time

from maintd import wire
from maintd.deadlines import left
from maintd.errors import MaintdError
from maintd.values import dataclass

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
_CODES = {1: "it did not understand the question", 2: "it failed (SERVFAIL)", 3: "there is no such name (NXDOMAIN)"}
_CODES |= {4: "it does not do such questions", 5: "it refused to answer"}
_MOST_POINTERS = 64
_FIRST_PAUSE = 1.0
"""Seconds after which a question that got no answer is asked again, or a quarter of the time that there is."""


@dataclass(frozen=True)
class Question:
    """What is asked of whom: `server` is an address."""

    name: str
    type: str
    server: str
    port: int = 53


def servers() -> list[str]:
    """The name servers of this machine (resolv.conf(5))."""
    with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as lines:
        words = [line.split() for line in lines]
    return [row[1].partition("%")[0] for row in words if len(row) > 1 and row[0] == "nameserver"]


def ask(question: Question, deadline: float) -> list[str]:
    """The records of that type, as text: addresses, names with their final dot, `10 mail.example.`, or the text itself.

    Raises OSError, TimedOut; MaintdError if the server says that it cannot, or what it says is no answer.
    """
    number = int.from_bytes(os.urandom(2), "big")
    query = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + _encoded(question.name)
    query += struct.pack(">HH", TYPES[question.type], 1)
    answer = _over_udp(question, query, deadline)
    if answer[2] & 0x02:  # TC: truncated
        answer = _over_tcp(question, query, deadline)
    try:
        return _records(answer, TYPES[question.type])
    except (IndexError, struct.error, ValueError) as error:
        raise MaintdError(f"what {question.server} sent is no answer ({type(error).__name__})") from error


def _over_udp(question: Question, query: bytes, deadline: float) -> bytes:
    """The first packet with the number of the query; others are strangers'. It is asked again after growing pauses."""
    family = socket.AF_INET if ipaddress.ip_address(question.server).version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.connect((question.server, question.port))
        pause = min(_FIRST_PAUSE, left(deadline) / 4)
        while True:
            made.send(query)
            answer = _answer(made, query, min(time.monotonic() + pause, deadline))
            if answer is not None:
                return answer
            left(deadline)
            pause *= 2


def _answer(made: socket.socket, query: bytes, until: float) -> bytes | None:
    """What comes back until then (time.monotonic()), if anything does: a datagram may be lost."""
    while (seconds := until - time.monotonic()) > 0:
        made.settimeout(seconds)
        try:
            answer = made.recv(4096)
        except TimeoutError:
            break
        if len(answer) >= 12 and answer[:2] == query[:2] and answer[2] & 0x80:
            return answer
    return None


def _over_tcp(question: Question, query: bytes, deadline: float) -> bytes:
    made = wire.connect(question.server, question.port, deadline)
    try:
        made.sendall(struct.pack(">H", len(query)) + query)
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            more = made.recv(4096)
            if not more:
                raise MaintdError(f"{question.server} closed the connection")
            data += more
        return data[2:]
    finally:
        made.close()


def _encoded(name: str) -> bytes:
    labels = [label.encode("idna") for label in name.rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _records(data: bytes, wanted: int) -> list[str]:
    flags, questions, answers = struct.unpack(">HHH", data[2:8])
    code = flags & 0x0F
    if code:
        raise MaintdError(_CODES.get(code, f"it answered with code {code}"))
    at = 12
    for _ in range(questions):
        at = _name(data, at)[1] + 4
    found = []
    for _ in range(answers):
        at = _name(data, at)[1]
        kind, _, _, length = struct.unpack(">HHIH", data[at : at + 10])
        at += 10
        if kind == wanted:
            found.append(_text(data, kind, at, length))
        at += length
    return found


def _text(data: bytes, kind: int, at: int, length: int) -> str:
    raw = data[at : at + length]
    if kind in (1, 28):
        return str(ipaddress.ip_address(raw))
    if kind == 16:
        parts, place = [], 0
        while place < len(raw):
            parts.append(raw[place + 1 : place + 1 + raw[place]])
            place += 1 + raw[place]
        return b"".join(parts).decode("utf-8", "replace")
    numbers = {15: 1, 33: 3}.get(kind, 0)
    told = [str(number) for number in struct.unpack(f">{numbers}H", raw[: 2 * numbers])]
    return " ".join([*told, _name(data, at + 2 * numbers)[0]])


def _name(data: bytes, at: int) -> tuple[str, int]:
    """A name, and where what follows it begins. Names may point back to earlier ones."""
    labels, end = [], 0
    for _ in range(_MOST_POINTERS):
        length = data[at]
        if length & 0xC0 == 0xC0:
            end = end or at + 2
            at = struct.unpack(">H", data[at : at + 2])[0] & 0x3FFF
        elif length:
            labels.append(data[at + 1 : at + 1 + length].decode("ascii", "replace"))
            at += 1 + length
        else:
            return ".".join(labels) + ".", end or at + 1
    raise ValueError("a name that leads round in circles")
