"""Certificates of the tests' own making."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)"
)


def certified(directory: Path, subject: str) -> ssl.SSLContext:
    """Return what a server needs that has a certificate of its own making, in ``cert.pem``."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=v"]
    words += ["-addext", f"subjectAltName={subject}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words], capture_output=True, check=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
