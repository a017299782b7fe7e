#!/usr/bin/env python3
"""A WebSocket server over TLS that nobody here wrote (PyPI `websockets`), for the end-to-end run.

`/` echoes, offers the subprotocol chat; `/refuse` answers 403; `/silent` says nothing after the upgrade.
Usage: wss_server.py PORT CERTIFICATE KEY
"""

import asyncio
import http
import ssl
import sys

from websockets.asyncio.server import serve


def refuse(connection, request):
    """The answer in place of the upgrade, or none."""
    if request.path == "/refuse":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not here\n")
    return None


async def talk(connection):
    """Echo, or be silent until the client leaves."""
    if connection.request.path == "/silent":
        await connection.wait_closed()
        return
    async for message in connection:
        await connection.send(message)


async def main(port, certificate, key):
    """Serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    options = {"ssl": context, "subprotocols": ["chat"], "process_request": refuse,
               "select_subprotocol": lambda _, offered: "chat" if "chat" in offered else None}
    async with serve(talk, "127.0.0.1", port, **options) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:4]))
