"""A process that has imported fastconv, done nothing else, and forks for every piece of Python it is given.

A piece finds an engine as cold as in a process of its own, without the half second that the imports take. Run
as a script this is that process; `Server` is the tests' side of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import IO, NoReturn


class Server:
    """Starts the process; `close` ends it."""

    def __init__(self) -> None:
        command = [sys.executable, "-X", "faulthandler", "-W", "error", __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, code: str, timeout: int = 120) -> subprocess.CompletedProcess[str]:
        """What `code` returns and prints, in a child that is killed after `timeout` seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            job = {"code": code, "timeout": timeout, "folder": folder}
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            status = int(self.process.stdout.readline())
            printed, errors = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(code, status, printed, errors)

    def close(self) -> None:
        with self.process:  # closes its pipes, and waits
            pass


def _child(job: dict[str, str | int]) -> NoReturn:
    """Run a job's code with its output in files of its folder, as `python -c` would."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(f"{job['folder']}/{name}", os.O_WRONLY | os.O_CREAT), descriptor)
    signal.alarm(int(job["timeout"]))
    status = 1
    try:
        exec(compile(str(job["code"]), "<piece>", "exec"), {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(status)


def _serve(jobs: IO[str]) -> None:
    for line in jobs:
        child = os.fork()
        if not child:
            _child(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    import fastconv  # noqa: F401 - this is what children need not do

    _serve(sys.stdin)
