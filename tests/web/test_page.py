"""The page for people: what it says, what it never does, and how it looks in a browser."""

import asyncio
import os
import re
import tempfile
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from tests.browser import CHROMIUM, Browser
from tests.store.test_unreadable import BAD_VALUES, write
from tests.support import DAY, HOUR, MINUTE, NOW, TICK, Call, Life, imported, wanted
from tests.web_support import free_port, get, served, settings
from voicekeeper.core.enums import NEVER_KNOWN
from voicekeeper.core.models import Active, Breaker, Status, Voice
from voicekeeper.errors import CallFailed
from voicekeeper.store import fleet
from voicekeeper.web.page import failure, page

PICTURES = Path(os.environ.get("CI_OUTPUT") or Path(__file__).parents[2] / ".ci/output")

MONTH = 28 * DAY

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (Debian: chromium)"
)


def html(life: Life) -> str:
    now, policy = life.clock.now(), life.policy
    board = fleet.board(life.database, now=now, policy=policy)
    return page(board, now=now, tick=TICK, policy=policy)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link") and (tag, attrs) != ("br", []):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag that closes itself for what it is."""

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and data.strip():
            self.said.append(data.strip())


def words(text: str) -> str:
    """Return what a person reads, on one line; every tag is closed."""
    parser = _Words()
    parser.feed(text)
    assert parser.open == []
    return " ".join(parser.said)


def change(life: Life, name: str, **columns: Any) -> None:  # noqa: ANN401 - any column
    with life.database.writing() as session:
        voice = session.scalars(select(Voice).where(col(Voice.name) == name)).one()
        for column, value in columns.items():
            setattr(voice, column, value)


def troubled(path: Path) -> Life:
    """Return a life of a month in which all that the page can show has happened."""
    (path / "voicekeeper.db").write_bytes(_troubled())
    life = Life(path)
    life.clock.advance(MONTH)
    return life


@cache
def _troubled() -> bytes:
    """Return the registry of that life; to live it takes a second."""
    with tempfile.TemporaryDirectory() as directory:
        life = _live_through(Path(directory))
        life.database.close()
        return life.database.path.read_bytes()


def _live_through(path: Path) -> Life:
    life = Life(path)
    ages = {
        "narrator": 2,
        "host-morning": 4,
        "host-evening": 1,
        "guide": 3,
        "tutor": 0,
        "museum": 2,
    }
    life.register(*(imported(name, last_used_at=NOW - age * DAY) for name, age in ages.items()))
    life.register(wanted("anna", prefix="anna01"), wanted("reviewed", prefix="reject1"))
    failing: Callable[[Call], bool] = lambda call: (  # noqa: E731 - a rule for one life
        call.subject == "id-host-evening" and call.at > NOW + 22 * DAY
    )
    life.upstream.trouble = lambda call: CallFailed("refused", code=429) if failing(call) else None
    life.live(MONTH)
    now = life.clock.now()
    life.register(
        imported("a-voice-with-a-rather-long-name-that-someone-gave-it-one-day", last_used_at=now),
        imported("unused"),
        imported("summer-campaign", last_used_at=now - 3 * DAY),
        imported("old-intro", last_used_at=now - 20 * DAY),
        wanted("fresh"),
    )
    life.registry.pause("summer-campaign", now=now)
    change(
        life,
        "host-evening",
        last_used_at=now - 6 * DAY - 14 * HOUR,
        anchored_at=now - 6 * DAY - 14 * HOUR,
        failures=17,
        last_error="429: Rate limit or concurrency limit reached",
        next_at=now + 40 * MINUTE,
    )
    change(life, "museum", last_used_at=now - 5 * DAY - HOUR, anchored_at=now - 5 * DAY - HOUR)
    change(
        life,
        "old-intro",
        status=Status.LOST,
        next_at=None,
        last_error="VALIDATION_ERROR: The voice_id is invalid for the current user or model.",
    )
    asyncio.run(life.keeper.upkeep.note_balance())
    with life.database.writing() as session:
        session.get_one(Active, 1).last_pass_at = now - TICK
    return life


