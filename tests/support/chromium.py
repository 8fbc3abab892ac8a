"""Debian's Chromium, without a window, driven over its DevTools protocol: what a person does with a page, and sees.

It reaches nothing but this machine, and everything that it keeps is in a new directory. Whatever a page complains of
(an exception, a refusal by its Content-Security-Policy, a failed load) is noted, and fails a test that did not expect
it.

It is driven by hand, over the one web socket that it has, rather than by a library and a driver between: what is
needed is a page of commands, and a person's preferences, fingers and screens are only there.
"""

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import aiohttp
import pytest

PATIENCE_S: Final = 60
_PROGRAM: Final = shutil.which("chromium")
_OPTIONS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-crash-reporter", "--disable-breakpad", "--hide-scrollbars", "--remote-debugging-port=0", "--lang=en"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_KEYS: Final = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "Tab": (9, ""),
    "PageUp": (33, ""),
    "PageDown": (34, ""),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}


@contextmanager
def launched(directory: Path) -> Iterator[str]:
    """Run a browser; gives the address of its DevTools."""
    # It dies with whoever started it, however that ends.
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        str(_PROGRAM),
        *_OPTIONS,
        f"--user-data-dir={directory}",
        "about:blank",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(rb"DevTools listening on (ws://\S+)", line):
                    break
            else:
                pytest.skip("Chromium does not start here")
            threading.Thread(target=_discard, args=(process.stderr,), daemon=True).start()
            yield found[1].decode()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _discard(stream: IO[bytes]) -> None:
    """Read to the end: a full pipe would stop whoever writes to it."""
    with suppress(OSError, ValueError):
        while stream.read1(1 << 16):  # type: ignore[attr-defined]
            pass


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Gives the DevTools address of a browser; skips where there is none."""
    if _PROGRAM is None:
        pytest.skip("Debian's chromium is not installed")
    with launched(tmp_path_factory.mktemp("chromium")) as address:
        yield address


class Page:
    """A page in a browser context of its own: nothing is left of another test's."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._socket: Final = socket
        self._numbers: Final = itertools.count(1)
        self._answers: Final[dict[int, asyncio.Future[dict[str, Any]]]] = {}
        self._session: str | None = None

    async def say(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        async with asyncio.timeout(PATIENCE_S):
            answer = await self._answers[number]
        del self._answers[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    async def listen(self) -> None:
        """Take what the browser says, until it goes."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                if (answer := self._answers.get(said["id"])) and not answer.done():
                    answer.set_result(said)
            else:
                self._note(said["method"], said["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.complaints.append(str(params["args"]))
        elif method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])

    async def open(self, *, width: int, height: int, dark: bool, phone: bool) -> None:
        """Open an empty page."""
        context = (await self.say("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
        target = await self.say("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.say("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.say(f"{domain}.enable")
        await self.look(width=width, height=height, dark=dark, phone=phone)

    async def look(
        self, *, width: int, height: int, dark: bool = False, phone: bool = False, calm: bool = False, zoom: float = 1
    ) -> None:
        """Be a screen of this size, of a person with these preferences."""
        size = {"width": round(width / zoom), "height": round(height / zoom), "deviceScaleFactor": 2 if phone else zoom}
        await self.say("Emulation.setDeviceMetricsOverride", mobile=phone, **size)
        await self.say("Emulation.setTouchEmulationEnabled", enabled=phone)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        await self.say("Emulation.setEmulatedMedia", features=features)

    async def go(self, url: str) -> None:
        """Load a page, and everything that it loads."""
        await self.say("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression comes to; a promise is waited for."""
        answer = await self.say("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        details = answer.get("exceptionDetails")
        assert details is None, details.get("exception", {}).get("description", details["text"])
        return answer["result"].get("value")

    async def module(self, body: str, *imports: str) -> Any:
        """Run a function's body, which has ``imports`` of the page's modules ("name: file.js"); return its result."""
        names = [part.partition(":") for part in imports]
        loads = "".join(f"const {name.strip()} = await import('/page/{file.strip()}');" for name, _, file in names)
        return await self.evaluate(f"(async () => {{ {loads} {body} }})()")

    async def until(self, condition: str, *, timeout_s: float = 30) -> Any:
        """Wait until a JavaScript expression is true; return what it is then."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    # The page may be another one meanwhile.
                    with suppress(AssertionError):
                        if found := await self.evaluate(_SOON.replace("CONDITION", condition)):
                            return found
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"not within {timeout_s} s: {condition}\n{shown}\n{self.complaints}") from None

    async def text(self, selector: str) -> str:
        """Return the text of an element."""
        return await self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    async def until_text(self, selector: str, part: str) -> str:
        """Wait until an element's text has a part; return all of the text."""
        element = f"document.querySelector({json.dumps(selector)})"
        return await self.until(f"{element}?.textContent.includes({json.dumps(part)}) && {element}.textContent")

    async def place(self, selector: str, across: float = 0.5, down: float = 0.5) -> tuple[float, float]:
        """Return a point in an element, which is scrolled to where it is seen."""
        box = await self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "if (e.getBoundingClientRect().bottom > innerHeight || e.getBoundingClientRect().top < 0)"
            "  e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
        )
        return box[0] + across * box[2], box[1] + down * box[3]

    async def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Say what the mouse does: mousePressed, mouseMoved, mouseReleased, mouseWheel."""
        buttons = {"button": "left", "clickCount": 1} if kind in ("mousePressed", "mouseReleased") else {}
        await self.say("Input.dispatchMouseEvent", type=kind, x=x, y=y, **{**buttons, **more})

    async def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = await self.place(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.mouse(kind, x, y)

    async def drag(self, start: tuple[float, float], end: tuple[float, float], *, let_go: bool = True) -> None:
        """Drag from one point to another."""
        await self.mouse("mouseMoved", *start)
        await self.mouse("mousePressed", *start)
        for step in range(1, 9):
            at = (a + (b - a) * step / 8 for a, b in zip(start, end, strict=True))
            await self.mouse("mouseMoved", *at, button="left", buttons=1)
        if let_go:
            await self.mouse("mouseReleased", *end)

    async def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """Say what fingers do: touchStart, touchMove, touchEnd."""
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        await self.say("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    async def key(self, *keys: str) -> None:
        """Press keys, one after another: their names, or single characters."""
        for key in keys:
            code, text = _KEYS.get(key, (ord(key[0].upper()), key))
            what = {"key": key, "windowsVirtualKeyCode": code}
            await self.say("Input.dispatchKeyEvent", type="keyDown", **what, **({"text": text} if text else {}))
            await self.say("Input.dispatchKeyEvent", type="keyUp", **what)

    async def focus(self, selector: str) -> None:
        """Give an element the focus."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")

    async def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Write what is to be seen as a PNG; with ``whole``, all that one could scroll to."""
        taken = await self.say("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(taken["data"]))


# One look for each picture of the screen, for half a second at a time.
_SOON: Final = """new Promise((resolve, reject) => {
  const until = performance.now() + 500;
  const look = () => {
    let found;
    try { found = CONDITION; } catch (error) { reject(error); return; }
    if (found || performance.now() > until) resolve(found); else setTimeout(look, 16);
  };
  look();
})"""


@asynccontextmanager
async def page_in(
    chromium: str, *, width: int = 1440, height: int = 1000, dark: bool = False, phone: bool = False
) -> AsyncIterator[Page]:
    """An empty page in the browser; what it complains of fails the test, unless that took it from ``complaints``."""
    async with aiohttp.ClientSession() as client, client.ws_connect(chromium, max_msg_size=0) as socket:
        page = Page(socket)
        listening = asyncio.create_task(page.listen())
        try:
            await page.open(width=width, height=height, dark=dark, phone=phone)
            yield page
            assert not page.complaints, page.complaints
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            # The context ends with whoever made it.


def screenshots(tmp_path: Path) -> Path:
    """Return where pictures for people go: what VBALLOOND_SCREENSHOTS names, or the test's own directory."""
    directory = Path(os.environ.get("VBALLOOND_SCREENSHOTS", tmp_path))
    directory.mkdir(parents=True, exist_ok=True)
    return directory
