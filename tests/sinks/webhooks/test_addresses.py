"""Where a notice may go."""

from __future__ import annotations

import asyncio

import pytest

from sinks.errors import SinkError
from sinks.webhooks.addresses import PrivateAddressError, PublicResolver, check_url, is_public

PRIVATE = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255"]
PRIVATE_6 = ["::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1"]


@pytest.mark.parametrize("address", [*PRIVATE, *PRIVATE_6])
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("url", ["https://shop.example/hook", "http://shop.example:8080/a?b=c", "https://8.8.8.8/", "https://[2606:4700:4700::1111]/x"])
def test_urls_that_may_be_told(url: str) -> None:
    check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://shop.example/", "shop.example", "https://", "https:///x", "file:///etc/passwd", "https://u:p@shop.example/", "https://u@shop.example/"),
        *(
            "https://shop.example:0/",
            "https://shop.example:99999/",
            "https://shop.example/a b",
            "https://shop.example/\r\nx: y",
            "https://[::1",
            "https://é.example/",
        ),
        "https://shop.example/" + "x" * 2_048,
    ],
)
@pytest.mark.parametrize("allow_private", [True, False])
def test_urls_that_are_none(url: str, allow_private: bool) -> None:
    with pytest.raises(SinkError):
        check_url(url, allow_private)


@pytest.mark.parametrize(
    "host", [*PRIVATE, "[::1]", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST.", "a.localhost", "2130706433", "127.1", "0x7f.1", "0177.0.0.1"]
)
def test_our_own_doors_are_refused_unless_a_setting_allows_them(host: str) -> None:
    with pytest.raises(SinkError, match="HOLDFAST_WEBHOOKS_ALLOW_PRIVATE"):
        check_url(f"http://{host}/", allow_private=False)
    check_url(f"http://{host}/", allow_private=True)


def test_a_name_that_leads_to_our_own_doors_is_not_connected_to() -> None:
    async def resolve() -> None:
        resolver = PublicResolver()
        try:
            await resolver.resolve("localhost", 80)
        finally:
            await resolver.close()

    with pytest.raises(PrivateAddressError):
        asyncio.run(resolve())
