"""The API key: its three places, what is taken for it, and that nothing shows it."""

import os
from pathlib import Path

import pytest

from voicekeeper.config import Settings, find_api_key, load, of_service
from voicekeeper.config.settings import keys
from voicekeeper.errors import ConfigError

SECRET = "sk-live-0123456789"


def found(environ: dict[str, str], *, file: object = None, service: Path | None = None) -> str:
    """Return the key that is found; ``file`` is what upstream.api_key_file names."""
    named = {} if file is None else {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": str(file)}
    return find_api_key(load(None, named), environ, service=service).secret.get_secret_value()


def refusal(environ: dict[str, str], *, file: object = None, service: Path | None = None) -> str:
    """Return why no key is found, in words that do not hold it."""
    with pytest.raises(ConfigError) as caught:
        found(environ, file=file, service=service)
    (told,) = caught.value.problems
    assert SECRET not in told
    return told


def test_the_key_comes_from_its_file_else_the_credential_else_the_environment(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text(" from-file \n")
    (tmp_path / "apixo-api-key").write_text("from-credential\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "VOICEKEEPER_API_KEY": "from-variable"}
    assert found(environ, file=tmp_path / "file") == "from-file"
    assert found(environ) == "from-credential"
    (tmp_path / "apixo-api-key").unlink()
    assert found(environ) == "from-variable"


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the services have their settings and keys."""
    folder = tmp_path / "etc"
    folder.mkdir()
    monkeypatch.setattr("voicekeeper.config.key.DEFAULT_PATH", folder / "config.toml")
    (folder / "apixo-api-key").write_text("the-first-account")
    return folder


@pytest.mark.parametrize("variable", ["CREDENTIALS_DIRECTORY", "VOICEKEEPER_API_KEY"])
def test_the_key_of_a_service_is_its_own_whatever_stands_in_the_environment(
    etc: Path, variable: str
) -> None:
    environ = {variable: str(etc)}
    work = of_service(etc / "work.toml")
    (etc / "work.apixo-api-key").write_text("the-second-account")
    (etc / "file").write_text("the-file")
    assert found(environ, service=of_service(etc / "config.toml")) == "the-first-account"
    assert found(environ, service=work) == "the-second-account"
    assert found(environ, service=work, file=etc / "file") == "the-file"
    assert of_service(etc.parent / "config.toml") is None


def test_a_service_without_a_key_is_not_given_another_accounts(etc: Path) -> None:
    told = refusal({"CREDENTIALS_DIRECTORY": str(etc)}, service=of_service(etc / "work.toml"))
    assert f"the service has it from {etc}/work.apixo-api-key, which does not exist" in told


def test_a_file_of_the_key_in_the_settings_comes_before_what_systemd_hands_over(etc: Path) -> None:
    (etc / "file").write_text("the-file")
    assert found({}, file=etc / "file", service=of_service(etc / "config.toml")) == "the-file"


def test_a_missing_key_names_the_three_places() -> None:
    told = refusal({})
    for place in ("upstream.api_key_file", "$CREDENTIALS_DIRECTORY/apixo-api-key"):
        assert place in told
    assert "$VOICEKEEPER_API_KEY" in told


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (f"Bearer {SECRET}".encode(), "holds white space or other characters"),
        (f"{SECRET}\n{SECRET}".encode(), "holds white space or other characters"),
        (f"{SECRET}\xff".encode("latin-1"), "holds characters that no API key has"),
        (SECRET.encode() * 1_000, "is too long to be an API key"),
        (b"x", "has fewer than 6 characters, too few for an API key"),
        (b'VOICEKEEPER_API_KEY="x"', "has fewer than 6 characters, too few for an API key"),
        (b"VOICEKEEPER_API_KEY=\n", "is empty"),
        (f'"{SECRET}'.encode(), "begins or ends with a quote that has no other half"),
        (f"{SECRET}'".encode(), "begins or ends with a quote that has no other half"),
    ],
)
def test_what_holds_no_key_is_named_and_not_shown(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    key_file = tmp_path / "apixo-api-key"
    key_file.write_bytes(content)
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert refusal({}, file=key_file).startswith(f"upstream.api_key_file: {problem}")
    place = "$CREDENTIALS_DIRECTORY/apixo-api-key"
    assert refusal(given).startswith(f"{place}: {problem}")
    told = refusal({"VOICEKEEPER_API_KEY": os.fsdecode(content)})
    assert told.startswith("$VOICEKEEPER_API_KEY: ")


@pytest.mark.parametrize(
    "content",
    [
        SECRET,
        f"{SECRET}\r\n",
        f'"{SECRET}"\n',
        f"VOICEKEEPER_API_KEY={SECRET}\n",
        f'export APIXO_API_KEY="{SECRET}"\r\n',
        f"api_key = '{SECRET}'",
    ],
)
def test_a_key_is_taken_as_it_was_meant(tmp_path: Path, content: str) -> None:
    assert found({"VOICEKEEPER_API_KEY": content}) == SECRET
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "apixo-api-key").write_bytes(content.encode(encoding))
        assert found({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == SECRET


def test_a_key_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    for path, problem in (
        (tmp_path / "missing", "names a file that does not exist"),
        (tmp_path, "names a directory"),
        (tmp_path / ("x" * 300), "names a file that cannot be read"),
    ):
        told = refusal({"VOICEKEEPER_API_KEY": SECRET}, file=path)
        assert told.startswith(f"upstream.api_key_file: {problem}")


def test_a_key_pasted_as_the_name_of_its_file_is_not_shown() -> None:
    told = refusal({}, file=SECRET)  # which does not hold it
    assert told.startswith("upstream.api_key_file: names a file that does not exist")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_key_file_of_another_user_is_told(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(SECRET)
    key_file.chmod(0)
    assert "cannot be read: permission denied" in refusal({}, file=key_file)


@pytest.mark.parametrize("text", ["", "  ", f"{SECRET}\t{SECRET}", f"{SECRET}é", "k\udce9y"])
def test_a_variable_that_holds_no_key_is_named_and_not_shown(text: str) -> None:
    told = refusal({"VOICEKEEPER_API_KEY": text})
    assert told.startswith(("$VOICEKEEPER_API_KEY: is empty", "$VOICEKEEPER_API_KEY: holds"))


@pytest.mark.parametrize("key", [f"{SECRET}==", "sk-a\"b'c", "sk-abc=def", "abcdef===="])
def test_a_key_that_only_looks_as_if_it_had_more_around_it_is_left_as_it_is(key: str) -> None:
    assert found({"VOICEKEEPER_API_KEY": key}) == key


def test_the_key_has_no_place_in_the_settings_and_hides_itself() -> None:
    key = find_api_key(Settings(), {"VOICEKEEPER_API_KEY": SECRET}).secret
    assert SECRET not in f"{key!r} {key} {Settings()!r}"
    assert not any("api_key" in names for names in keys().values())
