"""A real browser, headless, driven through a pipe: Chromium's DevTools protocol, as much as tests need."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

#: Names that Chromium goes by.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Seconds that an answer may take on a machine that is busy.
PATIENCE = 90

SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-background-networking", "--disable-extensions", "--disable-component-update",
    "--force-device-scale-factor=1", "--remote-debugging-pipe",
)  # fmt: skip


def find() -> str | None:
    """Where a Chromium is, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One tab of a browser."""

    def __init__(self, folder: Path, width: int = 1100, height: int = 800) -> None:
        path = find()
        assert path is not None
        to_browser, ours = os.pipe()
        theirs, from_browser = os.pipe()[::-1]

        def place() -> None:  # the protocol's pipes are 3 and 4
            os.dup2(os.dup(to_browser), 30)
            os.dup2(os.dup(theirs), 31)
            os.dup2(30, 3)
            os.dup2(31, 4)

        self._process = subprocess.Popen(
            [path, *SWITCHES, f"--user-data-dir={folder}", f"--window-size={width},{height}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=place,
            close_fds=False,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(theirs)
        self._in, self._out = ours, from_browser
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._rest, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(each for each in targets if each["type"] == "page")
        told = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = told["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **told: Any) -> Any:
        """Send a command; its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": told}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, (method, found["error"])
                return found["result"]
            self.events.append(found)

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            if not self._selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError("the browser does not answer")
            part = os.read(self._out, 1 << 20)
            assert part, "the browser has gone"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def open(self, address: str) -> None:
        """Go to a page of fastconv's, and wait until it has drawn itself."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        until = time.monotonic() + PATIENCE
        ready = "Boolean(document.documentElement && document.documentElement.dataset.ready)"
        while not (self.run("location.href").startswith(address.split("#")[0]) and self.run(ready)):
            assert time.monotonic() < until, self.faults()
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """What an expression of JavaScript gives."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """Press the mouse there and release it."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def move(self, x: float, y: float) -> None:
        """Move the mouse there."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str) -> None:
        """Press a key and release it."""
        codes = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        codes |= {"PageUp": 33, "PageDown": 34}
        told = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        if key == "Enter":
            told["text"] = "\r"
        self.send("Input.dispatchKeyEvent", type="keyDown", **told)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def size(self, width: int, height: int) -> None:
        """The size of the window."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def faults(self) -> list[str]:
        """What the page complained about."""
        self.run("0")
        found = []
        for event in self.events:
            told = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(told["exceptionDetails"])[:2000])
            if event.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
                found.append(told["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for."""
        self.run("0")
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        """End it."""
        self._session = ""
        try:
            self.send("Browser.close")
            self._process.wait(10)
        except (AssertionError, OSError, TimeoutError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, 9)
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._selector.close()
