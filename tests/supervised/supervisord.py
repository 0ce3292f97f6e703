"""A supervisord of its own with programs that behave as the test wants: crash, leak, fork, hang, go FATAL."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import until
from tests.end_to_end.stage import SUPERVISORD

PROGRAM = Path(__file__).with_name("program.py")


class Supervisord:
    """Runs `programs`, by name with more lines of their sections; each is program.py with these arguments.

    It writes into `folder`, where its socket is too.
    """

    def __init__(self, folder: Path, programs: dict[str, tuple[str, str]]) -> None:
        self.folder = folder
        self.socket = folder / "supervisor.sock"
        conf = (
            f"[supervisord]\nlogfile={folder}/s.log\npidfile={folder}/s.pid\nnodaemon=true\nchildlogdir={folder}\n"
            f"[unix_http_server]\nfile={self.socket}\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{self.socket}\n"
        )
        for name, (arguments, more) in programs.items():
            conf += (
                f"[program:{name}]\ncommand={sys.executable} -IS {PROGRAM} {arguments}\nredirect_stderr=true\n"
                f"stdout_logfile={folder}/{name}.log\nstartsecs=0\nstopwaitsecs=3\nstopasgroup=true\n{more}\n"
            )
        (folder / "supervisord.conf").write_text(conf)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([SUPERVISORD, "-c", self.folder / "supervisord.conf"], **silent)
        until(self.socket.exists, "supervisord listens", 30)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [SUPERVISORD.with_name("supervisorctl"), "-c", self.folder / "supervisord.conf", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout

    def pid(self, name: str) -> int:
        text = self.ctl("pid", name).strip()
        return int(text) if text.isdigit() else 0

    def state(self, name: str) -> str:
        return self.ctl("status", name).split()[1]
