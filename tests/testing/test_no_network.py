"""`no_network`: what leaves the machine is refused by name, what stays on it is not."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import aiohttp
import pytest

from turnwise.testing import NetworkRefused, ScriptedProvider, no_network, reply


@pytest.mark.parametrize(
    ("address", "family"), [(("192.0.2.1", 443), socket.AF_INET), (("2001:db8::1", 443, 0, 0), socket.AF_INET6)]
)
def test_a_connection_is_refused_and_named(address, family):
    with pytest.raises(NetworkRefused, match=f"{address[0]}:443"), no_network(), socket.socket(family) as s:
        s.connect(address)


def test_a_name_look_up_is_refused_and_named():
    with pytest.raises(NetworkRefused, match=r"example\.test"), no_network():
        socket.getaddrinfo("example.test", 443)


def test_a_datagram_is_refused():
    with (
        pytest.raises(NetworkRefused, match=r"192\.0\.2\.1:53"),
        no_network(),
        socket.socket(type=socket.SOCK_DGRAM) as s,
    ):
        s.sendto(b"x", ("192.0.2.1", 53))


def test_an_attempt_that_was_swallowed_fails_at_the_end_and_can_be_accepted():
    with pytest.raises(AssertionError, match=r"192\.0\.2\.1:80"), no_network(), contextlib.suppress(OSError):
        socket.create_connection(("192.0.2.1", 80))
    with no_network() as guard:
        with contextlib.suppress(OSError):
            socket.create_connection(("192.0.2.1", 80))
        assert guard.refused == ["192.0.2.1:80"]
        guard.refused.clear()


async def test_other_threads_are_guarded_too():
    with pytest.raises(NetworkRefused), no_network():
        await asyncio.get_running_loop().getaddrinfo("example.test", 443)


async def test_loopback_and_pairs_stay_open():
    with no_network() as guard:
        left, right = socket.socketpair()
        left.close()
        right.close()
        async with (
            ScriptedProvider([reply("Hi.")]) as provider,
            aiohttp.ClientSession() as client,
            client.post(
                provider.openai_url.replace("127.0.0.1", "localhost") + "/chat/completions",
                json={"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
                headers={"authorization": "Bearer test"},
            ) as response,
        ):
            assert response.status == 200
        assert guard.refused == []


def test_the_guard_ends_with_its_block():
    with no_network():
        pass
    with socket.socket() as s:
        s.settimeout(0)
        with pytest.raises(OSError) as caught:
            s.connect(("127.0.0.1", 9))
        assert not isinstance(caught.value, NetworkRefused)


def test_it_decorates_functions():
    @no_network()
    def reach() -> None:
        socket.create_connection(("192.0.2.1", 80))

    with pytest.raises(NetworkRefused):
        reach()
