"""The errors: their exit codes and their sentences."""

import pytest

from voicekeeper import errors
from voicekeeper.errors import EXIT_CODES, ConfigError, Taken, VoicekeeperError


def test_every_error_ends_a_command_with_a_code_that_the_manual_tells() -> None:
    defined = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = {kind for kind in defined if issubclass(kind, VoicekeeperError)}
    assert not [kind for kind in defined if issubclass(kind, Exception) and kind not in kinds]
    assert {kind.exit_code for kind in kinds} == EXIT_CODES.keys() - {0, errors.INTERRUPTED}


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
