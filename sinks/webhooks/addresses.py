"""Where a notice may go. An endpoint's owner names any URL, and what stands behind our own doors is not for them to reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from sinks.errors import SinkError

MAX_URL: Final = 2_048
_TRANSLATED: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""Addresses that carry an IPv4 address, which a gateway on the way would take out again."""


class PrivateAddressError(OSError):
    """An address that is not public."""


def check_url(url: str, allow_private: bool) -> None:
    """Raise SinkError for a URL that no notice may be sent to. A name is looked up only when something is sent: it may change."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SinkError(f"the URL cannot be read: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise SinkError("the URL of an endpoint begins with https:// or http:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise SinkError("the URL of an endpoint holds no user and no password: notices are signed instead")
    if len(url) > MAX_URL or not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise SinkError(f"the URL of an endpoint has at most {MAX_URL:,} characters, all of them printable ASCII without spaces")
    if not allow_private and is_private_host(parts.hostname):
        raise SinkError(
            f"{parts.hostname} is not a public address: HOLDFAST_WEBHOOKS_ALLOW_PRIVATE=true allows such, where everybody who adds endpoints is trusted"
        )


def is_private_host(host: str) -> bool:
    """Say whether a URL's host is by itself no public one: an address, or a name for this machine. A number alone is an address to a resolver."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name.replace(".", "").isdigit() or name.startswith("0x"):
        try:
            return not is_public(str(ip_address(name)))
        except ValueError:
            return True
    try:
        return not is_public(name)
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public Internet; raises ValueError for what is no address."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if isinstance(found, IPv6Address) and any(found in network for network in _TRANSLATED):
        return False
    return found.is_global and not found.is_multicast


class PublicResolver(AbstractResolver):
    """Looks names up, and gives only public addresses: what is connected to is what was checked, whatever the name says a moment later."""

    def __init__(self) -> None:
        self._behind = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Return the addresses of a name; raises PrivateAddressError where none of them is public."""
        found = await self._behind.resolve(host, port, family)  # type: ignore[arg-type]
        public = [each for each in found if is_public(each["host"])]
        if not public:
            raise PrivateAddressError("not a public address")
        return public

    async def close(self) -> None:
        """Let go of what looks names up."""
        await self._behind.close()
