"""How the way to the package servers is told to pip and uv."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Network:
    """What the user has set in QGIS; empty where the system's own settings count.

    Attributes:
        proxy: URL, with user and password where needed.
        no_proxy: Hosts to reach directly, separated by commas.
        certificates: Trusted certificates as PEM text, instead of the system's.
    """

    proxy: str = ""
    no_proxy: str = ""
    certificates: str = ""

    def variables(self, folder: Path) -> dict[str, str]:
        """Environment variables for pip and uv; certificates are written into the folder.

        Raises:
            OSError: They cannot be written.
        """
        found = {"UV_SYSTEM_CERTS": "1"}
        if self.proxy:
            # In both cases: programs differ in which they read, and both may be set already.
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                found[name] = found[name.lower()] = self.proxy
        if self.no_proxy:
            found["NO_PROXY"] = found["no_proxy"] = self.no_proxy
        if self.certificates:
            path = folder / "certificates.pem"
            path.write_text(self.certificates, encoding="utf-8")
            found["PIP_CERT"] = found["SSL_CERT_FILE"] = str(path)
        return found
