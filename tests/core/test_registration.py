"""What may be registered."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support import CLONE, DESIGN, NOW
from voicekeeper.core import registration
from voicekeeper.core.models import Origin
from voicekeeper.errors import InvalidInput, quoted

FLASH = "cosyvoice-3-flash"


@pytest.mark.parametrize("name", ["a", "anna", "n" * 64, "Ännchen", "小明", "a/b", "a-b", "'x'"])
def test_a_name_is_printable_and_without_white_space(name: str) -> None:
    assert registration.name(name) == name


@pytest.mark.parametrize(
    "name", ["", "n" * 65, "an na", "anna\n", "an\tna", "-anna", "a\x1b[2J", "a\u200bb", "\ud800"]
)
def test_a_name_that_a_terminal_or_a_command_would_mistake_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        registration.name(name)
    assert str(refused.value).startswith("a name must be 1 to 64 printable characters")
    assert str(refused.value).endswith(f", not {quoted(name)}")


def test_a_voice_id_has_no_format_but_its_length() -> None:
    for text in ("x", "cosyvoice-v3-flash-demo01-0123", "v" * 200):
        assert registration.voice_id(text) == text


@pytest.mark.parametrize("text", ["", "a b", "v" * 201, "a\x00b"])
def test_what_cannot_be_a_voice_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        registration.voice_id(text)
    rule = "a voice_id must be 1 to 200 printable characters without white space"
    assert str(refused.value) == f"{rule}, not {quoted(text)}"


def test_a_built_in_voice_needs_no_keeping() -> None:
    with pytest.raises(InvalidInput, match="is a built-in voice; the gateway never deletes those"):
        registration.voice_id("longanlang_v3")


@pytest.mark.parametrize("found", ['"', ",", "\u2013", "`"])
def test_a_voice_id_holds_nothing_that_comes_along_when_it_is_copied(found: str) -> None:
    text = f"cosyvoice-v3{found}"
    with pytest.raises(InvalidInput) as refused:
        registration.voice_id(text)
    assert str(refused.value) == (
        f"a voice_id holds no {quoted(found)}, unlike {quoted(text)}; copy it as the gateway "
        "told it"
    )


@pytest.mark.parametrize("text", ["", "a/b", "a b", "..%2f", "ü", "..", "-m", "m" * 101])
def test_a_model_can_stand_in_an_address(text: str) -> None:
    assert registration.model(FLASH) == FLASH
    with pytest.raises(InvalidInput) as refused:
        registration.model(text)
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
    assert registration.other_model(voice_id, model) == other


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
    assert registration.used_at(text, now=NOW) == NOW - ago


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
        registration.used_at(text, now=NOW)


def test_a_last_use_that_lies_ahead_is_told_as_the_instant_it_means() -> None:
    with pytest.raises(InvalidInput) as refused:
        registration.used_at("2026-05-02\x1b14:00:00+02:00", now=NOW)
    assert str(refused.value) == "2026-05-02T12:00:00Z lies ahead; a last use is in the past"


def facts(record: object) -> dict[str, Any]:
    return registration.facts(record, default_model=FLASH, now=NOW)


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