def test_the_fleets_health_is_one_sentence_on_top(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW - DAY), imported("bert", last_used_at=NOW))
    life.live(MINUTE)
    said = words(html(life))
    assert re.search(r"Look again All is well: 2 voices kept, next due in 1 d \d+ h\. 2 kept", said)
    life.clock.advance(HOUR)
    assert "Somebody has to act: 2 voices to keep" in words(html(life))
    assert "Critical: no daemon has made a pass since" in words(html(life))


def test_the_most_urgent_voice_is_on_top_and_what_is_not_kept_below(tmp_path: Path) -> None:
    life = troubled(tmp_path)
    names = re.findall(r"<h3>(.*?)</h3>", html(life))
    kept = [voice for voice in life.registry.all() if voice.status in ("NEW", "OK", "DEPLOYING")]
    urgent = sorted((v for v in kept if not v.paused), key=lambda v: (v.anchored_at, v.name))
    assert names[: len(urgent)] == [voice.name for voice in urgent]
    assert names[0] == "host-evening"
    assert names[len(urgent) :] == ["old-intro", "reviewed", "summer-campaign"]


def test_a_voice_is_told_with_its_margin_status_and_last_error(tmp_path: Path) -> None:
    text = html(troubled(tmp_path))
    said = words(text)
    assert 'role="img" aria-label="10 h left, which is very little, of 7 d"' in text
    assert (
        "host-evening OK 10 h left, which is very little , until 2026-05-29 22:00 UTC"
        " next call in 40 min Used on "
    ) in said
    assert re.search(r"next call in 40 min Used on \d days, failed on \d days Last error", said)
    assert "Last error (17 in a row): 429: Rate limit or concurrency limit reached" in said
    assert "museum OK 1 d 23 h left, which is little" in said
    assert "old-intro LOST Gone from the gateway no call is due No call in 30 days" in said
    assert "reviewed UNDEPLOYED · clone Taken away by the gateway's review" in said
    assert "summer-campaign NEW · paused 4 d left" in said
    assert "until 2026-06-02 12:00 UTC not called while it is paused" in said
    assert "fresh NEW · clone Not used yet next call now" in said


def test_a_month_of_keepalives_among_years_of_them_has_a_cell_a_day(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW))
    life.live(400 * DAY)
    board = fleet.board(life.database, now=life.clock.now(), policy=life.policy)
    (days,) = board.days.values()
    since = (life.clock.now() - 29 * DAY).date()
    used = {task.sent_at.date() for task in life.tasks("anna")}
    assert set(days) == {day for day in used if day >= since}
    assert 9 <= len(days) <= 12
    assert len(used) > 120
    assert all(days.values())
    strip = html(life).partition('<svg class="strip"')[2]
    cells = dict(re.findall(r'<path class="(\w+)" d="([^"]*)"', strip))
    assert {look: path.count("M") for look, path in cells.items()} == {
        "good": len(days),
        "none": 30 - len(days),
    }
    assert f"Used on {len(days)} days" in words(html(life))


def test_whatever_others_wrote_is_escaped(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW))
    change(life, "anna", last_error="</p><script>alert('x')</script>" + "a" * 1000)
    text = html(life)
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;aaa" in text
    assert "a" * 301 not in text


def test_words_of_others_look_like_no_command_and_break_none_of_ours(tmp_path: Path) -> None:
    life = Life(tmp_path)
    words_of_others = "can't: run 'voicekeeper remove anna', it isn't yours & 'that' is all"
    life.register(*(imported(name, last_used_at=NOW) for name in ("anna", "o'neil", "it's")))
    change(life, "anna", status=Status.FAILED, next_at=None, last_error=words_of_others)
    change(life, "o'neil", status=Status.LOST, last_error=words_of_others)
    with life.database.writing() as session:
        session.add(Breaker(model="m", opened_at=NOW, cause=words_of_others, probe_at=NOW))
    text = html(life)
    assert words(text).count(words_of_others) == 4
    assert sorted(set(re.findall("<code>(.*?)</code>", text))) == [
        "remove NAME",
        "retry NAME",
        "systemctl start voicekeeper",
        "voicekeeper check",
        "voicekeeper run",
        "voicekeeper show NAME",
    ]


