"""The page in a real browser: opened from the disk, filtered and read by the keyboard alone, without any request.

It needs Chromium, spoken to through its debugging pipe. MARLSPEC_REQUIRE_BROWSER=1 in the environment makes its absence
a failure.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time

import pytest

from marlspec.properties import Report, Verdict
from marlspec.properties.page import write_page
from marlspec.properties.verdicts import Witness

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WITH_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
KEYS = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "ArrowUp": 38, "ArrowRight": 39, " ": 32}
LIMIT = 300.0  # seconds for one answer: it starts slowly where much else runs


class Browser:
    """Headless Chromium with one page; messages end in a zero byte."""

    def __init__(self, path, folder):
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_child, from_child)]  # 3 and 4 are Chromium's
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "--window-size=1200,900"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WITH_PIPES, *map(str, high), path, *options, "about:blank"],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for fd in (to_child, from_child, *high):
            os.close(fd)
        self._buffer, self._number, self._session, self.events = b"", 0, None, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, path):
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression):
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key):
        code = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.ask("Input.dispatchKeyEvent", type="keyDown", **code, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **code)

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._read)
        os.close(self._write)

    def _next(self):
        end = time.monotonic() + LIMIT
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium gave no answer within {LIMIT:g} s"
            part = os.read(self._read, 1 << 16)
            assert part, "Chromium ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)


@pytest.fixture(scope="module")
def chromium():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None and os.environ.get("MARLSPEC_REQUIRE_BROWSER") == "1":
        pytest.fail("MARLSPEC_REQUIRE_BROWSER=1, and there is no Chromium: apt-get install chromium")
    if path is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    return path


def report(target, role, **outcomes):
    verdicts = []
    for name, outcome in outcomes.items():
        claim = name.replace("__", ".")
        case, size = {"utilities": [0.0, 1.0], "agent": 1}, {"n_agents": 2, "state_size": 1}
        witness = Witness(target, role, claim, {}, size, 0, None, case, "it falls", "it does not fall")
        refuted = outcome == "refuted"
        verdicts.append(Verdict(claim, outcome, "search", "these", 100, 0.1, witness if refuted else None, "a reason"))
    return Report(target, role, tuple(verdicts), "float64", (), 48, 0, {"width": 3})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    reports = [
        report("sound.py:mixer", "mixer", mixer__finite="holds", mixer__monotone="proved", mixer__batch="holds"),
        report("broken.py:mixer", "mixer", mixer__finite="holds", mixer__monotone="refuted", mixer__batch="error"),
        report("update.py:update", "tabular_update", iql__update="holds", iql__terminal="not_applicable"),
    ]
    section = {"title": "Results", "introduction": "", "heads": ["name", "value"], "rows": [["a", "1"]]}
    write_page(reports, path, sections=[section])
    return path


@pytest.fixture
def browser(chromium, page, tmp_path):
    browser = Browser(chromium, tmp_path / "profile")
    try:
        browser.open(page)
        yield browser
    finally:
        browser.close()


FOCUS = "document.activeElement"
SEEN = "[...document.querySelectorAll('{}')].filter(e => e.checkVisibility()).map(e => e.innerText)"


def seen(browser, selector):
    return browser.value(SEEN.format(selector))


def test_the_keyboard_alone_filters_to_refuted_and_opens_the_witness_without_a_request(browser, page):
    assert seen(browser, "table.verdicts tbody th") == [
        "mixer.finite", "mixer.monotone", "mixer.batch", "iql.update", "iql.terminal"
    ]  # fmt: skip
    browser.press("Tab")
    assert browser.value(f"{FOCUS}.id") == "only-all"
    browser.press("ArrowDown")
    assert browser.value(f"{FOCUS}.id + {FOCUS}.checked") == "only-refutedtrue"
    assert seen(browser, "table.verdicts tbody th") == ["mixer.monotone"]
    assert seen(browser, "section.verdicts h2") == ["mixer"]
    assert seen(browser, "pre") == []
    for _ in range(10):
        browser.press("Tab")
        if browser.value(f"{FOCUS}.innerText") == "refuted":
            break
    assert browser.value(f"{FOCUS}.tagName + {FOCUS}.innerText") == "SUMMARYrefuted"
    assert browser.value(f"getComputedStyle({FOCUS}).outlineStyle") == "solid", "the focus can be seen"
    browser.press("Enter")
    (witness,) = seen(browser, "pre")
    assert "utilities = [0, 1]" in witness
    assert "computed: it falls" in witness
    browser.press("Enter")
    assert seen(browser, "pre") == []
    assert browser.requests() == [page.as_uri()]
    assert not [event for event in browser.events if event["method"] == "Log.entryAdded"]
    assert browser.value("document.scripts.length") == 0


def test_the_other_filter_shows_what_was_not_judged_and_the_first_one_shows_all_again(browser):
    browser.press("Tab")
    browser.press("ArrowUp")  # from the first to the last
    assert browser.value(f"{FOCUS}.id") == "only-error"
    assert seen(browser, "table.verdicts tbody th") == ["mixer.batch"]
    browser.press("ArrowRight")
    assert len(seen(browser, "table.verdicts tbody th")) == 5


def test_every_verdict_can_be_reached_and_opened_by_the_keyboard(browser):
    places = browser.value("document.querySelectorAll('summary').length")
    opened = 0
    for _ in range(3 * places):
        browser.press("Tab")
        if browser.value(f"{FOCUS}.tagName") == "SUMMARY" and not browser.value(f"{FOCUS}.parentElement.open"):
            browser.press("Enter")
            opened += 1
    assert opened == places == 8
    assert browser.value("document.querySelectorAll('details[open]').length") == places


def test_where_nothing_is_refuted_the_filter_says_so(chromium, tmp_path):
    write_page([report("sound.py:mixer", "mixer", mixer__finite="holds")], tmp_path / "page.html")
    browser = Browser(chromium, tmp_path / "profile")
    try:
        browser.open(tmp_path / "page.html")
        assert seen(browser, ".none") == []
        browser.press("Tab")
        browser.press("ArrowDown")
        assert seen(browser, ".none") == ["There are none."]
    finally:
        browser.close()


def test_a_missing_browser_is_a_failure_where_it_is_required(monkeypatch):
    monkeypatch.setenv("MARLSPEC_REQUIRE_BROWSER", "1")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        chromium.__wrapped__()
