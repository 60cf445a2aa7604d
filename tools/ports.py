"""Ports that no one else takes, and kernels that need none."""

from __future__ import annotations

import random
import socket
import sys
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

LONGEST_SOCKET = 100  # characters of a socket's path; its number follows


def free_port() -> int:
    """A free port of this computer, below those that Linux gives to connections, which might take it before its use.

    Processes that ask at the same time almost certainly get different ones. Chromium refuses 10080.

    Raises:
        OSError: If none of a hundred ports is free.
    """
    for port in random.SystemRandom().sample(range(10_100, 32_768), 100):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free, of a hundred that were tried")


def without_ports() -> dict[str, str]:
    """Settings of a kernel that is reached through files, not ports; none but on Linux, or if their path is too long.

    A kernel takes its ports a second after they were found free. If another program is quicker, the kernel ends, or
    never answers.
    """
    path = str(Path(tempfile.gettempdir(), f"kernel-{uuid.uuid4().hex[:12]}"))
    if sys.platform != "linux" or len(path) > LONGEST_SOCKET:
        return {}
    return {"transport": "ipc", "ip": path}
