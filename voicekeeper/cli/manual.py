"""The manual page, made from the commands themselves: what ``--help`` tells, and what it cannot.

One page for all commands, because a person looks for a word in it, not for the page it is on. It
is roff (``groff_man(7)``) of the plainest kind, and reads at 80 columns as on paper.
"""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import click

from voicekeeper import __version__
from voicekeeper.config import DEFAULT_PATH
from voicekeeper.config.key import CREDENTIAL, VARIABLE
from voicekeeper.config.settings import NESTED, PREFIX
from voicekeeper.errors import EXIT_CODES

ENVIRONMENT: Final[Mapping[str, str]] = {
    "VOICEKEEPER_CONFIG": "The settings file, unless --config names one.",
    f"{PREFIX}TABLE{NESTED}KEY": (
        "Any setting, such as VOICEKEEPER_KEEPALIVE__INTERVAL=2d; it has the last word over the "
        "file. An empty one counts as not set."
    ),
    VARIABLE: (
        "The API key, if neither upstream.api_key_file nor the credential has it. Other processes "
        "of the same user can read it there, so a file is better."
    ),
    "CREDENTIALS_DIRECTORY": f"Where systemd puts the credential {CREDENTIAL}: the API key.",
    "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY": (
        "The proxy to the gateway, to previews, to heartbeat_url, to public_url in check, and to "
        "where messages go; http or https. In lower case too, which comes first, even if empty; a"
        " scheme's own comes before ALL_PROXY. NO_PROXY takes *, domains, addresses and networks "
        "(10.0.0.0/8, fe80::/10), with :PORT or without; for messages, no networks of IPv6. The "
        "gateway and the heartbeat on this very host are asked for by none."
    ),
    "SSL_CERT_FILE, SSL_CERT_DIR": "The certificates to trust, in place of those of certifi.",
    "NO_COLOR": "No colors.",
}
"""What is read of the environment by people's wish; what systemd sets besides is its own."""

FILES: Final[Mapping[str, str]] = {
    str(DEFAULT_PATH): "The settings.",
    "/etc/voicekeeper/apixo-api-key": "The API key, which systemd hands to the service.",
    "/var/lib/voicekeeper/voicekeeper.db": "The registry, unless database.url names another.",
    "voicekeeper.db.backups/": "Beside it: the daily copies, the last 14.",
    "voicekeeper.db.lock": "Held by the daemon that runs.",
    "voicekeeper.db.replaced-*": "What a restore replaced.",
}

_SIGNALS: Final[Mapping[str, str]] = {
    "SIGTERM, SIGINT": "The daemon writes down what is under way, and ends.",
    "SIGHUP": "It takes its settings anew, all of them or none; on a terminal it ends.",
    "SIGABRT": "It ends at once, with a traceback of each thread on stderr.",
}

_STATUSES: Final[Mapping[str, str]] = {
    "NEW": "Nothing is confirmed yet.",
    "DEPLOYING, OK, UNDEPLOYED": "The gateway's own words.",
    "FAILED": "Its making ended without a voice.",
    "UNKNOWN": "It was paid for and the answer was lost; retry repeats it on your word only.",
    "LOST": "The gateway no longer knows it.",
}

_EXAMPLES: Final[Mapping[str, str]] = {
    "voicekeeper add cosyvoice-v3-flash-4f1c --name narrator": "Keep a voice that exists:",
    "voicekeeper resolve narrator": "Ask for the voice_id to speak with, each time:",
    "voicekeeper check": ("As root, see whether the service is set up right, its key included:"),
    "voicekeeper list --json | jq '.voices[] | select(.failures > 0)'": (
        "Show the voices whose last calls failed:"
    ),
}

_STEP = 2
"""By how many columns what belongs to a line stands in."""

_QUOTED = re.compile(r"(?<![\w'])'([^'\n]{2,60})'(?![\w'])")
_SIGNS = {
    "\\": r"\e",
    "-": r"\-",
    "~": r"\(ti",
    "^": r"\(ha",
    "`": r"\(ga",
}


