"""What the firmware of a Raspberry Pi answers through its own command."""

from __future__ import annotations

import shutil
import subprocess

__all__ = ["ask_vcgencmd"]


def ask_vcgencmd(question: str) -> str | None:
    """Return what ``vcgencmd`` prints; None where there is no such command, or it does not know the question."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    try:
        done = subprocess.run([command, question], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
