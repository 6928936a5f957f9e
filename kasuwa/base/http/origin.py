"""Who is asking and under which address: trusted proxies, base URLs, CORS."""

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import Request

Scope = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]

_ALLOWED_HEADERS = (
    b"Accept, Accept-Language, Access-Token, Authorization, Content-Type, customertoken, "
    b"Idempotency-Key, If-Match, If-None-Match, Range, Request-Id, sessiontoken, tilltoken, "
    b"X-Auth-Token, X-Request-Id, X-Second-Factor"
)
_EXPOSED_HEADERS = (
    b"Content-Disposition, ETag, Link, Location, RateLimit, RateLimit-Policy, Request-Id, Retry-After, "
    b"X-Rate-Limit-Requests-Left, X-Rate-Limit-Requests-Quota, X-Rate-Limit-Time-Reset-Ms, "
    b"X-Rate-Limit-Time-Window-Ms, X-Request-Id, X-Retry-After"
)


class TrustedProxies:
    """Believes X-Forwarded-For and X-Forwarded-Proto from these networks, from nobody else."""

    def __init__(self, networks: Sequence[str]) -> None:
        """`networks` such as `10.0.0.0/8` or `::1`. Raises ValueError on anything else."""
        self.networks: list[IPv4Network | IPv6Network] = [ip_network(network) for network in networks]
        # The same few proxies ask all the time.
        self.trusts = lru_cache(1024)(self._trusts)

    def _trusts(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address.version == net.version and address in net for net in self.networks)

    def apply(self, scope: Scope) -> None:
        """Put the real caller and scheme into the scope, if a trusted proxy says who that is."""
        client = scope.get("client")
        if not self.networks or client is None or not self.trusts(client[0]):
            return
        chain: list[str] = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                chain += [hop.strip() for hop in value.decode("latin-1").split(",")]
            elif name == b"x-forwarded-proto":
                scheme = value.decode("latin-1").rpartition(",")[2].strip().lower()
                if scheme in ("http", "https"):
                    scope["scheme"] = scheme
        # The caller may have begun the list himself: only what our own proxies appended counts.
        for hop in reversed(chain):
            if not _is_address(hop):
                return
            scope["client"] = (hop, 0)
            if not self.trusts(hop):
                return


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def caller_address(request: Request[Any, Any, Any]) -> str:
    """Where the request came from, for counting tries: an IPv6 caller counts as their whole /64."""
    host = request.client.host if request.client else ""
    if not _is_address(host):
        return host
    address = ip_address(host)
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address.ipv4_mapped if address.version == 6 else address)


def is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def base_url(request: Request[Any, Any, Any], public_url: str | None, hosts: Collection[str]) -> str:
    """The start of links in answers, without a slash at the end.

    The public URL if there is one, else the request's own scheme and host when that host is loopback or
    in `hosts` (as `shop.example` for any port, or `shop.example:8443`); else "", so that the link becomes
    a path and a forged Host header is never repeated.
    """
    if public_url:
        return public_url.rstrip("/")
    sent = request.headers.get("host", "")
    return f"{request.scope['scheme']}://{sent.lower()}" if _may_repeat(sent, tuple(hosts)) else ""


@lru_cache(256)
def _may_repeat(sent: str, hosts: tuple[str, ...]) -> bool:
    """Whether a Host header may stand in links. The same few come all the time."""
    try:
        parts = urlsplit(f"//{sent}")
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.netloc != sent or "@" in sent or not host:
        return False
    return is_loopback(host) or host in hosts or sent.lower() in hosts


class CrossOrigin:
    """CORS for a list of origins. Callers prove themselves by headers, so credentials are never allowed."""

    def __init__(self, origins: Collection[str]) -> None:
        self.origins = frozenset(origin.rstrip("/").encode() for origin in origins)

    def headers(self, origin: bytes | None) -> Headers:
        """What an answer to this origin carries."""
        if not self.origins:
            return []
        vary = (b"vary", b"Origin")
        if origin is None or not (b"*" in self.origins or origin in self.origins):
            return [vary]
        return [
            vary,
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED_HEADERS),
        ]

    def is_preflight(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers

    def preflight_headers(self, origin: bytes) -> Headers:
        granted = self.headers(origin)
        if len(granted) < 2:
            return granted
        return [
            *granted[:2],
            (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", b"600"),
        ]
