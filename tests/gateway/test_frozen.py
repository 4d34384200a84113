"""A process that was frozen reads what came meanwhile, before it gives an enrollment up."""

import asyncio
import socket
import threading
import time

import pytest

from tests.gateway.support import ACCEPTED, DESIGN, MODEL, client, http
from voicekeeper.core.outcome import Accepted
from voicekeeper.errors import CallFailed


@pytest.mark.parametrize(("answers_after_s", "kind"), [(0.4, Accepted), (60, CallFailed)])
def test_the_answer_to_an_enrollment_that_came_while_the_process_was_frozen_counts(
    answers_after_s: float, kind: type
) -> None:
    over = threading.Event()

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            if not over.wait(answers_after_s):
                connection.sendall(http(ACCEPTED))

    async def main(port: int) -> object:
        async with client(f"http://127.0.0.1:{port}", timeout=0.5) as ours:
            call = asyncio.ensure_future(ours.submit(DESIGN, MODEL))
            await asyncio.sleep(0.2)  # it is sent
            time.sleep(2)  # noqa: ASYNC251 - frozen
            [ended] = await asyncio.gather(call, return_exceptions=True)
            return ended

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        ended = asyncio.run(main(server.getsockname()[1]))
        over.set()
        thread.join()
    assert isinstance(ended, kind)
