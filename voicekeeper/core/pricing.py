"""What a call costs, by the page's prices (section *Billing*).

Money is counted in micros, millionths of a US dollar: one character of speech is exactly 10.
It is an integer everywhere inside; only what is printed, and JSON, writes dollars.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from voicekeeper.core.enums import Kind
from voicekeeper.core.requests import Clone, Design, Request, Speech

CLONE_MICROS = 2_000
DESIGN_MICROS = 30_000
CHARACTER_MICROS = 10


@dataclass(frozen=True, slots=True)
class Spent:
    """What tasks should have cost, in millionths of a US dollar.

    Attributes:
        certain: of the tasks that the gateway accepted.
        possible: of the calls whose answer was lost, or is still to come: they may have been
            charged, and nobody knows.
    """

    certain: int = 0
    possible: int = 0

    @property
    def at_most(self) -> int:
        """All of it, if whatever may have been charged was."""
        return self.certain + self.possible

    def __str__(self) -> str:
        possibly = f", and possibly {usd(self.possible)} more" if self.possible else ""
        return usd(self.certain) + possibly


@dataclass(frozen=True, slots=True)
class Totals:
    """What the tasks of all voices, removed ones too, should have cost.

    Attributes:
        today: on this UTC day.
        last_30_days: on this UTC day and the 29 before it.
        ever: since the registry was made.
    """

    today: Spent = Spent()
    last_30_days: Spent = Spent()
    ever: Spent = Spent()


@lru_cache(maxsize=16)  # of the same prompt at each keepalive
def billed_characters(text: str) -> int:
    """Count a Han character as two and any other as one.

    That is how the model's maker bills; whether the gateway does so too is not known, so what
    follows from it is an estimate.
    """
    return sum(2 if unicodedata.name(c, "").startswith("CJK UNIFIED") else 1 for c in text)


def cost_micros(request: Request) -> int:
    """Return the price of a request in millionths of a US dollar."""
    match request:
        case Clone():
            return price(Kind.CLONE)
        case Design():
            return price(Kind.DESIGN)
        case Speech():
            return price(Kind.KEEPALIVE, request.prompt)


def price(kind: Kind, prompt: str = "") -> int:
    """Return what a task of a kind costs, in millionths of a US dollar.

    Args:
        kind: of the task.
        prompt: what it says, if it is speech.
    """
    match kind:
        case Kind.CLONE:
            return CLONE_MICROS
        case Kind.DESIGN:
            return DESIGN_MICROS
        case Kind.KEEPALIVE | Kind.CONTROL:
            return CHARACTER_MICROS * billed_characters(prompt)


def usd(micros: int) -> str:
    """Write an amount for a person, e.g. ``$0.0021``, exactly: as many places as it needs."""
    whole, part = divmod(abs(micros), 1_000_000)
    return f"{'-' if micros < 0 else ''}${whole}.{f'{part:06}'.rstrip('0'):0<2}"


def about_usd(micros: int) -> str:
    """Write an estimate for a person: to the cent, or to two digits where it is less than one.

    What costs anything never reads as nothing.
    """
    unit = 10_000
    while unit > 1 and abs(micros) < 10 * unit:
        unit //= 10
    return usd((micros + unit // 2) // unit * unit)


def dollars(micros: int) -> float:
    """Return an amount for JSON, whose number is read back as the same millionths."""
    return micros / 1_000_000
