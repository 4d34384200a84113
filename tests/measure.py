"""``python -m tests.measure``: how large the house is, and how far one voice goes through it.

Lines count docstrings and blanks. The way is that of one voice through ``add`` and ``run --once``,
to its recorded keepalive: the files of the package whose functions are called, and how many
functions that are; code that only runs at import is not counted.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.daemon_support import Host, fast_gateway
from voicekeeper.sandbox import SandboxServer

_ROOT = Path(__file__).parent.parent
_PACKAGE = _ROOT / "voicekeeper"

_TRACED = """
import atexit, sys, threading
from pathlib import Path
package, into = sys.argv[1:3]
seen = set()
def profile(frame, event, _):
    if event == "call" and frame.f_code.co_filename.startswith(package):
        call = (frame.f_code.co_filename, frame.f_code.co_qualname)
        if call not in seen and not importing(frame):
            seen.add(call)
def importing(frame):
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(package):
            return True
        frame = frame.f_back
    return False
def write():
    sys.setprofile(None)
    with open(into, "a") as file:
        file.writelines(f"{path} {name}\\n" for path, name in seen)
atexit.register(write)
from voicekeeper.cli import main
threading.setprofile(profile)
sys.setprofile(profile)
main(sys.argv[3:])
"""


def main() -> None:
    """Print the measure."""
    for folder in (_PACKAGE, _ROOT / "tests"):
        sizes = _sizes(folder.rglob("*.py"))
        longest = max(sizes, key=lambda path: sizes[path])
        print(  # noqa: T201 - it is a command
            f"{folder.name}: {sum(sizes.values())} lines, {len(sizes)} modules, "
            f"{sum(size > 400 for size in sizes.values())} of them over 400 lines "
            f"(the longest {longest.relative_to(_ROOT)}: {sizes[longest]})"
        )
    top = [path for path in _PACKAGE.iterdir() if not path.name.startswith(("__", "."))]
    print(f"voicekeeper: {len(top)} entries at its top")  # noqa: T201 - the same
    files, functions = way()
    print(f"add and run --once: {len(files)} files, {functions} functions")  # noqa: T201 - the same
    if "--files" in sys.argv:
        print(*sorted(files), sep="\n")  # noqa: T201 - the same


def _sizes(paths: Iterable[Path]) -> dict[Path, int]:
    return {path: len(path.read_text().splitlines()) for path in paths}


def way() -> tuple[set[str], int]:
    """Trace one voice through ``add`` and ``run --once``.

    Returns:
        The files of the package that it passed, and how many functions.
    """
    with TemporaryDirectory() as directory, SandboxServer(fast_gateway()) as server:
        host, into = Host(Path(directory), server.base_url), Path(directory, "calls")
        server.import_voice("cosyvoice-v3-flash-anna")
        for arguments in (
            ["add", "cosyvoice-v3-flash-anna", "--name", "anna"],
            ["run", "--once"],
        ):
            traced = [sys.executable, "-c", _TRACED, f"{_PACKAGE}{os.sep}", str(into), *arguments]
            subprocess.run(traced, env=host.environ(), check=True, capture_output=True, cwd=_ROOT)
        calls = {tuple(line.split(" ", 1)) for line in into.read_text().splitlines()}
    return {str(Path(path).relative_to(_PACKAGE)) for path, _ in calls}, len(calls)


if __name__ == "__main__":
    main()
