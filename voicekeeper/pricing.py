"""What a call costs, by the page's prices (section *Billing*).

Money is counted in micros, millionths of a US dollar: one character of speech is exactly 10.
"""

import unicodedata

from voicekeeper.request import Clone, Design, Request

CLONE_MICROS = 2_000
DESIGN_MICROS = 30_000
CHARACTER_MICROS = 10


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
            return CLONE_MICROS
        case Design():
            return DESIGN_MICROS
        case _:
            return CHARACTER_MICROS * billed_characters(request.prompt)


def usd(micros: int) -> str:
    """Write an amount for a person, e.g. ``$0.0021``, with as many places as it needs."""
    written = f"{micros / 1_000_000:.6f}".rstrip("0")
    whole, _, part = written.partition(".")
    return f"${whole}.{part:0<2}"
