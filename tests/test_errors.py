"""The errors: their exit codes and their sentences."""

import pytest

from voicekeeper import errors
from voicekeeper.errors import (
    EXIT_CODES,
    BackupFailed,
    CallFailed,
    ConfigError,
    DatabaseAway,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseHeld,
    DatabaseReplaced,
    DatabaseUnusable,
    FetchFailed,
    InvalidInput,
    KeyRefused,
    NotActive,
    NotAllowed,
    NotFound,
    NotSent,
    Taken,
    VoicekeeperError,
    Withdrawn,
)

CODES = {
    VoicekeeperError: 1,
    InvalidInput: 2,
    NotFound: 1,
    NotAllowed: 1,
    Taken: 1,
    DatabaseHeld: 75,
    NotActive: 75,
    DatabaseReplaced: 75,
    DatabaseAway: 75,
    DatabaseFull: 1,
    BackupFailed: 1,
    FetchFailed: 1,
    KeyRefused: 77,
    ConfigError: 78,
    DatabaseUnusable: 78,
    DatabaseDamaged: 78,
    NotSent: 1,
    Withdrawn: 1,
    CallFailed: 1,
}
"""The codes of sysexits.h where there is one that fits; scripts depend on them."""


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_an_error_ends_the_command_with_its_own_code(
    kind: type[VoicekeeperError], code: int
) -> None:
    assert kind.exit_code == code


def test_every_error_stands_in_the_table_above() -> None:
    raised = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)}
    assert raised == set(CODES)


def test_every_error_ends_a_command_with_a_code_that_the_manual_tells() -> None:
    assert set(CODES.values()) == EXIT_CODES.keys() - {0, errors.INTERRUPTED}


def test_a_config_error_lists_every_problem_on_a_line_of_its_own() -> None:
    error = ConfigError(["log.level: must be a word", "retry.base: must be longer"], "config.toml")
    assert str(error) == (
        "2 problems in config.toml:\n  log.level: must be a word\n  retry.base: must be longer"
    )
    assert str(ConfigError(["a: b"])) == "1 problem in the configuration:\n  a: b"


def test_names_that_are_taken_are_told_up_to_five_and_kept_in_full() -> None:
    conflicts = [(place, f"the name 'v{place}' is taken") for place in range(7)]
    error = Taken(conflicts)
    assert error.conflicts == tuple(conflicts)
    assert str(error).startswith("the name 'v0' is taken; the name 'v1' is taken; ")
    assert str(error).count("is taken") == 5


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a\x1b[31m\n", r"'a\x1b[31m\n'"),
        ("\ud800", r"'\ud800'"),
        ("A" * 5_000, f"'{'A' * 47}...{'A' * 48}'"),
        (10**4000, f"1{'0' * 47}...{'0' * 49}"),
    ],
)
def test_a_value_stands_in_a_sentence_escaped_and_short(value: str | float, written: str) -> None:
    assert errors.quoted(value) == written
