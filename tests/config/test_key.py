"""The API key: its three places, what is taken for it, and that nothing shows it."""

import os
from pathlib import Path

import pytest

from voicekeeper.config import Settings, find_api_key, load, of_service
from voicekeeper.config.settings import keys
from voicekeeper.errors import ConfigError

SECRET = "sk-live-0123456789"


def test_the_key_comes_from_its_file_else_the_credential_else_the_environment(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text(" from-file \n")
    (tmp_path / "apixo-api-key").write_text("from-credential\n")
    named = load(None, {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": str(tmp_path / "file")})
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "VOICEKEEPER_API_KEY": "from-variable"}
    assert find_api_key(named, environ).secret.get_secret_value() == "from-file"
    assert find_api_key(Settings(), environ).secret.get_secret_value() == "from-credential"
    (tmp_path / "apixo-api-key").unlink()
    assert find_api_key(Settings(), environ).secret.get_secret_value() == "from-variable"


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the services have their settings and keys."""
    folder = tmp_path / "etc"
    folder.mkdir()
    monkeypatch.setattr("voicekeeper.config.key.DEFAULT_PATH", folder / "config.toml")
    return folder


@pytest.mark.parametrize("variable", ["CREDENTIALS_DIRECTORY", "VOICEKEEPER_API_KEY"])
def test_the_key_of_a_service_is_its_own_whatever_stands_in_the_environment(
    etc: Path, variable: str
) -> None:
    (etc / "apixo-api-key").write_text("the-first-account")
    (etc / "work.apixo-api-key").write_text("the-second-account")
    environ = {variable: str(etc)}
    for settings_file, key in {
        "config.toml": "the-first-account",
        "work.toml": "the-second-account",
    }.items():
        found = find_api_key(Settings(), environ, service=of_service(etc / settings_file))
        assert found.secret.get_secret_value() == key
    assert of_service(etc.parent / "config.toml") is None


def test_a_service_without_a_key_is_not_given_another_accounts(etc: Path) -> None:
    (etc / "apixo-api-key").write_text("the-first-account")
    with pytest.raises(ConfigError) as caught:
        find_api_key(
            Settings(), {"CREDENTIALS_DIRECTORY": str(etc)}, service=of_service(etc / "work.toml")
        )
    words = f"the service has it from {etc}/work.apixo-api-key, which does not exist"
    assert words in str(caught.value)


def test_a_file_of_the_key_in_the_settings_comes_before_what_systemd_hands_over(etc: Path) -> None:
    (etc / "apixo-api-key").write_text("the-credential")
    (etc / "file").write_text("the-file")
    named = load(None, {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": str(etc / "file")})
    found = find_api_key(named, {}, service=of_service(etc / "config.toml"))
    assert found.secret.get_secret_value() == "the-file"


def test_a_missing_key_names_the_three_places() -> None:
    with pytest.raises(ConfigError) as caught:
        find_api_key(Settings(), {})
    for place in ("upstream.api_key_file", "$CREDENTIALS_DIRECTORY/apixo-api-key"):
        assert place in str(caught.value)
    assert "$VOICEKEEPER_API_KEY" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (f"Bearer {SECRET}".encode(), "holds white space or other characters"),
        (f"{SECRET}\n{SECRET}".encode(), "holds white space or other characters"),
        (f"{SECRET}\xff".encode("latin-1"), "holds characters that no API key has"),
        (SECRET.encode() * 1_000, "is too long to be an API key"),
        (b"x", "has fewer than 6 characters, too few for an API key"),
        (b'VOICEKEEPER_API_KEY="x"', "has fewer than 6 characters"),
        (b"VOICEKEEPER_API_KEY=\n", "is empty"),
        (f'"{SECRET}'.encode(), "begins or ends with a quote that has no other half"),
        (f"{SECRET}'".encode(), "begins or ends with a quote that has no other half"),
    ],
)
@pytest.mark.parametrize("place", ["upstream.api_key_file", "$CREDENTIALS_DIRECTORY/apixo-api-key"])
def test_a_file_that_holds_no_key_is_named_and_not_shown(
    tmp_path: Path, content: bytes, problem: str, place: str
) -> None:
    key_file = tmp_path / "apixo-api-key"
    key_file.write_bytes(content)
    settings = Settings()
    if place == "upstream.api_key_file":
        settings = load(None, {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": str(key_file)})
    with pytest.raises(ConfigError) as caught:
        find_api_key(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    (told,) = caught.value.problems
    assert told.startswith(f"{place}: {problem}")
    assert SECRET not in told


@pytest.mark.parametrize(
    "content",
    [
        SECRET,
        f"\ufeff{SECRET}\r\n",
        f'"{SECRET}"\n',
        f"VOICEKEEPER_API_KEY={SECRET}\n",
        f'export APIXO_API_KEY="{SECRET}"\r\n',
        f"api_key = '{SECRET}'",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "variable"])
def test_a_key_is_taken_as_it_was_meant(tmp_path: Path, content: str, encoding: str) -> None:
    if encoding == "variable":
        environ = {"VOICEKEEPER_API_KEY": content.removeprefix("\ufeff")}
        assert find_api_key(Settings(), environ).secret.get_secret_value() == SECRET
        return
    (tmp_path / "apixo-api-key").write_bytes(content.removeprefix("\ufeff").encode(encoding))
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_api_key(Settings(), environ).secret.get_secret_value() == SECRET


@pytest.mark.parametrize("key", [f"{SECRET}==", "sk-a\"b'c", "sk-abc=def", "abcdef===="])
def test_a_key_that_only_looks_as_if_it_had_more_around_it_is_left_as_it_is(key: str) -> None:
    environ = {"VOICEKEEPER_API_KEY": key}
    assert find_api_key(Settings(), environ).secret.get_secret_value() == key


@pytest.mark.parametrize("text", ["", "  ", f"{SECRET}\t{SECRET}", f"{SECRET}é", "k\udce9y"])
def test_a_variable_that_holds_no_key_is_named_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\$VOICEKEEPER_API_KEY: (is empty|holds)") as caught:
        find_api_key(Settings(), {"VOICEKEEPER_API_KEY": text})
    assert SECRET not in str(caught.value)


def test_a_key_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    for path, problem in (
        (tmp_path / "missing", "names a file that does not exist"),
        (tmp_path, "names a directory"),
        (tmp_path / ("x" * 300), "names a file that cannot be read"),
    ):
        settings = load(None, {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": str(path)})
        with pytest.raises(ConfigError, match=rf"upstream\.api_key_file: {problem}"):
            find_api_key(settings, {"VOICEKEEPER_API_KEY": SECRET})


def test_a_key_pasted_as_the_name_of_its_file_is_not_shown() -> None:
    settings = load(None, {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": SECRET})
    with pytest.raises(ConfigError) as caught:
        find_api_key(settings, {})
    assert SECRET not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_key_file_of_another_user_is_told(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(SECRET)
    key_file.chmod(0)
    settings = load(None, {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": str(key_file)})
    with pytest.raises(ConfigError, match="cannot be read: permission denied"):
        find_api_key(settings, {})


def test_the_key_has_no_place_in_the_settings_and_hides_itself() -> None:
    key = find_api_key(Settings(), {"VOICEKEEPER_API_KEY": SECRET}).secret
    assert SECRET not in f"{key!r} {key} {Settings()!r}"
    assert not any("api_key" in names for names in keys().values())
