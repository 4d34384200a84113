"""The audio that is kept of voices: fetched from safe places only, whole, bounded, in no way."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.command import CommandLine
from tests.daemon_support import Host, fast_gateway
from tests.support import DAY, HOUR, MINUTE, Life, imported, offload, wanted
from voicekeeper import archive as module
from voicekeeper.archive import Archive, directory_of
from voicekeeper.errors import FetchFailed
from voicekeeper.models import Status
from voicekeeper.sandbox import SandboxServer
from voicekeeper.store.recordings import Recordings
from voicekeeper.upstream import audio
from voicekeeper.upstream.audio import AudioFetcher

WAVE = b"RIFF....WAVE" * 1000
PREVIEW = "https://file.apixo.ai/preview.wav"

# from where it is fetched


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve these answers on loopback, one a connection; give the address and what was asked."""
    left, asked = list(answers), list[bytes]()

    served = set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(left.pop(0))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        await asyncio.gather(*(task for task in served if task is not None))


def answer(body: bytes = WAVE, status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Type": "audio/wav", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def to(location: str) -> bytes:
    return answer(b"", "302 Found", Location=location, Set_Cookie="a=b")


def fetched(
    *answers: bytes, path: str = "/a.wav?token=secret", most: int = 50_000
) -> tuple[bytes, Sequence[bytes]]:
    async def main() -> tuple[bytes, Sequence[bytes]]:
        async with serving(*answers) as (base, asked):
            got = bytearray()
            await AudioFetcher("127.0.0.1").fetch(base + path, got.extend, most=most)
            return bytes(got), asked

    return asyncio.run(main())


def refusal(*answers: bytes, **options: Any) -> FetchFailed:  # noqa: ANN401
    with pytest.raises(FetchFailed) as failed:
        fetched(*answers, **options)
    assert "secret" not in str(failed.value)
    return failed.value


def test_audio_is_fetched_without_key_or_cookie() -> None:
    got, asked = fetched(to("/b.wav"), answer())
    assert got == WAVE
    assert [line.split(b"\r\n")[0] for line in asked] == [
        b"GET /a.wav?token=secret HTTP/1.1",
        b"GET /b.wav HTTP/1.1",
    ]
    said = b"".join(asked).lower()
    assert b"authorization" not in said
    assert b"cookie" not in said


def test_no_machine_but_a_public_one_is_asked_for_anything() -> None:
    async def main() -> None:
        async with serving(answer()) as (base, asked):
            for url in (base, base.replace("127.0.0.1", "localhost")):
                with pytest.raises(FetchFailed, match="its host is no public one") as failed:
                    await AudioFetcher("api.apixo.ai").fetch(url, bytes, most=10)
                assert failed.value.permanent
            await asyncio.sleep(0)
            assert asked == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "neither http nor https"),
        ("ftp://example.com/a.wav", "neither http nor https"),
        ("/a.wav", "neither http nor https"),
        ("http://user:secret@example.com/a.wav", "neither http nor https"),
        ("http://example.com:port/", "cannot be read"),
        ("http://127.0.0.1:99999/", "cannot be read"),
        ("http://127.0.0.1:0/", "cannot be read"),
        ("http://example.com/\n", "cannot be read"),
        ("", "neither http nor https"),
    ],
)
def test_a_url_that_leads_elsewhere_is_not_followed(url: str, words: str) -> None:
    with pytest.raises(FetchFailed, match=words) as failed:
        asyncio.run(AudioFetcher("api.apixo.ai").fetch(url, bytes, most=10))
    assert failed.value.permanent
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize(
    ("answers", "words", "permanent"),
    [
        ([to("/again")] * 4, "leads on more than 3 times", True),
        ([answer(b"", "404 Not Found")], "answered 404", True),
        ([answer(b"", "403 Forbidden")], "answered 403", True),
        ([answer(b"", "429 Too Many")], "answered 429", False),
        ([answer(b"", "503 Busy")], "answered 503", False),
        ([answer(Content_Type="text/html; charset=utf-8")], "no audio but text/html", True),
        ([answer(b"x" * 60_000)], "larger than 0 MB", True),
        ([answer(b"")], "sent nothing", False),
        ([answer(b"half", Content_Length="9")], "is not reached (RemoteProtocolError)", False),
        ([b"what?\r\n\r\n"], "is not reached", False),
        ([b""], "is not reached", False),
    ],
)
def test_what_cannot_be_had_is_told_in_one_sentence(
    answers: Sequence[bytes], words: str, *, permanent: bool
) -> None:
    failed = refusal(*answers)
    assert words in str(failed)
    assert failed.permanent == permanent


