"""What may be asked for: the page's requests, by its own examples, and what may be registered."""

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.support import CLONE, DESIGN, NOW
from voicekeeper.core import requests
from voicekeeper.core.models import Kind, Origin
from voicekeeper.core.requests import (
    CONTROL_VOICE,
    FLASH,
    Clone,
    Design,
    Request,
    Speech,
    from_recipe,
    is_built_in,
)
from voicekeeper.errors import InvalidInput, quoted

URL = "https://example.com/reference.wav"


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (
            Speech("longanlang_v3", "Hello, welcome to APIXO."),
            {
                "mode": "speech",
                "voice": "longanlang_v3",
                "prompt": "Hello, welcome to APIXO.",
                "format": "mp3",
            },
        ),
        (
            Speech("v", "Hi.", "wav", instruction="Be calm."),
            {
                "mode": "speech",
                "voice": "v",
                "prompt": "Hi.",
                "format": "wav",
                "instruction": "Be calm.",
            },
        ),
        (Clone("demo01", URL), {"mode": "clone", "prefix": "demo01", "audio_urls": [URL]}),
        (
            Design("demo02", "A warm voice.", "Hello."),
            {
                "mode": "design",
                "prefix": "demo02",
                "prompt": "A warm voice.",
                "preview_text": "Hello.",
                "format": "wav",
            },
        ),
    ],
)
def test_a_request_has_the_body_that_the_page_shows(
    request_: Request, body: dict[str, Any]
) -> None:
    assert request_.body() == body


def test_the_longest_values_the_page_allows_are_allowed() -> None:
    assert Speech("v", "x" * 20_000, instruction="x" * 100).body()["prompt"] == "x" * 20_000
    assert Clone("Abcdefgh90", URL).body()["prefix"] == "Abcdefgh90"
    design = Design("a", "x" * 500, "y" * 200).body()
    assert (len(design["prompt"]), len(design["preview_text"])) == (500, 200)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"voice": ""}, "voice is required for speech and must not be empty"),
        ({"voice": " \t"}, "voice is required for speech and must not be empty"),
        ({"prompt": ""}, "prompt must be 1 to 20000 characters and not blank"),
        ({"prompt": "\n "}, "prompt must be 1 to 20000 characters and not blank"),
        ({"prompt": "x" * 20_001}, "prompt must be 1 to 20000 characters, not 20001"),
        ({"instruction": "x" * 101}, "instruction must be at most 100 characters"),
    ],
)
def test_a_speech_that_breaks_a_rule_cannot_be_made(fields: dict[str, str], rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Speech(**{"voice": "v", "prompt": "Hi."} | fields)
    assert str(caught.value) == rule


@pytest.mark.parametrize("prefix", ["", "abcdefghijk", "a-b", "a b", "a_b", "é", "٣", "a\n"])
def test_a_prefix_is_one_to_ten_ascii_letters_or_digits(prefix: str) -> None:
    rule = f"prefix must be 1 to 10 letters or digits, not {quoted(prefix)}"
    with pytest.raises(InvalidInput, match=f"^{re.escape(rule)}$"):
        Clone(prefix, URL)
    with pytest.raises(InvalidInput, match=f"^{re.escape(rule)}$"):
        Design(prefix, "Warm.", "Hello.")


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "example.com/a.wav", "ftp://example.com/a.wav", "file:///a.wav", "https://"),
        *("https:///a.wav", "http://[::1", f"{URL} {URL}", f"{URL}\n", " " + URL, "data:,x"),
    ],
)
def test_a_clone_takes_exactly_one_http_or_https_url(url: str) -> None:
    rule = f"the audio URL must be an http or https URL, not {quoted(url)}"
    with pytest.raises(InvalidInput, match=f"^{re.escape(rule)}$"):
        Clone("demo01", url)


