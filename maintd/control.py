"""The local HTTP interface: one app on a Unix socket, whose requests the daemon's main thread answers."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from maintd import durable
from maintd.client import HEARTBEAT, PATIENCE, Message, socket_path
from maintd.errors import Locked
from maintd.requests import OPEN_VERBS, VERBS, Request, checked

LARGEST_BODY = 64 * 1024
_BUSY = 30.0
PARTING = 0.8
"""Seconds in which answers that are under way are ended."""
_SLOW, _TOO_SLOW = 1000, 20_000
_MOST, _MOST_OF_ONE = 64, 16
"""Connections at a time: of all users, and of one that is not maintd's own."""
_AT_ONCE, _QUEUE = 16, 1024
"""So many connections are taken before others are heard; and so many wait to be taken."""


class _Listener(socket.socket):
    """A socket whose queue is longer than what is taken of it at once, which uvicorn knows one number for."""

    def listen(self, _backlog: int = _QUEUE, /) -> None:
        super().listen(_QUEUE)


class _Protocol(H11Protocol):
    """uvicorn's, for which a connection that asks nothing is over soon, and nobody has all of them."""

    user = -1
    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.user = _user(transport.get_extra_info("socket"))
        same = sum(getattr(other, "user", -1) == self.user for other in self.connections)
        if len(self.connections) > _MOST or (same > _MOST_OF_ONE and self.user != os.geteuid()):
            transport.abort()
        else:
            self._await_request()

    def on_response_complete(self) -> None:
        self._await_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waits:
            self._waits.cancel()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        if self._waits:
            self._waits.cancel()
        self._waits = self.loop.call_later(PATIENCE, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def _user(connection: socket.socket) -> int:
    """The uid of who has connected (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1])


class _Server(uvicorn.Server):
    """uvicorn without its tick, which would wake the daemon ten times a second for a date that no answer carries."""

    _ended: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def main_loop(self) -> None:
        ended = asyncio.Event()
        self._ended = asyncio.get_running_loop(), ended
        if not self.should_exit:
            await ended.wait()

    def end(self) -> None:
        """Ends the answers that are under way; called from another thread."""
        self.should_exit = True
        if self._ended:
            loop, ended = self._ended
            loop.call_soon_threadsafe(ended.set)


class Control:
    """Answers on the socket, from one thread of its own; each request is `put` to the daemon's main thread.

    With a `gid` it is a socket for the users of that group, which knows the verbs of OPEN_VERBS alone.
    """

    def __init__(self, path: str, put: Callable[[Request], None], gid: int | None = None) -> None:
        self.path = path
        self._put = put
        self._gid = gid
        self._inode: tuple[int, int] | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Binds the socket and begins to answer. Raises Locked if somebody answers there, OSError if it cannot be."""
        listener = _bind(self.path, self._gid)
        info = os.lstat(self.path)
        self._inode = info.st_dev, info.st_ino
        config = uvicorn.Config(
            _app(self._put, VERBS.keys() if self._gid is None else OPEN_VERBS),
            http=_Protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=_AT_ONCE,
            timeout_graceful_shutdown=1,  # for answers that were ended to be sent
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="control", daemon=True
        )
        self._thread.start()

    def stop(self, patience: float = PARTING) -> None:
        """Ends the answers that are still under way, and removes the socket if it is still this one."""
        if self._server is None or self._thread is None:
            return
        self._server.end()
        self._thread.join(patience)
        with contextlib.suppress(FileNotFoundError):
            info = os.lstat(self.path)
            if (info.st_dev, info.st_ino) == self._inode:
                os.unlink(self.path)


def _bind(path: str, gid: int | None) -> socket.socket:
    """A listening socket that this user, and a group, can connect to; one that nobody answers on is replaced."""
    folder = os.path.dirname(path)
    socket_path(folder, os.path.basename(path))
    if gid is None:
        durable.private_directory(folder)
    else:
        durable.group_directory(folder, gid)
    _clear(path)
    listener = _Listener(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
        if gid is not None:
            os.chown(path, -1, gid)
            os.chmod(path, 0o660)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _clear(path: str) -> None:
    """Removes a socket that a killed daemon left. Raises Locked if one answers, FileExistsError if it is no socket."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except TimeoutError:
            pass
    raise Locked(f"another maintd answers at {path}", hint="give each daemon its own runtime_dir and state_dir")


class _Answer:
    """A Reply that the server's event loop reads. It forgets everything once the client is gone or far too slow."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue()
        self._closed = False

    def put(self, item: Message | None, /) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the client's connection
            self._loop.call_soon_threadsafe(self._take, item)

    def _take(self, item: Message | None) -> None:
        behind = self._waiting.qsize()
        if self._closed or (behind > _SLOW and item is not None and item.get("type") == "progress"):
            return
        if behind > _TOO_SLOW:
            self._closed, item = True, None
        self._waiting.put_nowait(item)

    async def first(self) -> Message | None:
        async with asyncio.timeout(_BUSY):
            return await self._waiting.get()

    async def lines(self) -> AsyncIterator[str]:
        """The messages as NDJSON; an empty line now and then shows that somebody is still there."""
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        item = await self._waiting.get()
                except TimeoutError:
                    yield "\n"
                    continue
                if item is None:
                    return
                yield json.dumps(item) + "\n"
        finally:
            self._closed = True


def _app(put: Callable[[Request], None], verbs: Iterable[str]) -> Starlette:
    """The ASGI application, which knows these verbs."""

    async def answer(request: HttpRequest) -> Response:
        verb = request.url.path.strip("/")
        try:
            arguments = checked(verb, await _body(request))
        except (ValueError, TimeoutError) as error:
            return _json({"error": str(error)}, 400)
        reply = _Answer()
        put(Request(verb, arguments, reply))
        if verb == "do":
            return StreamingResponse(reply.lines(), media_type="application/x-ndjson")
        try:
            return _json(await reply.first() or {})
        except TimeoutError:
            return _json({"error": "the daemon is busy"}, 503)

    async def failed(_: HttpRequest, error: Exception) -> Response:
        return _json({"error": getattr(error, "detail", "internal error")}, getattr(error, "status_code", 500))

    routes = [Route(f"/{verb}", answer, methods=["GET" if verb == "status" else "POST"]) for verb in verbs]
    return Starlette(routes=routes, exception_handlers={404: failed, 405: failed, 500: failed})


def _json(message: Message, status: int = 200) -> Response:
    """An answer in ASCII: names that are not UTF-8 pass as the escapes of their surrogates (PEP 383)."""
    return Response(json.dumps(message), status, media_type="application/json")


async def _body(request: HttpRequest) -> bytes:
    body = bytearray()
    async with asyncio.timeout(PATIENCE):
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise ValueError(f"the body is larger than {LARGEST_BODY} bytes")
    return bytes(body)