def test_a_hold_is_no_error(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=0)
    life.register(wanted("anna"))
    life.live(MINUTE)
    said = words(html(life))
    assert "Waits: never begun: a clone costs $0.002" in said
    assert "Last error" not in said


def test_a_lost_voice_is_tried_again_and_no_call_of_the_fleet_is_due_for_it(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW), imported("bert", last_used_at=NOW))
    lost = {"status": Status.LOST, "next_at": NOW + 40 * MINUTE, "last_error": "gone"}
    change(life, "bert", **lost)
    said = words(html(life))
    assert "bert LOST Gone from the gateway tried again in 40 min" in said
    assert re.search(r"1 voice to keep, next due in 2 d \d+ h\.", said)
    change(life, "bert", next_at=NOW, last_error=f"gone; {NEVER_KNOWN}")
    said = words(html(life))
    assert "bert LOST Never known to the gateway tried again now" in said
    assert f"1 voice LOST: bert ({NEVER_KNOWN})" in said


def test_all_times_have_one_form(tmp_path: Path) -> None:
    life = troubled(tmp_path)
    change(life, "fresh", held_at=NOW, last_error="held until 2026-05-31T00:00:00Z: it is spent")
    life.clock.advance(HOUR)
    text = html(life)
    assert "held until 2026-05-31 00:00 UTC : it is spent" in words(text)
    assert "no daemon has made a pass since 2026-05-29 11:59 UTC ;" in words(text)
    assert "T" not in "".join(re.findall(r"\d{4}-\d\d-\d\d(.)", words(text)))
    times = re.findall(r'<time datetime="(.*?)">(.*?)</time>', text)
    assert len(times) > 10
    assert {f"{at[:10]} {at[11:16]} UTC" == shown for at, shown in times} == {True}


