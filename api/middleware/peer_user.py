"""The user of the process at the other end of a loopback connection, as Linux tells it.

The kernel answers for one socket by netlink (sock_diag(7)) within microseconds. Where it does not, its table of all TCP sockets
(proc_pid_net(5)) is read, which takes some milliseconds.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

Address = tuple[str, int]
"""IP address and port."""
Owner = Callable[[Address, Address], int | None]
"""(the client's end, the server's end) -> user id of the process that holds the client's end. None: no process does.

Raises OSError if the system does not tell.
"""

ROOT = 0
LISTENING = 10
"""State of a socket that waits for connections, from linux/tcp_states.h: it is nobody's end of a connection."""

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, REQUEST = 4, 20, 1
"""From linux/netlink.h and linux/sock_diag.h."""
HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
QUESTION = struct.Struct("=BBBxI")
"""Start of inet_diag_req_v2: family, protocol, extensions, states; the socket's id follows."""
SOCKET_ID = struct.Struct("!HH16s16s12s")
"""inet_diag_sockid: two ports, two addresses, then interface and cookie."""
ANY_SOCKET = bytes(4) + b"\xff" * 8
"""Any interface, no cookie."""
ANSWER = struct.Struct("=BBBB48s5I")
"""inet_diag_msg: family, state, timer, retransmissions, id, expiry, two queues, user, inode."""
ANSWER_S = 1.0
"""Seconds to wait for the kernel, which answers at once."""

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
UID, INODE = 7, 9
"""Columns of the tables."""
READINGS = 2
"""The table changes while it is read, so that one reading may miss a row."""


def is_own_user(client: Address, server: Address) -> bool:
    """Returns whether a process of this process's user, or of root, holds the client's end of a connection.

    True also where the system does not tell, such as outside Linux. An end that its client has closed belongs to nobody.
    """
    owner = _usable()
    try:
        return owner is None or owner(client, server) in (os.geteuid(), ROOT)
    except OSError:
        return False


def has_gone(client: Address, server: Address) -> bool:
    """Returns whether no process holds the client's end of a connection any more; False where the system does not tell."""
    owner = _usable()
    try:
        return owner is not None and owner(client, server) is None
    except OSError:
        return False


@cache
def _usable() -> Owner | None:
    """The first way that tells the user of a connection of this process itself; None if none does."""
    if sys.platform != "linux":
        return None
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as own:
        own.connect(listening.getsockname())
        for owner in (owner_by_netlink, owner_by_table):
            try:
                if owner(own.getsockname(), listening.getsockname()) == os.geteuid():
                    return owner
            except OSError:
                continue
    return None


def owner_by_netlink(client: Address, server: Address) -> int | None:
    """Asks the kernel for one socket; see Owner."""
    source, target = _ip(client), _ip(server)
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    names = (source.packed.ljust(16, b"\0"), target.packed.ljust(16, b"\0"))
    question = QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    question += SOCKET_ID.pack(client[1], server[1], *names, ANY_SOCKET)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(ANSWER_S)
        netlink.send(HEADER.pack(HEADER.size + len(question), SOCK_DIAG_BY_FAMILY, REQUEST, 0, 0) + question)
        answer = netlink.recv(4096)
    if HEADER.unpack_from(answer)[1] != SOCK_DIAG_BY_FAMILY:  # an error: there is no such socket
        return None
    _, state, _, _, _, _, _, _, user, inode = ANSWER.unpack_from(answer, HEADER.size)
    return user if inode and state != LISTENING else None


def owner_by_table(client: Address, server: Address) -> int | None:
    """Reads the table of all sockets; see Owner."""
    for _ in range(READINGS):
        for table in TABLES:  # an IPv4 connection may be made by an IPv6 socket
            if table.name == "tcp6" and not table.exists():
                continue
            ends = f" {_hex(client, table.name == 'tcp6')} {_hex(server, table.name == 'tcp6')} "
            row = next((line.split() for line in table.read_text().splitlines() if ends in line), None)
            if row is not None:  # a socket that no process holds any more has no inode
                return int(row[UID]) if int(row[INODE]) else None
    return None


def _ip(address: Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(address[0])
    return getattr(ip, "ipv4_mapped", None) or ip


def _hex(address: Address, as_ipv6: bool) -> str:
    """An address as the table writes it: words of 32 bits in the machine's byte order."""
    packed = _ip(address).packed
    if as_ipv6 and len(packed) == 4:
        packed = bytes(10) + b"\xff\xff" + packed
    words = (packed[i : i + 4] for i in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{address[1]:04X}"
