"""A client of an application in the same process, without a server.

Starlette's own `TestClient` needs a second HTTP library beside httpx.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp


@dataclass(frozen=True)
class InProcess:
    """Asks an application as a browser on this machine does."""

    application: ASGIApp
    client: str = "127.0.0.1"
    """Address from which the requests come."""
    base_url: str = "http://localhost"

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Return the answer to a GET request."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Return the answer to a POST request."""
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer to a request, after redirections."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.application, client=(self.client, 40000))
            async with httpx.AsyncClient(
                transport=transport, base_url=self.base_url, follow_redirects=True
            ) as asking:
                return await asking.request(method, path, **options)

        return asyncio.run(ask())