def test_past_a_thousand_voices_the_hundred_most_urgent_are_shown(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(*(imported(f"v{n}", last_used_at=NOW - n * MINUTE) for n in range(fleet.ALL + 1)))
    text = html(life)
    shown = [f"v{n}" for n in range(fleet.ALL, fleet.ALL - fleet.URGENT, -1)]
    assert re.findall("<h3>(.*?)</h3>", text) == shown
    assert "100 of 1,001 are shown; voicekeeper list shows all." in words(text)


def test_a_registry_without_a_voice_says_how_to_begin(tmp_path: Path) -> None:
    said = words(html(Life(tmp_path)))
    assert "No voice is registered yet; voicekeeper add registers one that exists, " in said
    assert "No voice yet; voicekeeper add registers one." in said
    assert "well" not in said


def test_nothing_is_loaded_nothing_runs_and_nothing_is_kept(tmp_path: Path) -> None:
    (answer,) = get(Life(tmp_path), "/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert re.findall(r'(?:src|href|action)="([^"]*)"', answer.text) == ["data:,", "/", "#kept"]
    assert not re.search(r"<(script|form|img|iframe|button|input)|\bon\w+=|style=", answer.text)
    for text in (answer.text, failure("it is damaged")):
        assert '<meta http-equiv="refresh" content="30">' in text
    assert "renewed every 30 s" in words(answer.text)


@pytest.mark.parametrize("value", BAD_VALUES)
def test_a_row_that_cannot_be_read_is_left_out_of_page_and_metrics(
    tmp_path: Path, value: str
) -> None:
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW), imported("bert", last_used_at=NOW))
    write(life, f"UPDATE voice SET last_error = 'e', {value} WHERE name = 'bert'")  # noqa: S608
    page, metrics = get(life, "/", "/metrics")
    assert (page.status_code, metrics.status_code) == (200, 200)
    assert "anna</h3>" in page.text
    assert 'name="anna"' in metrics.text
    assert "bert</h3>" not in page.text
    assert 'name="bert"' not in metrics.text


@pytest.mark.parametrize(
    "value", ["sent_at = 'then'", "sent_at = x'00'", "sent_at = 7", "state = 'bogus'"]
)
def test_a_call_that_cannot_be_read_costs_the_page_no_more_than_a_day(
    tmp_path: Path, value: str
) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    life.live(5 * DAY)
    write(life, f"UPDATE task SET {value} WHERE id = 1")  # noqa: S608 - the example
    assert "Used on 1 day" in words(html(life))


def browse(life: Life, profile: Path, look: Callable[[Browser, str], None]) -> None:
    """Let a browser look at a life's page."""

    async def show() -> None:
        port = free_port()
        async with served(life, settings(web=port)):

            def in_browser() -> None:
                with Browser(profile) as browser:
                    look(browser, f"http://127.0.0.1:{port}/")

            await asyncio.to_thread(in_browser)

    asyncio.run(show())


@needs_chromium
def test_a_browser_shows_it_on_a_phone_and_on_a_desk_by_day_and_by_night(tmp_path: Path) -> None:
    life = troubled(tmp_path)
    PICTURES.mkdir(parents=True, exist_ok=True)

    def look(browser: Browser, url: str) -> None:
        for place, width, height, scale in (("phone", 390, 844, 2), ("desk", 1280, 800, 1)):
            for dark in (False, True):
                browser.open(url, width=width, height=height, dark=dark, scale=scale)
                light = "dark" if dark else "light"
                browser.screenshot(PICTURES / f"page-{place}-{light}.png")
                ground = browser.value("getComputedStyle(document.body).backgroundColor")
                assert ground == ("rgb(17, 20, 24)" if dark else "rgb(246, 247, 249)")
                assert browser.value("document.documentElement.scrollWidth") <= width
        browser.open(url, width=320, height=640, dark=False)
        assert browser.value("document.documentElement.scrollWidth") <= 320
        assert browser.complaints == []

    browse(life, tmp_path / "profile", look)


@needs_chromium
def test_a_keyboard_and_a_screen_reader_find_their_way(tmp_path: Path) -> None:
    life = troubled(tmp_path)

    def look(browser: Browser, url: str) -> None:
        browser.open(url, width=1280, height=800, dark=False)
        focused = []
        for _ in range(3):
            browser.press_tab()
            focused.append(browser.value("document.activeElement.textContent"))
        assert focused == ["Look again", "10 kept", "3 not kept"]
        assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        spoken = browser.spoken()
        assert ("heading", "Kept, the most urgent first") in spoken
        assert ("heading", "host-evening") in spoken
        assert ("image", "10 h left, which is very little, of 7 d") in spoken
        assert ("navigation", "Voices") in spoken
        assert [role for role, name in spoken if role == "image" and not name] == []
        assert browser.value("document.documentElement.lang") == "en"

    browse(life, tmp_path / "profile", look)


CONTRAST = """(() => {
  const light = color => {
    const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!color.endsWith(', 0)')) return color;
    }
  };
  let least = [99, ''];
  for (const element of document.querySelectorAll('h1,h2,h3,p,li,a,b,span,strong,time,code')) {
    if (!element.textContent.trim()) continue;
    const pair = [light(getComputedStyle(element).color), light(ground(element))].sort();
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < least[0]) least = [ratio, element.className + ': ' + element.textContent];
  }
  return least;
})()"""


@needs_chromium
def test_every_word_stands_out_from_its_ground_as_wcag_asks(tmp_path: Path) -> None:
    life = troubled(tmp_path)

    def look(browser: Browser, url: str) -> None:
        for dark in (False, True):
            browser.open(url, width=1280, height=800, dark=dark)
            least, where = browser.value(CONTRAST)
            assert least >= 4.5, where

    browse(life, tmp_path / "profile", look)
