"""The written form of a fault, and how often one strikes."""

import random

import pytest

from voicekeeper.errors import InvalidInput
from voicekeeper.sandbox.faults import Call, Fault, Faults, parse

CALLS: tuple[Call, ...] = ("submit", "status", "balance")


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("500", Fault("500", "500", code=500)),
        (" 402 ", Fault("402", "402", code=402)),
        ("429:retry-after=2", Fault("429:retry-after=2", "429", code=429, retry_after=2)),
        (
            "503:retry-after-date=60=0.5@status",
            Fault(
                "503:retry-after-date=60=0.5@status",
                "503",
                code=503,
                retry_after=60,
                as_date=True,
                rate=0.5,
                call="status",
            ),
        ),
        ("body-500=1", Fault("body-500=1", "body-500", code=500, in_body=True)),
        ("lost=0.1@submit", Fault("lost=0.1@submit", "lost", rate=0.1, call="submit")),
        ("hang=0", Fault("hang=0", "hang", rate=0.0)),
        (
            "task-UpstreamError=0.05",
            Fault(
                "task-UpstreamError=0.05",
                "task-UpstreamError",
                doom="UpstreamError",
                rate=0.05,
                call="submit",
            ),
        ),
    ],
)
def test_a_fault_is_read_from_its_written_form(spec: str, fault: Fault) -> None:
    assert parse(spec) == fault


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "boom",
        "200",
        "600",
        "body-200",
        "500=1.5",
        "500=-1",
        "500=",
        "500@poll",
        "drop:retry-after=2",
        "429:retry-after=soon",
        "task-",
        "task-UpstreamError@status",
        "500 500",
    ],
)
def test_what_is_no_fault_is_refused_with_what_was_written(spec: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(spec)
    assert spec in str(refused.value) or "not 1.5" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "spares"),
    [("drop", False), ("hang", False), ("html", False), ("500", False), ("body-500", False)]
    + [(kind, True) for kind in ("lost", "garbage", "truncated", "task-UpstreamError")],
)
def test_it_is_known_of_every_fault_whether_the_work_was_done(kind: str, *, spares: bool) -> None:
    assert parse(kind).spares_the_work is spares


def test_a_fault_strikes_as_often_as_its_rate_says() -> None:
    faults = Faults(["500=0.25"], random.Random(1))
    struck = sum(faults.choose("status") is not None for _ in range(4000))
    assert 0.2 < struck / 4000 < 0.3
    assert faults.struck == {"500=0.25": struck}


def test_a_fault_strikes_the_calls_it_names_or_all() -> None:
    assert [_kind("500@submit", call) for call in CALLS] == ["500", None, None]
    assert [_kind("500@status", call) for call in CALLS] == [None, "500", None]
    assert [_kind("500", call) for call in CALLS] == ["500", "500", "500"]
    assert [_kind("500=0", call) for call in CALLS] == [None, None, None]


def test_of_several_faults_the_first_that_strikes_is_taken() -> None:
    faults = Faults(["drop=0", "500@status", "402"], random.Random(0))
    assert [getattr(faults.choose(call), "kind", None) for call in CALLS] == ["402", "500", "402"]


def test_the_same_seed_strikes_the_same_calls() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = Faults(["500=0.5"], random.Random(seed))
        return [faults.choose("status") is not None for _ in range(64)]

    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)


def test_faults_are_replaced_all_or_none() -> None:
    faults = Faults(["500"], random.Random(0))
    with pytest.raises(InvalidInput):
        faults.replace(["402", "boom"])
    fault = faults.choose("status")
    assert fault is not None
    assert fault.kind == "500"
    faults.replace([])
    assert faults.choose("status") is None


def _kind(spec: str, call: Call) -> str | None:
    fault = Faults([spec], random.Random(0)).choose(call)
    return None if fault is None else fault.kind
