"""The same readings through others: ThingsBoard gateway, Node-RED, Telegraf, and rows in SQLite.

Each has SQLite with a write-ahead log where it can be chosen, and commits in groups of 500 messages
or a second where it offers groups at all, as the collector does; logs are cut down to errors.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.collector_load import (
    QUANTITIES,
    Socket,
    Watched,
    drive,
    free_port,
    mosquitto,
    newest,
    publish,
    start,
    until,
    walks,
)

PEERS = Path("build/peers")
INSTALL_S = 900
MESSAGES = 40_000
WARM_UP = 300
WINDOW = 5_000
RUN_S = 60.0
SCALES = (10, 10, 10, 100, 100, 1, 1, 10)
ROWS_COMMIT = 500


@dataclass(frozen=True, slots=True)
class Rate:
    """What a peer stored for good, per second; None and a reason when it could not be run."""

    messages: float | None = None
    readings: float | None = None
    rss_mb: float | None = None
    reason: str = ""


class Unavailable(RuntimeError):
    """A peer that cannot be installed or started here."""


def samples(count: int, nodes: int = 100) -> list[bytes]:
    """PUBLISH packets: a sample of eight readings each, as JSON in natural units."""
    rows = walks(Random(1), count)
    return [
        publish(
            f"sensor/n{number % nodes:03d}/data",
            json.dumps(
                {"ts": 1_796_000_000_000 + number * 10}
                | {
                    name: value / scale
                    for name, value, scale in zip(QUANTITIES, row, SCALES, strict=True)
                }
            ).encode(),
        )
        for number, row in enumerate(rows)
    ]


def measured(
    port: int, watched: Watched, durable: Callable[[], int], ready: Callable[[], bool]
) -> Rate:
    """Warms a peer up, then drives it; the rate over the whole run, timed from outside."""
    packets = samples(MESSAGES)
    until(ready, "the peer does not start", 120)
    probe = Socket(port, "probe")
    end_s = time.monotonic() + 60
    while not durable():
        if time.monotonic() > end_s:
            raise Unavailable("it stores nothing")
        probe.send(packets[:1])
        time.sleep(0.5)
    probe.close()
    drive(port, packets[:WARM_UP], durable, WINDOW, 30)
    done, seconds = drive(port, packets, durable, WINDOW, RUN_S)
    if not done:
        raise Unavailable("it stores nothing under load")
    rate = done / seconds
    return Rate(rate, rate * len(QUANTITIES), watched.rss_mb())


def attempt(name: str, run: Callable[[Path], Rate], folder: Path) -> Rate:
    """Runs a peer; one that cannot be had is null, with the reason."""
    place = folder / name
    place.mkdir()
    try:
        rate = run(place)
    except (Unavailable, RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"{name}: null, because {error}", flush=True)
        return Rate(reason=str(error))
    print(
        f"{name}: {rate.messages:.0f} messages/s, {rate.readings:.0f} readings/s, "
        f"{rate.rss_mb:.0f} MB",
        flush=True,
    )
    return rate


def _install(marker: Path, *commands: list[str], cwd: Path) -> None:
    if marker.exists():
        return
    cwd.mkdir(parents=True, exist_ok=True)
    for command in commands:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | {"GOBIN": str(cwd)},
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise Unavailable(f"{' '.join(command[:3])} failed: {''.join(last)}")
    marker.touch()


def thingsboard(folder: Path) -> Rate:
    """thingsboard-gateway with its MQTT connector and SQLite storage; a broker plays the cloud."""
    home = (PEERS / "thingsboard").absolute()
    _install(
        home / "installed",
        [sys.executable, "-m", "venv", str(home / "venv")],
        [str(home / "venv/bin/pip"), "install", "-q", "thingsboard-gateway"],
        cwd=home,
    )
    broker, port = mosquitto(folder)
    cloud, cloud_port = mosquitto(folder)
    package = next((home / "venv").glob("lib/python*/site-packages/thingsboard_gateway"))
    config = folder / "config"
    shutil.copytree(package / "config", config)
    _thingsboard_config(config, port, cloud_port, folder)
    code = "from thingsboard_gateway.tb_gateway import main; main()"
    command = ["env", f"TB_GW_CONFIG_DIR={config}/", f"TB_GW_LOGS_PATH={folder}/logs"]
    (folder / "logs").mkdir()
    watched = start([*command, str(home / "venv/bin/python"), "-c", code], folder / "log", folder)
    database = folder / "data/data.db"

    def durable() -> int:
        return newest(database, "SELECT seq FROM sqlite_sequence WHERE name = 'messages'")

    try:
        return measured(port, watched, durable, database.exists)
    finally:
        for process in (watched, broker, cloud):
            process.process.kill()
            process.process.wait()


def _thingsboard_config(config: Path, port: int, cloud_port: int, folder: Path) -> None:
    settings = json.loads((config / "tb_gateway.json").read_text())
    settings["thingsboard"] |= {
        "host": "127.0.0.1",
        "port": cloud_port,
        "remoteConfiguration": False,
        "security": {"type": "accessToken", "accessToken": "benchmark"},
        "statistics": {"enable": False},
    }
    settings["storage"] = {"type": "sqlite", "data_file_path": f"{folder}/data/"}
    settings["connectors"] = [{"name": "mqtt", "type": "mqtt", "configuration": "mqtt.json"}]
    (config / "tb_gateway.json").write_text(json.dumps(settings))
    device = {
        "deviceNameExpressionSource": "topic",
        "deviceNameExpression": "(?<=sensor/)(.*?)(?=/data)",
        "deviceProfileExpressionSource": "constant",
        "deviceProfileExpression": "street",
    }
    series = [{"type": "double", "key": name, "value": f"${{{name}}}"} for name in QUANTITIES]
    converter = {
        "type": "json",
        "deviceInfo": device,
        "timeout": 60_000,
        "attributes": [],
        "timeseries": series,
        "tsField": "ts",
    }
    connector = json.loads((config / "mqtt.json").read_text())
    connector["broker"] |= {"host": "127.0.0.1", "port": port, "security": {"type": "anonymous"}}
    mapping = {"topicFilter": "sensor/+/data", "subscriptionQos": 0, "converter": converter}
    (config / "mqtt.json").write_text(
        json.dumps({"broker": connector["broker"], "mapping": [mapping], "name": "mqtt"})
    )
    logs = json.loads((config / "logs.json").read_text())
    for logger in logs.get("loggers", {}).values():
        logger["level"] = "ERROR"
    (config / "logs.json").write_text(json.dumps(logs))


def nodered(folder: Path) -> Rate:
    """Node-RED: MQTT in, a function that makes rows, SQLite with a write-ahead log."""
    if shutil.which("npm") is None:
        raise Unavailable("npm is not installed")
    home = (PEERS / "nodered").absolute()
    packages = ["node-red", "node-red-node-sqlite"]
    _install(
        home / "installed",
        ["npm", "init", "-y"],
        ["npm", "install", "--no-audit", "--no-fund", *packages],
        cwd=home,
    )
    broker, port = mosquitto(folder)
    database = folder / "readings.db"
    table = sqlite3.connect(database)
    table.execute("PRAGMA journal_mode = WAL")
    table.execute("CREATE TABLE reading (node TEXT, quantity TEXT, time INTEGER, value REAL)")
    table.close()
    (folder / "flows.json").write_text(json.dumps(_flow(port, database)))
    (folder / "node_modules").symlink_to(home / "node_modules")
    shutil.copy(home / "package.json", folder / "package.json")
    script = home / "node_modules/node-red/red.js"
    command = ["node", str(script), "-u", str(folder), "-p", str(free_port()), "flows.json"]
    watched = start(command, folder / "log", folder)

    def durable() -> int:
        return newest(database, "SELECT max(rowid) FROM reading") // len(QUANTITIES)

    try:
        return measured(
            port, watched, durable, lambda: b"Started flows" in watched.log.read_bytes()
        )
    finally:
        for process in (watched, broker):
            process.process.kill()
            process.process.wait()


def _flow(port: int, database: Path) -> list[dict[str, object]]:
    """500 messages or a second make one statement: a commit for each message would be no match."""
    code = (
        "const rows = []; for (const [topic, p] of msg.payload) { const n = topic.split('/')[1];"
        "for (const k in p) if (k !== 'ts') rows.push(`('${n}','${k}',${p.ts},${p[k]})`); }"
        "return { topic: 'INSERT INTO reading VALUES ' + rows.join(',') };"
    )
    pair = "msg.payload = [msg.topic, msg.payload]; return msg;"
    return [
        {"id": "t", "type": "tab", "label": "readings"},
        {
            "id": "b", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(port),
            "clientid": "", "autoConnect": True, "usetls": False, "protocolVersion": "4",
            "keepalive": "60", "cleansession": True,
        },
        {
            "id": "i", "type": "mqtt in", "z": "t", "topic": "sensor/+/data", "qos": "0",
            "datatype": "json", "broker": "b", "wires": [["p"]],
        },
        {"id": "p", "type": "function", "z": "t", "func": pair, "outputs": 1, "wires": [["j"]]},
        {
            "id": "j", "type": "join", "z": "t", "mode": "custom", "build": "array",
            "property": "payload", "propertyType": "msg", "key": "topic", "joiner": "",
            "joinerType": "str", "accumulate": False, "timeout": "1", "count": str(ROWS_COMMIT),
            "reduceRight": False, "wires": [["f"]],
        },
        {"id": "f", "type": "function", "z": "t", "func": code, "outputs": 1, "wires": [["s"]]},
        {"id": "d", "type": "sqlitedb", "db": str(database), "mode": "RW"},
        {
            "id": "s", "type": "sqlite", "z": "t", "mydb": "d", "sqlquery": "msg.topic",
            "wires": [[]],
        },
    ]  # fmt: skip


def telegraf(folder: Path) -> Rate:
    """Telegraf, built with the plug-ins that are used: a row of eight columns for each message."""
    if shutil.which("go") is None:
        raise Unavailable("Go is not installed, and Telegraf has to be built")
    home = (PEERS / "telegraf").absolute()
    plugins = "custom,inputs.mqtt_consumer,outputs.sql,parsers.json"
    program = "github.com/influxdata/telegraf/cmd/telegraf@latest"
    _install(home / "telegraf", ["go", "install", "-tags", plugins, program], cwd=home)
    broker, port = mosquitto(folder)
    database = folder / "readings.db"
    config = folder / "telegraf.conf"
    config.write_text(_telegraf_config(port, database))
    watched = start([str(home / "telegraf"), "--config", str(config)], folder / "log", folder)

    def durable() -> int:
        return newest(database, "SELECT max(rowid) FROM reading")

    try:
        return measured(port, watched, durable, lambda: b"Connected" in watched.log.read_bytes())
    finally:
        for process in (watched, broker):
            process.process.kill()
            process.process.wait()


def _telegraf_config(port: int, database: Path) -> str:
    source = f"file:{database}?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
    return f"""
[agent]
  metric_batch_size = {ROWS_COMMIT}
  metric_buffer_limit = 100000
  flush_interval = "1s"
  omit_hostname = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{port}"]
  topics = ["sensor/+/data"]
  qos = 0
  max_undelivered_messages = {2 * WINDOW}
  name_override = "reading"
  data_format = "json"
  json_time_key = "ts"
  json_time_format = "unix_ms"
[[outputs.sql]]
  driver = "sqlite"
  data_source_name = "{source}"
  batch_transactions = true
"""


def rows(folder: Path) -> Rate:
    """A small Python program: a row per reading in SQLite, committed every 500 messages."""
    broker, port = mosquitto(folder)
    database = folder / "rows.db"
    command = [sys.executable, "-m", "benchmarks.collector_rows", str(port), str(database)]
    watched = start(command, folder / "log", Path.cwd())

    def durable() -> int:
        return newest(database, "SELECT messages FROM progress")

    try:
        return measured(port, watched, durable, database.exists)
    finally:
        for process in (watched, broker):
            process.process.kill()
            process.process.wait()


ALL: dict[str, Callable[[Path], Rate]] = {
    "thingsboard": thingsboard,
    "nodered": nodered,
    "telegraf": telegraf,
    "rows": rows,
}
