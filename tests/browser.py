"""A headless Chromium on a pipe, by its DevTools protocol; nothing is needed beside it.

``Accessibility``, ``Emulation``, ``Input``, ``Page`` and ``Runtime`` are Chromium's own words.
"""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_LIMIT_S = 60


class Browser:
    """One window; ``complaints`` is what it wrote to its console, such as breaches of a policy."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        there, self._words = os.pipe()
        self._answers, back = os.pipe()
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$@" 3<&{there} 4>&{back}',
                "bash",
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--no-first-run",
                "--no-proxy-server",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(there, back),
            stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(back)
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        (target, *_) = (
            target
            for target in self.tell("Target.getTargets")["targetInfos"]
            if target["type"] == "page"
        )
        attached = self.tell("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(_LIMIT_S)
        os.close(self._words)
        os.close(self._answers)

    def tell(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - the protocol's
        """Say something to it; return its answer."""
        self._number += 1
        said: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            said["sessionId"] = self._session
        os.write(self._words, json.dumps(said).encode() + b"\0")
        while (heard := self._hear()).get("id") != self._number:
            self._note(heard)
        assert "error" not in heard, heard
        result: dict[str, Any] = heard["result"]
        return result

    def await_event(self, method: str) -> None:
        """Wait until it says that something has happened."""
        while (heard := self._hear())["method"] != method:
            self._note(heard)

    def open(self, url: str, *, width: int, height: int, dark: bool, scale: float = 1) -> None:
        """Show a page in a window of this size."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 700,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self.tell("Page.navigate", url=url)
        self.await_event("Page.loadEventFired")

    def value(self, expression: str) -> Any:  # noqa: ANN401 - whatever it is
        """Return the value of an expression in the page."""
        answer = self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def press_tab(self) -> None:
        for kind in ("keyDown", "keyUp"):
            self.tell(
                "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
            )

    def spoken(self) -> list[tuple[str, str]]:
        """Return what a screen reader finds: each role with its name."""
        nodes = self.tell("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def screenshot(self, path: Path) -> None:
        """Keep a picture of the whole page."""
        shot = self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._answers, 1 << 20)
            assert more, "Chromium has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        heard: dict[str, Any] = json.loads(message)
        return heard

    def _note(self, heard: dict[str, Any]) -> None:
        if heard["method"] == "Log.entryAdded":
            self.complaints.append(heard["params"]["entry"]["text"])
