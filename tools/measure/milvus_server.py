"""A real Milvus server on this machine, for tests and measurements, installed apart from the project.

    make test-scale, make bench-scale        # install it → build/milvus-server/, and start it

The package ``milvus`` carries the server's binary. It runs as one process (standalone) and keeps its data in a folder.
Its ports listen on every address, so it is started only where there is no network but loopback: ``make`` runs both
commands in a network namespace of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from facerec._files import ROOT

HOME = ROOT / "build" / "milvus-server"
PYTHON = HOME / ".venv" / "bin" / "python"

#: What differs from the server's own settings. A killed server's parts count as dead after so many seconds, not 30:
#: until then, the one that takes its place can't load their people. And what was written goes from the log to files
#: every so many seconds, not every 600: a server that starts reads again what is in the log alone.
SETTINGS = {"common.session.ttl": 5, "dataNode.segment.syncPeriod": 10}

START = """
import json, socket, sys
from milvus import MilvusServer, MilvusServerConfig, __version__
MilvusServerConfig.try_bind_port = lambda *_: socket.socket()  # a killed server's ports are free, but look taken
server = MilvusServer(MilvusServerConfig(data_dir=sys.argv[1]))
for key, value in json.loads(sys.argv[2]).items():
    server.config.set(key, value)
server.start()
print(server.server_proc.pid, server.listen_port, __version__, flush=True)
sys.stdin.read()
server.stop()
"""


def why_not() -> str | None:
    """Why no server can be started here, in a sentence; None if one can."""
    if not PYTHON.exists():
        return "the Milvus server is not installed: make test-scale installs it, if its package can be had"
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        return "a Milvus server listens on every address, so it is started where loopback is alone: make test-scale"
    return None


class MilvusServer:
    """A server, to be started, killed and started again.

    Args:
        folder: Where it keeps its data, settings and logs.
        **settings: Of ``milvus.yaml``, with ``__`` in place of the dots.

    Attributes:
        address: What ``FaceDatabase`` takes.
        version: The server's version.
        pid: Its process, while it runs.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.starter = folder, None
        self.settings = SETTINGS | {key.replace("__", "."): value for key, value in settings.items()}

    def start(self) -> None:
        """Start it, and wait until it says that it is well."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (HOME / "bin").mkdir(exist_ok=True)
        if not (self.folder / "bin").exists():
            (self.folder / "bin").symlink_to(HOME / "bin")  # 300 MB, unpacked once
        command = [str(PYTHON), "-c", START, str(self.folder), json.dumps(self.settings)]
        self.starter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self.starter.stdout.readline().split()
        if len(said) != 3:
            raise RuntimeError(f"the Milvus server did not start; its logs are in {self.folder / 'logs'}")
        self.pid, port, self.version = int(said[0]), int(said[1]), said[2]
        self.address = f"http://127.0.0.1:{port}"

    def kill(self) -> None:
        """End it at once, as a power cut would (kill -9)."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """Stop it."""
        if self.starter is not None:
            self.starter.stdin.close()
            self.starter.wait()
            self.starter.stdout.close()
            self.starter = None

    def memory_mb(self) -> dict[str, float]:
        """Its memory now and at most, in megabytes."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return {name: int(status[key].split()[0]) / 1000 for name, key in (("now", "VmRSS"), ("most", "VmHWM"))}

    def disk_mb(self) -> float:
        """What its data take on the disk, in megabytes."""
        return sum(file.stat().st_size for file in (self.folder / "data").rglob("*") if file.is_file()) / 1e6

    def __enter__(self) -> MilvusServer:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop it, and remove its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
