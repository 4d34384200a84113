"""``python -m tests.contract`` writes the pinned files anew; ``git diff`` tells what changed."""

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.contract.pinned import FOLDER, contract


def main() -> None:
    """Write every file of the contract."""
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as directory:
        for name, text in contract(Path(directory)).items():
            (FOLDER / name).write_text(text)
            print(FOLDER / name)  # noqa: T201 - it is a command


if __name__ == "__main__":
    main()