@pytest.mark.parametrize("url", ["http://example.com/a.wav", URL, "HTTPS://example.com"])
def test_a_recording_may_lie_at_any_http_or_https_url(url: str) -> None:
    assert Clone("demo01", url).body()["audio_urls"] == [url]


def test_half_a_character_is_no_text_and_every_other_is() -> None:
    for code in (0xD800, 0xDABC, 0xDFFF):
        with pytest.raises(InvalidInput, match=r"^prompt must be text, and holds bytes that are"):
            Speech("any", f"Hello{chr(code)}")
    for code in (0xD7FF, 0xE000, 0x1F600):
        assert Speech("any", chr(code)).prompt == chr(code)


@pytest.mark.parametrize(
    ("prompt", "preview", "rule"),
    [
        (" ", "Hello.", "prompt must be 1 to 500 characters and not blank"),
        ("x" * 501, "Hello.", "prompt must be 1 to 500 characters, not 501"),
        ("Warm.", "", "preview text must be 1 to 200 characters and not blank"),
        ("Warm.", "x" * 201, "preview text must be 1 to 200 characters, not 201"),
    ],
)
def test_a_design_that_breaks_a_rule_cannot_be_made(prompt: str, preview: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Design("demo02", prompt, preview)
    assert str(caught.value) == rule


@pytest.mark.parametrize(
    ("kind", "recipe", "made"),
    [
        (Kind.CLONE, {"prefix": "a", "audio_url": URL}, Clone("a", URL)),
        (
            Kind.DESIGN,
            {"preview_text": "Hello.", "prompt": "Warm.", "prefix": "a"},
            Design("a", "Warm.", "Hello."),
        ),
    ],
)
def test_a_recipe_makes_its_enrollment_again(
    kind: Kind, recipe: dict[str, str], made: Request
) -> None:
    assert from_recipe(kind, recipe) == made


@pytest.mark.parametrize(
    ("kind", "recipe", "rule"),
    [
        (Kind.CLONE, {}, "the recipe of a clone holds exactly prefix, audio_url as texts"),
        (Kind.CLONE, {"prefix": "a"}, "holds exactly prefix, audio_url as texts"),
        (Kind.CLONE, {"prefix": "a", "audio_url": [URL]}, "holds exactly prefix, audio_url"),
        (Kind.CLONE, {"prefix": "a", "audio_url": URL, "x": "y"}, "holds exactly prefix"),
        (Kind.DESIGN, {"prefix": "a", "audio_url": URL}, "exactly prefix, prompt, preview_text"),
        (Kind.CLONE, {"prefix": "a-b", "audio_url": URL}, "prefix must be 1 to 10"),
    ],
)
def test_a_recipe_that_is_no_enrollment_is_refused(
    kind: Kind, recipe: dict[str, Any], rule: str
) -> None:
    with pytest.raises(InvalidInput, match=rule):
        from_recipe(kind, recipe)


def test_the_model_with_built_in_voices_and_the_one_that_controls_are_the_pages() -> None:
    assert (FLASH, CONTROL_VOICE) == ("cosyvoice-3-flash", "longanlang_v3")


@pytest.mark.parametrize(
    ("voice", "built_in"),
    [
        *((voice, True) for voice in ("longanlang_v3", "longanyang", "loongabby_v3")),
        *((voice, False) for voice in ("cosyvoice-v3-flash-longanlang", "longanlang_v3x")),
        *((voice, False) for voice in ("xlonganyang", "Longanyang", "")),
    ],
)
def test_the_built_in_voices_of_the_page_are_known_as_such(voice: str, *, built_in: bool) -> None:
    assert is_built_in(voice) is built_in


# what may be registered


@pytest.mark.parametrize("name", ["a", "anna", "n" * 64, "Ännchen", "小明", "a/b", "a-b", "'x'"])
def test_a_name_is_printable_and_without_white_space(name: str) -> None:
    assert requests.name(name) == name


@pytest.mark.parametrize(
    "name", ["", "n" * 65, "an na", "anna\n", "an\tna", "-anna", "a\x1b[2J", "a\u200bb", "\ud800"]
)
def test_a_name_that_a_terminal_or_a_command_would_mistake_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        requests.name(name)
    assert str(refused.value).startswith("a name must be 1 to 64 printable characters")
    assert str(refused.value).endswith(f", not {quoted(name)}")


def test_a_voice_id_has_no_format_but_its_length() -> None:
    for text in ("x", "cosyvoice-v3-flash-demo01-0123", "v" * 200):
        assert requests.voice_id(text) == text


@pytest.mark.parametrize("text", ["", "a b", "v" * 201, "a\x00b"])
def test_what_cannot_be_a_voice_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        requests.voice_id(text)
    rule = "a voice_id must be 1 to 200 printable characters without white space"
    assert str(refused.value) == f"{rule}, not {quoted(text)}"


def test_a_built_in_voice_needs_no_keeping() -> None:
    with pytest.raises(InvalidInput, match="is a built-in voice; the gateway never deletes those"):
        requests.voice_id("longanlang_v3")


@pytest.mark.parametrize("found", ['"', ",", "\u2013", "`"])
def test_a_voice_id_holds_nothing_that_comes_along_when_it_is_copied(found: str) -> None:
    text = f"cosyvoice-v3{found}"
    with pytest.raises(InvalidInput) as refused:
        requests.voice_id(text)
    assert str(refused.value) == (
        f"a voice_id holds no {quoted(found)}, unlike {quoted(text)}; copy it as the gateway "
        "told it"
    )


@pytest.mark.parametrize("text", ["", "a/b", "a b", "..%2f", "ü", "..", "-m", "m" * 101])
def test_a_model_can_stand_in_an_address(text: str) -> None:
    assert requests.model(FLASH) == FLASH
    with pytest.raises(InvalidInput) as refused:
        requests.model(text)
    rule = "a model is letters, digits, '-', '_' and '.', 100 at most, the first a letter or digit"
    assert str(refused.value) == f"{rule}; not {quoted(text)}"


@pytest.mark.parametrize(
    ("voice_id", "model", "other"),
    [
        ("cosyvoice-v3-plus-4f1c", "cosyvoice-3-flash", "cosyvoice-3-plus"),
        ("cosyvoice-v3-flash-4f1c", "cosyvoice-3-plus", "cosyvoice-3-flash"),
        ("cosyvoice-v3.5-plus-a-4f1c", "cosyvoice-3-plus", "cosyvoice-3.5-plus"),
        ("cosyvoice-v3-flash-4f1c", "another", "cosyvoice-3-flash"),
        ("cosyvoice-v3-flash-4f1c", "cosyvoice-3-flash", None),
        ("cosyvoice-v3-flash-4f1c", "cosyvoice-v3-flash", None),
        ("cosyvoice-v3-flashy", "cosyvoice-3-plus", None),
        ("my-voice", "cosyvoice-3-flash", None),
        ("", "cosyvoice-3-flash", None),
    ],
)
def test_a_voice_id_may_name_another_model(voice_id: str, model: str, other: str | None) -> None:
    assert requests.other_model(voice_id, model) == other


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("2026-05-01T12:00:00Z", timedelta(0)),
        ("2026-05-01T11:00:00", timedelta(hours=1)),
        ("2026-05-01T11:00:00+02:00", timedelta(hours=3)),
        ("2026-05-01", timedelta(hours=12)),
        ("2000-01-01", timedelta(days=9617, hours=12)),
        ("2026-05-01T12:04:00Z", timedelta(0)),
        ("2026-05-01T12:05:00Z", timedelta(0)),
    ],
)
def test_a_last_use_is_an_instant_and_not_ahead_of_now(text: str, ago: timedelta) -> None:
    assert requests.used_at(text, now=NOW) == NOW - ago


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2026-05-01T12:06:00Z", "lies ahead; a last use is in the past"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z is before the year 2000; leave a last use"),
        ("1970-01-01T00:00:00+02:00", "1969-12-31T22:00:00Z is before the year 2000"),
        (
            "1999-12-31T23:59:59Z",
            "before the year 2000; leave a last use out where it is not known",
        ),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59Z lies ahead"),
        ("0001-01-01T00:00:00+14:00", "must be a time such as"),
        ("yesterday", "must be a time such as"),
        ("", "must be a time such as"),
    ],
)
def test_what_can_be_no_last_use_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        requests.used_at(text, now=NOW)


