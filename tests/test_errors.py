"""The errors: their exit codes and their sentences."""

import pytest

from voicekeeper import errors
from voicekeeper.errors import (
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

EXIT_CODES = {
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


@pytest.mark.parametrize(("kind", "code"), EXIT_CODES.items())
def test_an_error_ends_the_command_with_its_own_code(
    kind: type[VoicekeeperError], code: int
) -> None:
    assert kind.exit_code == code


def test_every_error_stands_in_the_table_above_and_in_the_tree_of_the_docstring() -> None:
    tree = errors.__doc__ or ""
    raised = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)}
    assert raised == set(EXIT_CODES)
    for kind, code in EXIT_CODES.items():
        line = next(line for line in tree.splitlines() if f"{kind.__name__} " in line)
        assert line.split(f"{kind.__name__} ")[1].split()[0] == str(code)


@pytest.mark.parametrize(
    ("problems", "text"),
    [
        (
            ["retry.cap: must be at least the base (30s), not 1s"],
            (
                "1 problem in /etc/voicekeeper/config.toml:\n"
                "  retry.cap: must be at least the base (30s), not 1s"
            ),
        ),
        (
            ["log.level: must be a word", "retry.base: must be longer than 0s"],
            (
                "2 problems in /etc/voicekeeper/config.toml:\n"
                "  log.level: must be a word\n"
                "  retry.base: must be longer than 0s"
            ),
        ),
    ],
)
def test_a_config_error_lists_every_problem_on_a_line_of_its_own(
    problems: list[str], text: str
) -> None:
    error = ConfigError(problems, "/etc/voicekeeper/config.toml")
    assert str(error) == text
    assert error.problems == tuple(problems)


def test_a_config_error_without_a_file_names_the_configuration() -> None:
    assert str(ConfigError(["a: b"])).startswith("1 problem in the configuration:")


def test_names_that_are_taken_are_told_up_to_five_and_kept_in_full() -> None:
    conflicts = [(place, f"the name 'v{place}' is taken") for place in range(7)]
    error = Taken(conflicts)
    assert error.conflicts == tuple(conflicts)
    assert str(error).startswith("the name 'v0' is taken; the name 'v1' is taken; ")
    assert str(error).count("is taken") == 5
    assert isinstance(error, NotAllowed)


def test_a_failed_call_carries_what_the_caller_must_decide() -> None:
    error = CallFailed("the gateway answered 504", code=504, retry_after=7.0, ambiguous=True)
    assert str(error) == "the gateway answered 504"
    assert (error.code, error.retry_after, error.ambiguous) == (504, 7.0, True)


def test_a_failed_call_is_not_ambiguous_unless_it_says_so() -> None:
    error = CallFailed("could not reach the gateway")
    assert (error.code, error.retry_after, error.ambiguous) == (None, None, False)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("anna", "'anna'"),
        ("a\x1b[31m\n", r"'a\x1b[31m\n'"),
        ("\ud800", r"'\ud800'"),
        ("A" * 5_000, f"'{'A' * 47}...{'A' * 48}'"),
        (7, "7"),
        (10**4000, f"1{'0' * 47}...{'0' * 49}"),
    ],
)
def test_a_value_stands_in_a_sentence_escaped_and_short(value: str | float, written: str) -> None:
    assert errors.quoted(value) == written
