"""A real browser without a window: opens a page and tells what a person, and a network, would have seen of it.

Speaks the DevTools protocol through a pipe, so that it needs nothing but the browser itself.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Visit", "find_browser", "open_browser"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
).split()
PATIENCE_S = 60.0


def find_browser() -> str | None:
    """Return the path of a browser, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


@dataclass(frozen=True)
class Visit:
    """What came of opening a page.

    Attributes:
        complaints: What was said on the console, and what was thrown.
        requests: Addresses that were asked for, the page's own and data in the page left out.
        values: What the expressions came to.
        picture: The whole page as PNG.
    """

    complaints: tuple[str, ...]
    requests: tuple[str, ...]
    values: tuple[Any, ...]
    picture: bytes


class Browser:
    """A browser that listens."""

    def __init__(self, read: int, write: int) -> None:
        self.read, self.write = read, write
        self.pending = b""
        self.number = 0
        self.events: list[dict[str, Any]] = []

    def visit(
        self, path: Path, *, width: int, dark: bool = False, mobile: bool = False, ask: tuple[str, ...] = ()
    ) -> Visit:
        """Open a file in a fresh tab of this width, in light or dark."""
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable", session=session)
        size = {"width": width, "height": 800, "deviceScaleFactor": 2 if mobile else 1, "mobile": mobile}
        self.send("Emulation.setDeviceMetricsOverride", size, session)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", {"features": [scheme]}, session)
        self.send("Page.navigate", {"url": path.as_uri()}, session)
        self.wait_for("Page.loadEventFired")
        values = tuple(
            self.send("Runtime.evaluate", {"expression": question, "returnByValue": True}, session)["result"].get(
                "value"
            )
            for question in ask
        )
        shot = self.send("Page.captureScreenshot", {"captureBeyondViewport": True}, session)
        self.send("Target.closeTarget", {"targetId": target})
        asked = [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]
        said = [
            json.dumps(event["params"])
            for event in self.events
            if event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        ]
        others = [url for url in asked if url != path.as_uri() and not url.startswith("data:")]
        return Visit(tuple(said), tuple(others), values, base64.b64decode(shot["data"]))

    def send(self, method: str, params: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not any(event["method"] == method for event in self.events):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the browser did not report {method}")
            self.events.append(self.receive())

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.pending:
            if not select.select([self.read], [], [], PATIENCE_S)[0]:
                raise TimeoutError(f"the browser said nothing for {PATIENCE_S:g} s")
            part = os.read(self.read, 1 << 20)
            if not part:
                raise ConnectionError("the browser ended")
            self.pending += part
        message, _, self.pending = self.pending.partition(b"\0")
        return json.loads(message)


@contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def place() -> None:
        """In the child: put the pipe's ends where the browser looks for them."""
        high = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    command = [program, *FLAGS, f"--user-data-dir={profile}"]
    with (profile.parent / "browser.log").open("wb") as log:
        process = subprocess.Popen(command, pass_fds=(3, 4), preexec_fn=place, stdout=log, stderr=log)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_in, ours_out)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        process.terminate()
        process.wait(timeout=PATIENCE_S)