def test_a_last_use_that_lies_ahead_is_told_as_the_instant_it_means() -> None:
    with pytest.raises(InvalidInput) as refused:
        requests.used_at("2026-05-02\x1b14:00:00+02:00", now=NOW)
    assert str(refused.value) == "2026-05-02T12:00:00Z lies ahead; a last use is in the past"


def facts(record: object) -> dict[str, Any]:
    return requests.facts(record, default_model=FLASH, now=NOW)


def test_an_import_needs_a_name_and_a_voice_id_only() -> None:
    assert facts({"name": "anna", "voice_id": "id-1"}) == {
        "name": "anna",
        "voice_id": "id-1",
        "model": FLASH,
        "last_used_at": None,
        "origin": Origin.IMPORTED,
        "recipe": None,
        "paused": False,
    }


@pytest.mark.parametrize(("origin", "recipe"), [("clone", CLONE), ("design", DESIGN)])
def test_an_import_takes_all_that_an_export_writes(origin: str, recipe: dict[str, str]) -> None:
    record = {
        "name": "anna",
        "voice_id": "id-1",
        "model": "cosyvoice-3-plus",
        "last_used_at": "2026-05-01T10:00:00Z",
        "origin": origin,
        "recipe": recipe,
        "paused": True,
    }
    told = facts(record)
    assert told == record | {"origin": Origin(origin), "last_used_at": NOW - timedelta(hours=2)}


