"""``voicekeeper sandbox``: a stand-in of the gateway, to try voicekeeper without an account."""

import random
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from urllib.parse import urlsplit

import click

from voicekeeper.cli.options import read_by
from voicekeeper.core import duration
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.hosts import is_loopback
from voicekeeper.errors import InvalidInput
from voicekeeper.sandbox import Gateway, SandboxServer, serve


def _span(text: str) -> tuple[timedelta, timedelta]:
    """Read ``5s-30s``, or ``5s`` for both ends."""
    first, dash, last = text.partition("-")
    shortest = duration.parse(first)
    longest = duration.parse(last) if dash else shortest
    if longest < shortest:
        raise ValueError(f"must begin with the shorter time, unlike {text!r}")
    return shortest, longest


def _micros(text: str) -> int:
    """Read an amount in US dollars as a whole number of micros."""
    try:
        exact = Decimal(text) * 1_000_000
        micros = int(exact)
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError(f"must be US dollars such as 5.00, not {text!r}") from None
    if micros < 0 or micros != exact:
        raise ValueError(f"must be 0 or more, to six places, not {text!r}")
    return micros


def _loopback(text: str) -> str:
    if not is_loopback(text):
        raise ValueError(f"must be an address of this machine alone, not {text!r}")
    return text


def _local_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        complete = parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")
        complete = complete and parts.path in ("", "/") and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ValueError(f"must be such as http://127.0.0.1:8470, not {text!r}")
    return text


@click.command(context_settings={"show_default": True})
@click.option(
    "--host",
    metavar="ADDRESS",
    callback=read_by(_loopback),
    default="127.0.0.1",
    help="A loopback address.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    help="Where to listen; 0 takes a free port.",
)
@click.option(
    "--window",
    metavar="DURATION",
    callback=read_by(duration.parse),
    default="7d",
    help="Delete a voice that is not used for this long.",
)
@click.option(
    "--speech-time",
    metavar="LEAST-MOST",
    callback=read_by(_span),
    default="5s-30s",
    help="How long a speech task takes.",
)
@click.option(
    "--enrollment-time",
    metavar="LEAST-MOST",
    callback=read_by(_span),
    default="30s-180s",
    help="How long a clone or design task takes.",
)
@click.option(
    "--unknown-voice",
    type=click.Choice(["task", "http"]),
    default="task",
    help="Speech with a voice that is gone: a task that fails, or HTTP 400.",
)
@click.option(
    "--voice",
    "voices",
    metavar="VOICE_ID",
    multiple=True,
    help="A voice that exists from the start, last used now. Repeatable.",
)
@click.option(
    "--fault",
    "faults",
    metavar="FAULT",
    multiple=True,
    help="Something that goes wrong; see above. Repeatable.",
)
@click.option(
    "--error-style",
    type=click.Choice(["http", "body"]),
    default="http",
    help="Refuse by the HTTP status, or by the code in the JSON alone.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    help="Of all that is random: the same seed, the same latencies and faults.",
)
@click.option("--key", help="Take this key only; make one up, never a real one.")
@click.option(
    "--balance",
    "balance_micros",
    metavar="USD",
    callback=read_by(_micros),
    help="US dollars on the account; calls beyond are refused with 402.",
)
@click.option(
    "--callback-to",
    metavar="URL",
    callback=read_by(_local_url),
    help="Deliver webhooks there in place of the public host, such as http://127.0.0.1:8470.",
)
def sandbox_command(
    *,
    host: str,
    port: int,
    error_style: Literal["http", "body"],
    callback_to: str | None,
    seed: int,
    faults: tuple[str, ...],
    voices: tuple[str, ...],
    **of_gateway: Any,  # noqa: ANN401 - options by the names that `Gateway` has for them
) -> None:
    """Stand in for the gateway on this machine, until Ctrl-C.

    Nothing leaves the machine and nothing costs money. The base URL is
    printed on stdout, and how to use it on stderr.

    \b
    How a clone or design ends is told by how its prefix begins:
      reject    UNDEPLOYED, as by a review that fails
      slow      TASK_TIMEOUT, and OK five minutes later
      fail      failed, without a voice
      others    OK

    \b
    A FAULT is KIND[:retry-after=N][=RATE][@submit|@status|@balance]:
      500, 429, 402 ...     refused with that HTTP status
      body-500 ...          HTTP 200, and that code in the JSON
      drop, hang, html      no answer, or a page, and nothing is done
      lost                  done, and the connection breaks
      garbage, truncated    done, and the answer cannot be read
      task-UpstreamError    accepted, and the task fails with that code
    For example --fault 429:retry-after=2 --fault lost=0.1@submit

    \b
    While it runs:
      GET /books                what it did, and the truth about each voice
      POST /voices              {"voice_id": ..., "model": ...}: one more
      DELETE /voices/VOICE_ID   delete a voice for no reason
      PUT /faults               ["500=0.1@status"]: other faults from now
    """  # noqa: D301 - click's mark for lines to leave alone must be the character itself
    gateway = Gateway(random.Random(seed), **of_gateway)
    server = SandboxServer(
        gateway,
        faults=faults,
        seed=seed,
        host=host,
        port=port,
        error_style=error_style,
        callback_to=callback_to,
    )
    now = SystemClock().now()
    for voice_id in voices:
        try:
            gateway.import_voice(voice_id, "cosyvoice-3-flash", now)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
    serve(server, key_is_set=of_gateway["key"] is not None)
