"""QGIS's settings of proxy and certificates, for programs that do not know QGIS."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from qgis.core import QgsApplication, QgsAuthMethodConfig, QgsSettings
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtNetwork import QNetworkProxy, QNetworkProxyFactory, QNetworkProxyQuery

from ..runtime.install.network import Network

_SERVER = "https://pypi.org"
_SCHEMES = {"HttpProxy": "http", "HttpCachingProxy": "http", "Socks5Proxy": "socks5h"}


def qgis_network() -> Network:
    """What the user has set under Settings ▸ Options ▸ Network; for the main thread."""
    settings = QgsSettings()
    if not settings.value("proxy/proxyEnabled", False, type=bool):
        return Network(certificates=_certificates())
    direct = settings.value("proxy/noProxyUrls", [], type=list)
    hosts = [urlsplit(url).hostname or url for url in direct if url]
    return Network(_proxy(settings), ",".join(hosts), _certificates())


def _proxy(settings: QgsSettings) -> str:
    scheme = _SCHEMES.get(str(settings.value("proxy/proxyType", "")))
    host = str(settings.value("proxy/proxyHost", "") or "")
    if scheme is None or not host:
        return _system_proxy()
    user = str(settings.value("proxy/proxyUser", "") or "")
    password = str(settings.value("proxy/proxyPassword", "") or "")
    stored = str(settings.value("proxy/authcfg", "") or "")
    if stored:
        user, password = _credentials(stored)
    return _url(scheme, host, str(settings.value("proxy/proxyPort", "") or ""), user, password)


def _system_proxy() -> str:
    """The proxy that the system names for the package server, also by a script."""
    for proxy in QNetworkProxyFactory.systemProxyForQuery(QNetworkProxyQuery(QUrl(_SERVER))):
        if proxy.type() in (
            QNetworkProxy.ProxyType.HttpProxy,
            QNetworkProxy.ProxyType.HttpCachingProxy,
        ):
            return _url("http", proxy.hostName(), str(proxy.port()), proxy.user(), proxy.password())
    return ""


def _url(scheme: str, host: str, port: str, user: str, password: str) -> str:
    account = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    return f"{scheme}://{account}{host}" + (f":{port}" if port else "")


def _credentials(stored: str) -> tuple[str, str]:
    """User and password of an entry in QGIS's authentication database."""
    entry = QgsAuthMethodConfig()
    QgsApplication.authManager().loadAuthenticationConfig(stored, entry, True)
    return entry.config("username"), entry.config("password")


def _certificates() -> str:
    """All trusted certificates, when the user has added some to QGIS; else the system's count."""
    manager = QgsApplication.authManager()
    if manager.isDisabled() or not (manager.databaseCAs() or manager.extraFileCAs()):
        return ""
    return bytes(manager.trustedCaCertsPemText()).decode("ascii", "replace")