def test_a_host_that_drips_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "WITHIN_S", 0.3)

    async def main() -> None:
        ended = asyncio.Event()

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(b"", Content_Length="1000"))
            gone = asyncio.create_task(reader.read(1))
            with suppress(ConnectionError):
                while not gone.done():
                    writer.write(b".")
                    await asyncio.wait([gone], timeout=0.05)
                writer.close()
                await writer.wait_closed()
            ended.set()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.wav"
            with pytest.raises(FetchFailed, match="it took longer than"):
                await AudioFetcher("localhost").fetch(url, bytes, most=10_000)
            await ended.wait()

    asyncio.run(main())


# what is kept


class Source:
    """Where audio comes from, without a wire."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: FetchFailed | None = None

    async def fetch(self, url: str, sink: Callable[[bytes], object], *, most: int) -> None:
        assert most >= len(WAVE)
        self.asked.append(url)
        sink(WAVE)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    """Return a life at a gateway whose previews lead somewhere."""
    real = json.dumps

    def dumps(value: Any, **options: Any) -> str:  # noqa: ANN401
        return real({"resultUrls": [PREVIEW]} if "resultUrls" in value else value, **options)

    monkeypatch.setattr("voicekeeper.sandbox.records.json.dumps", dumps)
    return Life(tmp_path)


def archive(life: Life, source: Source) -> Archive:
    return Archive(
        directory_of(life.database.path),
        recordings=Recordings(life.database),
        fetcher=source,
        clock=life.clock,
        policy=life.policy,
        log=life.log,
        offload=offload,
    )


def look(kept: Archive) -> None:
    async def main() -> None:
        await kept.begin()
        await kept.look()

    asyncio.run(main())


def files(life: Life) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory_of(life.database.path).iterdir()}


def test_the_preview_of_a_new_voice_is_kept_in_a_file(life: Life, source: Source) -> None:
    life.register(wanted("made"), imported("anna"))
    life.live(HOUR)
    kept = archive(life, source)
    look(kept)
    look(kept)
    assert source.asked == [PREVIEW]
    assert files(life) == {"1-made-preview.wav": WAVE}
    directory = directory_of(life.database.path)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "1-made-preview.wav").stat().st_mode & 0o777 == 0o600
    (told,) = life.log.of("audio.archived")
    assert (told["name"], told["kind"], told["file"]) == ("made", "preview", "1-made-preview.wav")
    cli = CommandLine(life.database.path, clock=life.clock)
    assert f"{directory}/1-made-preview.wav" in cli("show", "made").out
    (shown,) = cli("show", "made", "--json").json["audio"]
    assert shown["file"] == f"{directory}/1-made-preview.wav"
    assert "audio.archived" in cli("history", "made").out
    assert cli("remove", "made").code == 0
    assert files(life) == {}


def test_the_source_is_kept_where_the_settings_want_it_also_of_older_clones(
    tmp_path: Path, life: Life, source: Source
) -> None:
    life.register(wanted("made"))
    life.live(HOUR)
    look(archive(life, source))
    assert source.asked == [PREVIEW]
    life.database.close()
    life = Life(tmp_path, gateway=life.gateway, archive_sources=True)
    life.register(wanted("later", prefix="later", audio_url="https://example.com/b.mp3?x=1.wav"))
    life.live(2 * HOUR)
    look(archive(life, source))
    look(archive(life, source))
    sources = ["https://example.com/b.mp3?x=1.wav", "https://example.com/a.wav"]
    assert sorted(source.asked[1:]) == sorted([PREVIEW, *sources])
    assert set(files(life)) == {
        *("1-made-preview.wav", "2-later-preview.wav"),
        *("3-later-source.mp3", "4-made-source.wav"),
    }


def test_a_failure_is_tried_again_for_a_day_and_told_once(life: Life, source: Source) -> None:
    life.register(wanted("made"))
    life.live(HOUR)
    source.failure = FetchFailed("its host is not reached (ConnectError)")
    kept = archive(life, source)
    for _ in range(30 * 12):
        life.clock.advance(5 * MINUTE)
        look(kept)
    assert 20 < len(source.asked) < 40
    assert files(life) == {}
    assert len(life.log.of("audio.failed")) == 1
    shown = CommandLine(life.database.path, clock=life.clock)("show", "made").out
    assert "not kept: its host is not reached" in shown


def test_whatever_one_piece_fails_of_the_next_is_fetched(life: Life) -> None:
    class Failing(Source):
        async def fetch(self, url: str, sink: Callable[[bytes], object], *, most: int) -> None:
            await super().fetch(url, sink, most=most)
            if len(self.asked) == 1:
                raise ExceptionGroup("as an HTTP stack raises it", [OverflowError("port")])

    failing = Failing()
    life.register(wanted("anna"), wanted("bert"))
    life.live(HOUR)
    look(archive(life, failing))
    assert (len(failing.asked), len(files(life))) == (2, 1)


def test_what_never_can_be_had_is_tried_once(life: Life, source: Source) -> None:
    life.register(wanted("made"))
    life.live(HOUR)
    source.failure = FetchFailed("file.apixo.ai answered 404", permanent=True)
    for _ in range(3):
        look(archive(life, source))
        life.clock.advance(DAY)
    assert len(source.asked) == 1
    (told,) = life.log.of("audio.failed")
    assert told["error"] == "file.apixo.ai answered 404"


def test_it_fills_neither_the_disk_nor_more_than_its_share(
    life: Life, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.register(wanted("made"))
    life.live(HOUR)
    room = shutil.disk_usage(life.database.path.parent)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: room._replace(free=100_000_000))
        look(archive(life, source))
    life.clock.advance(HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(module, "MOST_IN_ALL", 1_000_000)
        look(archive(life, source))
    assert (source.asked, files(life)) == ([], {})
    life.clock.advance(HOUR)
    look(archive(life, source))
    assert len(files(life)) == 1


def test_what_a_kill_left_unfinished_is_removed_and_fetched_again(
    life: Life, source: Source
) -> None:
    life.register(wanted("made"))
    life.live(HOUR)
    directory = directory_of(life.database.path)
    directory.mkdir()
    (directory / ".half").write_bytes(b"RIFF")
    (directory / "1-made-preview.wav").write_bytes(b"not noted yet")
    (directory / "mine.txt").write_bytes(b"of a person")
    look(archive(life, source))
    assert files(life) == {"1-made-preview.wav": WAVE, "mine.txt": b"of a person"}


def test_a_name_of_any_script_makes_a_file_that_stays_in_its_place(
    life: Life, source: Source
) -> None:
    life.register(wanted("../../ätsch/" + "名" * 40))
    life.live(HOUR)
    look(archive(life, source))
    (name,) = files(life)
    assert name == "1-.._.._tsch_-preview.wav"


def test_a_voice_removed_meanwhile_leaves_nothing(life: Life) -> None:
    life.register(wanted("made"))
    life.live(HOUR)

    class Slow(Source):
        async def fetch(self, url: str, sink: Callable[[bytes], object], *, most: int) -> None:
            life.registry.remove("made", now=life.clock.now())
            await super().fetch(url, sink, most=most)

    look(archive(life, Slow()))
    assert life.log.of("audio.archived") == []
    assert files(life) == {}


def test_the_sandboxs_previews_lead_nowhere_and_are_not_asked_for(
    tmp_path: Path, source: Source
) -> None:
    life = Life(tmp_path)
    life.register(wanted("made"))
    life.live(HOUR)
    look(archive(life, source))
    assert (life.voice("made").status, source.asked) == (Status.OK, [])


def test_the_daemon_keeps_the_recording_of_a_clone_while_it_keeps_voices(tmp_path: Path) -> None:
    with SandboxServer(fast_gateway()) as server:
        server.import_voice("id-anna")
        host = Host(tmp_path, server.base_url, RECOVERY__ARCHIVE_SOURCES="true")
        # The sandbox has no audio: what it answers is JSON, and none is kept.
        host.register(imported("anna"), wanted("made", audio_url=f"{server.url}/a.wav"))
        with host.run() as daemon:
            told = daemon.await_event("audio.failed", name="made")
            daemon.await_event("keepalive.succeeded", name="anna", count=2)
            assert daemon.end(signal.SIGTERM) == 0
    assert told["kind"] == "source"
    assert "127.0.0.1" in told["error"]
    assert list(directory_of(host.path).iterdir()) == []
