"""Is a web app up? For a container's health check: exit code 0 if one of the addresses answers.

python apps/healthy.py [ADDRESS …]
"""

from __future__ import annotations

import http.client
import sys
from urllib.error import URLError
from urllib.request import urlopen

#: Where the Flask app, the Streamlit app and the API report their health.
ADDRESSES = (
    "http://127.0.0.1:8000/healthz",
    "http://127.0.0.1:8501/_stcore/health",
    "http://127.0.0.1:8600/healthz",
)


def answers(address: str, within: float = 5) -> bool:
    """Whether an address answers with status 200 within so many seconds."""
    try:
        with urlopen(address, timeout=within) as answer:
            return answer.status == 200
    except (URLError, OSError, ValueError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(not any(map(answers, sys.argv[1:] or ADDRESSES)))
