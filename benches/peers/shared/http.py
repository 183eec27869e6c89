"""A keep-alive HTTP/1.1 client for JSON, as small as possible, so that the client is not what is
measured.
"""

import asyncio
import contextlib
import json


class Connection:
    """One connection; one request at a time."""

    def __init__(self, host, port, headers=None):
        self.host = host
        self.port = port
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.reader = self.writer = None

    async def post(self, path, body):
        """The status and the body, parsed; None where there is none."""
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"{self.headers}Content-Length: {len(data)}\r\n\r\n"
        )
        request = head.encode() + data
        if self.writer is not None:
            # Servers close connections that were idle for some seconds, and then they have read
            # nothing of this.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                return await self.exchange(request)
        self.close()
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return await self.exchange(request)

    async def exchange(self, request):
        self.writer.write(request)
        return await self.answer()

    async def answer(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        fields = dict(line.split(":", 1) for line in head.lower().split("\r\n")[1:] if line)
        length = int(fields.get("content-length", 0))
        body = await self.reader.readexactly(length) if length else b""
        if fields.get("connection", "").strip() == "close":
            self.close()
        return status, json.loads(body) if body else None

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class Pool:
    """Connections that take turns: as many requests at once as there are connections."""

    def __init__(self, size, host, port, headers=None):
        self.free = asyncio.Queue()
        for _ in range(size):
            self.free.put_nowait(Connection(host, port, headers))

    async def post(self, path, body):
        connection = await self.free.get()
        try:
            return await connection.post(path, body)
        finally:
            self.free.put_nowait(connection)
