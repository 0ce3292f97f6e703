"""Where alerts go in these tests: an HTTP server that takes them, or is down; and the config that leads there."""

import json
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FILE = '[check.file.{0}]\npaths = ["HERE/{0}"]\nevery = "1s"\ntimeout = "900ms"\nfail_after = 1\nrecover_after = 1\n'


class Sink:
    """An HTTP server that takes what is posted to it, or answers 503 while it is `down`.

    As Alertmanager it answers 400 to what ends before it starts; and to what names `loathed`.
    """

    def __init__(self, port: int = 0) -> None:
        self.taken: list[tuple[str, Any]] = []
        self.refused: list[Any] = []
        self.is_down = False
        self.loathed = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = 503 if outer.is_down else 400 if outer.dislikes(body) else 200
                if status == 200:
                    outer.taken.append((self.path, body))
                else:
                    outer.refused.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def dislikes(self, body: Any) -> bool:
        ends_first = isinstance(body, list) and any(_when(one["endsAt"]) < _when(one["startsAt"]) for one in body)
        return ends_first or bool(self.loathed and self.loathed in json.dumps(body))

    @property
    def messages(self) -> list[list[dict[str, Any]]]:
        return [body for _, body in self.taken]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def alerts(sink: Sink, more: str = "", group: str = "1s") -> str:
    return f'[alerts]\ngroup = "{group}"\n{more}\n[alerts.channels.ops]\nalertmanager = "{sink.url}"\n'


def said(sink: Sink) -> list[tuple[str, bool]]:
    """Each alert that was taken, as (name, whether it is over)."""
    return [
        (one["labels"]["alertname"], "; it was: " in one["annotations"]["description"])
        for message in sink.messages
        for one in message
    ]
