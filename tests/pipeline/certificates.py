"""A throw-away certificate authority, a certificate for 127.0.0.1, and a token, as the TLS overlays want them."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path


def certificates(home: Path) -> dict[str, str]:
    """Write CA, certificate, key and tokens into `home` and return the collector's variables that name them."""
    ca, ca_key, key, csr, cert = (
        home / name for name in ("ca.pem", "ca.key", "server.key", "server.csr", "server.pem")
    )
    home.mkdir(exist_ok=True)
    extension, tokens = home / "server.ext", home / "tokens"
    extension.write_text("subjectAltName=IP:127.0.0.1\n")
    tokens.write_text(secrets.token_urlsafe(24) + "\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sign = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "1", "-extfile", extension]
    for arguments in (
        ["req", "-x509", *new_key, "-subj", "/CN=test authority", "-days", "1", "-keyout", ca_key, "-out", ca],
        ["req", *new_key, "-subj", "/CN=collector", "-keyout", key, "-out", csr],
        ["x509", "-req", "-in", csr, *sign, "-out", cert],
    ):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    paths = {"CA_FILE": ca, "CERT_FILE": cert, "KEY_FILE": key, "TOKENS_FILE": tokens}
    return {f"OTELCOL_{name}": str(path) for name, path in paths.items()}
