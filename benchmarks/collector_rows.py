"""The usual small collector, for comparison: JSON over MQTT, a row per reading in SQLite."""

import asyncio
import json
import sqlite3
import sys
import time

import aiomqtt

COMMIT_MESSAGES = 500
COMMIT_S = 1.0


async def main(port: int, path: str) -> None:
    """Receives for ever; the key is (time, node, quantity), so a resend is no second row."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE reading (time INTEGER, node TEXT, quantity TEXT, value REAL,"
        " PRIMARY KEY (time, node, quantity)) WITHOUT ROWID"
    )
    connection.execute("CREATE TABLE progress (messages INTEGER)")
    connection.execute("INSERT INTO progress VALUES (0)")
    waiting: list[tuple[int, str, str, float]] = []
    messages = 0
    committed_s = time.monotonic()

    def commit() -> None:
        nonlocal messages, committed_s
        if messages:
            connection.execute("BEGIN")
            connection.executemany("INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?)", waiting)
            connection.execute("UPDATE progress SET messages = messages + ?", (messages,))
            connection.execute("COMMIT")
        waiting.clear()
        messages = 0
        committed_s = time.monotonic()

    async def tick() -> None:
        while True:
            await asyncio.sleep(COMMIT_S / 4)
            if time.monotonic() - committed_s >= COMMIT_S:
                commit()

    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("sensor/+/data", qos=0)
        ticking = asyncio.create_task(tick())
        async for message in client.messages:
            node = str(message.topic).split("/")[1]
            sample = json.loads(bytes(message.payload))
            moment = sample.pop("ts")
            waiting += [(moment, node, name, value) for name, value in sample.items()]
            messages += 1
            if messages >= COMMIT_MESSAGES:
                commit()
        ticking.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
