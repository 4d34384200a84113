"""The requests, by the page's rules; the examples are the page's own."""

import re
from typing import Any

import pytest

from voicekeeper.core.models import Kind
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
