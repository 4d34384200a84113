"""Whether the demonstration came as promised: the stand-in's books in, a verdict out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voicekeeper.demo.cast import CAST, Part
from voicekeeper.duration import words
from voicekeeper.errors import VoicekeeperError
from voicekeeper.sandbox import Books, VoiceBook


@dataclass(frozen=True, slots=True)
class Fate:
    """How one voice ended.

    Attributes:
        origin: how it came to be, for a person.
        end: ``alive``, or when and why it is not.
    """

    name: str
    origin: str
    is_kept: bool
    uses: int
    is_alive: bool
    end: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is told at the end.

    Attributes:
        fates: of each voice, in the order of the cast.
        keepalives, enrollments, polls: calls that the gateway took.
        cost_micros: their price, in millionths of a US dollar.
        broken: a clause for each promise that was not kept; none if all is as it should be.
    """

    fates: tuple[Fate, ...]
    keepalives: int
    enrollments: int
    polls: int
    cost_micros: int
    broken: tuple[str, ...]

    def check(self) -> None:
        """Do nothing if all came as promised.

        Raises:
            VoicekeeperError: what did not.
        """
        if self.broken:
            raise VoicekeeperError(f"not as promised: {'; '.join(self.broken)}")


def judge(books: Books, *, cast: Sequence[Part] = CAST) -> Verdict:
    """Return the verdict on the books as they are when the demonstration ends."""
    return Verdict(
        fates=tuple(_fate(part, part.book(books)) for part in cast),
        keepalives=books.speech,
        enrollments=books.clone + books.design,
        polls=books.polls,
        cost_micros=books.cost_micros,
        broken=tuple(_broken(books, cast)),
    )


def _fate(part: Part, book: VoiceBook | None) -> Fate:
    origin = {"import": "imported", "clone": "cloned", "design": "designed"}[part.made_by]
    if not part.is_kept:
        origin = "not registered"
    if book is None:
        return Fate(part.name, origin, part.is_kept, 0, is_alive=False, end="never made")
    if book.deleted_at is None:
        end = "alive" if book.status == "OK" else f"alive, but {book.status}"
    else:
        end = f"deleted, {words(book.deleted_at - book.last_used_at)} after its last use"
    return Fate(part.name, origin, part.is_kept, book.uses, is_alive=book.alive, end=end)


def _broken(books: Books, cast: Sequence[Part]) -> Iterator[str]:
    for part in cast:
        book = part.book(books)
        if book is None:
            yield f"{part.name} was never made"
        elif part.is_kept and not book.alive:
            yield f"{part.name} was to be kept and was deleted"
        elif part.is_kept and (book.status != "OK" or not book.uses):
            yield f"{part.name} is {book.status} and was used {_times(book.uses)}"
        elif not part.is_kept and book.alive:
            yield f"{part.name}, which nobody keeps, was not deleted"
    for mode, count in (("clone", books.clone), ("design", books.design)):
        if count > 1:
            yield f"the {mode} was requested, and paid for, {_times(count)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
