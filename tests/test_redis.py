"""The kind `redis` against Debian's server: what takes the memory, what never expires; nothing is changed."""

import json
import socket
import subprocess
import tempfile
from pathlib import Path

from .checks.servers import listens
from .checks.test_servers import EXTRAS, REDIS, ended, free_port, needs_redis
from .conftest import environment, until
from .tree import Did, Tree


def _do(tree: Tree) -> Did:
    line = [EXTRAS, "-c", tree.config, "do", "--all", "--json"]
    done = subprocess.run(line, check=False, capture_output=True, text=True, env=environment(), timeout=90)
    assert "Traceback" not in done.stderr, done.stderr
    return Did(done.returncode, [json.loads(one) for one in done.stdout.splitlines()], done.stderr)


def _tell(port: int, *commands: str) -> None:
    with socket.create_connection(("127.0.0.1", port)) as made, made.makefile("rb") as answers:
        made.sendall("".join(f"{command}\r\n" for command in commands).encode())
        for _ in commands:
            assert not answers.readline().startswith(b"-")


@needs_redis
def test_memory_is_analyzed_and_keys_that_last_are_told():
    """Groups of keys by their share, the largest one, and those that should expire and never will; with a wrong
    password, and without the extra, one failure says so; no key is changed."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as place:
        tree, port = Tree(Path(place).resolve()), free_port()
        arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", place]
        server = subprocess.Popen([REDIS, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with ended(server):
            until(lambda: listens(port), "Redis listens")
            tree.write_config(f'[redis.cache]\ncron = "@daily"\nport = {port}\n')
            told = _do(tree).event("memory.analyzed")["msg"]
            assert told.startswith("0 keys take ")
            assert told.endswith("iB")
            sessions = [f"SET session:{number} {'x' * 50} EX 1000" for number in range(300)]
            _tell(
                port, *sessions, f"SET cache:big {'y' * 100_000}", "SET session:forgotten 1", "SELECT 3", "SET other 1"
            )
            job = f'[redis.cache]\ncron = "@daily"\nport = {port}\nexpiring = ["session:*"]\n'
            tree.write_config(job)
            did = _do(tree)
            assert did.code == 0, str(did)
            told = did.event("memory.analyzed")
            assert (told["keys"], told["sampled"], told["lasting"]) == (303, 303, 3)
            assert told["largest"] == "cache:big"
            assert told["groups"].startswith("cache ")
            lasting = did.event("keys.lasting")
            assert (lasting["pattern"], lasting["keys"], lasting["example"]) == ("session:*", 1, "session:forgotten")
            tree.write_config(job + "sample = 50\npurge_over = 1.01\n")
            did = _do(tree)
            assert did.event("memory.analyzed")["sampled"] == 51
            assert did.events("memory.purged")
            assert "maintd[redis]" in tree.do().event("database.failed")["advice"]
            _tell(port, "CONFIG SET requirepass s3cret")
            assert "refuses to let us in" in _do(tree).event("database.failed")["error_msg"]
        assert _do(tree).code == 1
