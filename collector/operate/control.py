"""How commands talk to the running collector: a local socket that only its user can open.

A request is one line of JSON, {"do": NAME, ...}; the answer is one line, {"ok": ...} or
{"error": TEXT}.
"""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
REQUEST_BYTES_MAX = 4 * 1024 * 1024
ANSWER_BYTES_MAX = 64 * 1024 * 1024
ASK_WITHIN_S = 60.0
CLIENTS_MAX = 16

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]


class NotRunning(RuntimeError):
    """No collector runs on this data folder."""


class ControlError(RuntimeError):
    """The running collector refused; the message says why."""


@contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """A path to the socket that fits the 107 characters a socket's name may have."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET_NAME}"
    finally:
        os.close(handle)


class ControlServer:
    """Answers requests while the collector runs."""

    def __init__(self, folder: Path, handlers: Mapping[str, Handler]) -> None:
        self._folder = folder
        self._handlers = handlers
        self._clients = 0

    async def run(self) -> None:
        """Listens until it is cancelled; the socket's file goes with it."""
        with short_path(self._folder) as path:
            _remove(path)
            mask = os.umask(0o177)
            try:
                server = await asyncio.start_unix_server(self._serve, path, limit=REQUEST_BYTES_MAX)
            finally:
                os.umask(mask)
            try:
                async with server:
                    await server.serve_forever()
            finally:
                _remove(path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= CLIENTS_MAX:
            writer.close()
            return
        self._clients += 1
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                line = await reader.readline()
            writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            log.debug("a control client went away")
        finally:
            self._clients -= 1
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            handler = self._handlers[request["do"]]
        except (ValueError, KeyError, TypeError):
            return {"error": "unknown request: is this command of another version?"}
        try:
            return {"ok": await handler(request)}
        except (ValueError, RuntimeError, LookupError) as error:
            return {"error": str(error)}
        except Exception as error:
            log.exception("control request %s failed", request["do"])
            return {"error": f"{type(error).__name__}: {error}"}


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        Path(path).unlink()


def ask(folder: Path, do: str, **request: Any) -> Any:
    """Asks the running collector; NotRunning when there is none, ControlError when it refuses."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(ASK_WITHIN_S)
        try:
            with short_path(folder) as path:
                if not Path(path).is_socket():
                    raise NotRunning(f"no collector runs on {folder}")
                channel.connect(path)
            channel.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
            answer = _read_line(channel)
        except PermissionError as error:
            raise ControlError(
                f"{folder / SOCKET_NAME}: not allowed; run this as the collector's user or root"
            ) from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning(f"no collector runs on {folder}") from error
        except OSError as error:
            raise ControlError(f"the collector did not answer: {error}") from error
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer.get("ok")


def _read_line(channel: socket.socket) -> dict[str, Any]:
    parts: list[bytes] = []
    size = 0
    while not parts or not parts[-1].endswith(b"\n"):
        part = channel.recv(65_536)
        size += len(part)
        if not part or size > ANSWER_BYTES_MAX:
            raise ConnectionResetError("it closed the connection")
        parts.append(part)
    answer = json.loads(b"".join(parts))
    if not isinstance(answer, dict):
        raise ConnectionResetError("its answer is not an object")
    return answer
