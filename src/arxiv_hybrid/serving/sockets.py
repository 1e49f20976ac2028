"""The socket that a server listens on."""

from __future__ import annotations

import os
import socket

from arxiv_hybrid.system.errors import UserError

BACKLOG = 2048  # connections that wait to be accepted


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address; UserError if it is in use or not this machine's.

    Its connections send each piece of a response at once (TCP_NODELAY). asyncio only sets that on
    sockets that name their protocol; without it a body waits 40 ms for the client to confirm the
    headers.
    """
    try:
        if not 0 <= port <= 65535:
            raise OverflowError("a port is a number from 1 to 65535")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
        raise UserError(
            f"{host}:{port}: cannot listen there: {reason}; use another --host or --port"
        ) from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
    return listener
