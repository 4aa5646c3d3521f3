"""Free ports on loopback."""

import random
import socket
from collections.abc import Iterable, Mapping

# Below the range from which Linux and macOS take the ports of outgoing connections: a port from there could be
# taken by any client while its server is down.
LOWEST, HIGHEST = 15_000, 32_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(taken: Iterable[int] = ()) -> int:
    """A port that is free now and not in `taken`."""
    for port in random.sample(range(LOWEST, HIGHEST), 1_000):
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port on loopback between {LOWEST} and {HIGHEST}")


def assign_ports(names: Iterable[str], kept: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the kept one while it is free, so that endpoints stay, else a new one."""
    ports = dict(kept)
    for name in names:
        if name not in ports or not is_free(ports[name]):
            ports[name] = free_port(ports.values())
    return ports
