"""Whether what an installation of today gets has known holes, by pip-audit and PyPI's own list.

``python -m tests.audit`` puts what voicekeeper needs, with the extra for alerts, into a directory
of its own and has pip-audit look at it. A hole fails it. A list that cannot be had does not, since
nobody mends that here; but it is told, because pip-audit itself calls a package that it could not
look up no problem, and ends with "No known vulnerabilities found".
"""

import json
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
_SHOWN = 3


def verdict(report: str, words: str) -> tuple[int, str]:
    """Return an exit code, and what to say.

    Args:
        report: what pip-audit wrote to stdout, in its JSON.
        words: what it wrote to stderr.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = next((line for line in reversed(words.splitlines()) if line.strip()), "no word")
        return 0, f"NOT AUDITED: pip-audit ended without a report: {reason.strip()}"
    holes = [_hole(package, vuln) for package in packages for vuln in package.get("vulns", ())]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    looked_up = len(packages) - len(skipped)
    lines = [f"{len(holes)} known holes in {looked_up} packages", *holes] if looked_up else []
    if skipped or not packages:
        lines.append(f"NOT AUDITED: {len(skipped)} of {len(packages)} packages, such as:")
        lines += [f"  {reason}" for reason in skipped[:_SHOWN]]
    return (1 if holes else 0), "\n".join(lines)


def _hole(package: dict[str, Any], vuln: dict[str, Any]) -> str:
    mended = ", ".join(vuln["fix_versions"]) or "no version"
    return f"  {package['name']} {package['version']}: {vuln['id']}, mended in {mended}"


def main() -> int:
    """Look, and say how it went; return the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["alerts"]]
    with tempfile.TemporaryDirectory() as directory:
        tool, needs = Path(directory, "tool"), Path(directory, "needs")
        venv.create(tool, with_pip=True)
        for what in (["pip-audit"], ["--target", str(needs), *needed]):
            pip = [str(tool / "bin" / "pip"), "install", "--quiet", *what]
            done = subprocess.run(pip, capture_output=True, text=True, check=False)
            if done.returncode:
                click.echo(
                    f"NOT AUDITED: pip cannot install {what[-1]}: {done.stderr.strip()[-500:]}"
                )
                return 0
        audit = [str(tool / "bin" / "pip-audit"), "--path", str(needs), "--format", "json"]
        done = subprocess.run(
            [*audit, "--progress-spinner", "off"], capture_output=True, text=True, check=False
        )
    code, words = verdict(done.stdout, done.stderr)
    click.echo(words)
    return code


if __name__ == "__main__":
    sys.exit(main())