def test_null_reads_as_not_given() -> None:
    given = {"name": "anna", "voice_id": "id-1"}
    nulls = dict.fromkeys(("model", "last_used_at", "origin", "recipe"))
    assert facts(given | nulls) == facts(given)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": None}, "a name must be 1 to 64"),
        ({"name": 7}, "name must be a text"),
        ({"voice_id": ""}, "a voice_id must be 1 to 200"),
        ({"voice_id": 7}, "voice_id must be a text"),
        ({"voice": "x"}, "unknown field 'voice'; known are voice_id, name"),
        ({"paused": "no"}, "paused must be true or false"),
        ({"paused": None}, "paused must be true or false"),
        ({"origin": "bought"}, "origin must be one of imported, clone, design, not 'bought'"),
        ({"recipe": CLONE}, 'a recipe goes with "origin": "clone" or "design"'),
        ({"recipe": [], "origin": "clone"}, "recipe must be a JSON object"),
        ({"recipe": DESIGN, "origin": "clone"}, "the recipe of a clone holds exactly prefix"),
        ({"recipe": CLONE | {"prefix": "a b"}, "origin": "clone"}, "prefix must be 1 to 10"),
        ({"last_used_at": 1767965610929}, "last_used_at must be a text"),
        ({"model": "a/b"}, "a model is letters"),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused_by_it(
    change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        facts({"name": "anna", "voice_id": "id-1"} | change)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("field", ["name", "voice_id"])
def test_a_record_without_a_name_or_a_voice_id_is_refused(field: str) -> None:
    record = {"name": "anna", "voice_id": "id-1"}
    del record[field]
    with pytest.raises(InvalidInput, match=f"{field} is missing"):
        facts(record)


@pytest.mark.parametrize("record", [None, [], "anna", 7])
def test_a_record_is_an_object(record: object) -> None:
    with pytest.raises(InvalidInput, match=r"^must be a JSON object$"):
        facts(record)