def page(program: click.Group, headings: Mapping[str, Collection[str]]) -> str:
    """Return the manual page.

    Args:
        program: all commands.
        headings: their names, under the heading of each group.
    """
    ctx = click.Context(program, info_name="voicekeeper", **program.context_settings)
    summary, _, description = inspect.cleandoc(program.help or "").partition("\n\n")
    summary = summary.rstrip(".")
    lines = [
        f'.TH VOICEKEEPER 1 "" "voicekeeper {__version__}" "User Commands"',
        ".nh",  # no word is hyphenated: commands and options are copied from here
        ".ad l",
        ".SH NAME",
        f"voicekeeper \\- {_text(summary[0].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        r"\fBvoicekeeper\fR [\fB\-\-config\fR \fIFILE\fR] \fICOMMAND\fR [\fIARGS\fR...]",
        ".SH DESCRIPTION",
        *_prose(description),
        ".PP",
        "Data goes to stdout, words to stderr.",
        'What takes \\fB\\-\\-json\\fR prints one object with "schema": 1, its times in UTC.',
        ".SH OPTIONS",
        *_options(program, ctx, helps=True),
        ".SH COMMANDS",
    ]
    for heading, names in headings.items():
        lines.append(f'.SS "{_text(heading)}"')
        for name in names:
            command = program.get_command(ctx, name)
            if command is not None:
                lines += _command(command, click.Context(command, parent=ctx, info_name=name))
    lines += [".SH STATUS OF A VOICE", *_list(_STATUSES)]
    lines += [".SH EXIT STATUS", *_list({str(code): text for code, text in EXIT_CODES.items()})]
    lines += [
        ".PP",
        r"\fBstatus\fR has those of monitoring plugins: 0 ok, 1 warning, 2 critical, 3 unknown",
        "or wrong use.",
        ".SH ENVIRONMENT",
        *_list(ENVIRONMENT),
        ".SH FILES",
        *_list(FILES),
        ".SH SIGNALS",
        *_list(_SIGNALS),
        ".SH EXAMPLES",
    ]
    for example, words in _EXAMPLES.items():
        lines += [".PP", _text(words), *_verbatim([example])]
    lines += [
        ".SH SEE ALSO",
        r".BR systemctl (1),",
        r".BR journalctl (1),",
        r".BR jq (1),",
        r".BR systemd.exec (5)",
        ".PP",
        "Every setting stands in the example file that comes with the program, and in its",
        r"\fIdocs/reference.md\fR; the alerts, backups, metrics and webhooks have pages beside it.",
    ]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """Yield all of one command, and of those below it."""
    options = [p for p in command.params if isinstance(p, click.Option)]
    arguments = [p.make_metavar(ctx) for p in command.params if isinstance(p, click.Argument)]
    usage = rf"\fB{_text(ctx.command_path)}\fR"
    usage += r" [\fIOPTIONS\fR]" if options else ""
    if isinstance(command, click.Group):
        usage += r" \fICOMMAND\fR"
    yield f".TP {_STEP}"
    yield " ".join([usage, *(rf"\fI{_text(argument)}\fR" for argument in arguments)])
    yield from _prose(command.help or "", stands_in=True)
    if options:
        yield f".RS {_STEP}"
        yield from _options(command, ctx)
        yield ".RE"
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            if below is not None:
                yield from _command(below, click.Context(below, parent=ctx, info_name=name))


def _options(command: click.Command, ctx: click.Context, *, helps: bool = False) -> Iterator[str]:
    """Yield the options; that each command has ``--help`` is told once."""
    for parameter in command.get_params(ctx):
        if isinstance(parameter, click.Argument) or (not helps and "--help" in parameter.opts):
            continue
        names, words = parameter.get_help_record(ctx) or ("", "")
        yield ".TP"
        yield re.sub(
            r"(-{1,2}[a-z][a-z-]*)|([^\s,]+(?: RANGE)?)",
            lambda part: rf"\fB{_text(part[1])}\fR" if part[1] else rf"\fI{_text(part[2])}\fR",
            names,
        )
        yield _text(" ".join(words.split()))


def _prose(text: str, *, stands_in: bool = False) -> Iterator[str]:
    """Yield the paragraphs of a help; what click leaves as it is, this does too."""
    between = f'.IP "" {_STEP}' if stands_in else ".PP"
    for place, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        first, *lines = paragraph.splitlines()
        if place:
            yield between
        if first.strip() == "\b":
            yield from _verbatim(lines, stands_in=not stands_in)
        else:
            yield _text(" ".join([first, *lines]))


def _verbatim(lines: Collection[str], *, stands_in: bool = True) -> Iterator[str]:
    """Yield lines that are not filled."""
    yield from (f".RS {_STEP}", ".nf") if stands_in else (".nf",)
    yield from (_literal(line) for line in lines)
    yield from (".fi", ".RE") if stands_in else (".fi",)


def _list(entries: Mapping[str, str]) -> Iterator[str]:
    """Yield terms, each with what it means."""
    for term, words in entries.items():
        yield ".TP"
        yield rf"\fB{_text(term)}\fR"
        yield _text(words)


def _text(text: str) -> str:
    """Return prose as roff has it, with what stands in quotes to be typed in bold."""
    escaped = "".join(_SIGNS.get(sign, sign) for sign in text)
    return _protected(_QUOTED.sub(r"\\fB\1\\fR", escaped))


def _literal(line: str) -> str:
    """Return a line whose every sign stays what it is."""
    escaped = "".join(_SIGNS.get(sign, sign) for sign in line)
    return _protected(escaped.replace("'", r"\(aq"))


def _protected(line: str) -> str:
    """Return a line that roff takes for no request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
