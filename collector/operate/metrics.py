"""/metrics for Prometheus and /healthz for whoever watches the machine."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web

from collector.operate.status import Status
from collector.settings import WebSettings

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GatherStatus = Callable[[], Awaitable[Status]]

_HELP = {
    "osn_collector_info": ("gauge", "Always 1; labels say which collector."),
    "osn_clock_synchronised": ("gauge", "1 while this machine's clock can be believed."),
    "osn_accepting": ("gauge", "0 while the disk is too full to take anything in."),
    "osn_loop_lag_seconds": ("gauge", "The longest that a due task had to wait, lately."),
    "osn_frames_received_total": ("counter", "Frames from transports."),
    "osn_frames_committed_total": ("counter", "Frames that the archive holds."),
    "osn_frames_refused_total": ("counter", "Frames refused or ignored, by reason."),
    "osn_frames_undecoded_total": ("counter", "Frames stored and left undecoded, by reason."),
    "osn_queue_dropped_total": ("counter", "Frames that found the queue full; boards resend."),
    "osn_commits_total": ("counter", "Commits of the archive."),
    "osn_commit_failures_total": ("counter", "Commits that failed."),
    "osn_written_bytes_total": ("counter", "Bytes written to disk by this process."),
    "osn_archive_bytes": ("gauge", "Size of the archive."),
    "osn_disk_free_bytes": ("gauge", "Room on its disk."),
    "osn_alarms": ("gauge", "Alarms since the start."),
    "osn_link_connected": ("gauge", "1 while a transport is connected."),
    "osn_node_seen_seconds": ("gauge", "Seconds since a node was heard."),
    "osn_node_frames": ("gauge", "Frames of a node by what became of them."),
    "osn_node_conflicts": ("gauge", "Frames that two boards sent under one number."),
    "osn_node_time_error_seconds": ("gauge", "Bound on the error of a node's newest time."),
    "osn_reading": ("gauge", "A node's newest good reading."),
    "osn_node_health": ("gauge", "What a node says of itself."),
    "osn_sink_readings_total": ("counter", "Readings by network and outcome."),
    "osn_sink_open_frames": ("gauge", "Frames that a network has not had yet."),
    "osn_sink_blocked": ("gauge", "1 while a network is not asked, with the reason."),
    "osn_sink_last_accepted_seconds": ("gauge", "Seconds since a network accepted a reading."),
}

Sample = tuple[str, Mapping[str, object], float]


def render(status: Status) -> str:
    """The status in Prometheus' text form."""
    grouped: dict[str, list[str]] = {}
    for name, labels, value in _samples(status):
        shown = ",".join(f'{key}="{_escaped(str(text))}"' for key, text in labels.items())
        grouped.setdefault(name, []).append(f"{name}{{{shown}}} {value:.10g}")
    lines: list[str] = []
    for name, samples in grouped.items():
        kind, words = _HELP[name]
        lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *samples]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _samples(status: Status) -> Iterator[Sample]:
    head, intake, storage = status["collector"], status["intake"], status["storage"]
    yield "osn_collector_info", {
        "name": head["name"], "id": head["id"], "version": program_version()
    }, 1  # fmt: skip
    yield "osn_clock_synchronised", {}, head["clock_synchronised"]
    yield "osn_accepting", {}, head["accepting"]
    yield "osn_loop_lag_seconds", {}, head["loop_lag_s"]
    yield "osn_frames_received_total", {}, intake["received"]
    yield "osn_frames_committed_total", {}, intake["committed"]
    for reason, frames in intake["refused"].items():
        yield "osn_frames_refused_total", {"reason": reason}, frames
    for reason, frames in intake["undecoded"].items():
        yield "osn_frames_undecoded_total", {"reason": reason}, frames
    yield "osn_queue_dropped_total", {}, intake["queue_dropped"]
    yield "osn_commits_total", {}, storage["commits"]
    yield "osn_commit_failures_total", {}, storage["failures"]
    if "written_bytes" in storage:
        yield "osn_written_bytes_total", {}, storage["written_bytes"]
    yield "osn_archive_bytes", {}, storage["archive_bytes"]
    if storage["free_bytes"] is not None:
        yield "osn_disk_free_bytes", {}, storage["free_bytes"]
    yield "osn_alarms", {}, len(status["alarms"])
    for link in status["transports"]:
        yield "osn_link_connected", {"link": link["name"]}, link["connected"]
    for node in status["nodes"]:
        yield from _node_samples(node, status["now_ms"])
    for sink in status["sinks"]:
        yield from _sink_samples(sink, status["now_ms"])


def _node_samples(node: Status, now_ms: int) -> Iterator[Sample]:
    who = {"node": node["node"], "name": node["name"]}
    if node["seen_ms"] > 0:
        yield "osn_node_seen_seconds", who, (now_ms - node["seen_ms"]) / 1000
    for fate, frames in node["frames"].items():
        if fate != "produced":
            yield "osn_node_frames", {**who, "fate": fate}, frames
    yield "osn_node_conflicts", who, node["conflicts"]
    if node["time"] is not None:
        yield "osn_node_time_error_seconds", who, node["time"]["error_ms"] / 1000
    for reading in node["readings"]:
        if reading["quality"] == "ok":
            labels = {key: reading[key] for key in ("quantity", "instance", "unit")}
            yield "osn_reading", {**who, **labels}, reading["value"]
    for quantity, value in node["health"].items():
        yield "osn_node_health", {**who, "quantity": quantity}, value


def _sink_samples(sink: Status, now_ms: int) -> Iterator[Sample]:
    name = {"sink": sink["name"]}
    for outcome, readings in sink["readings"].items():
        yield "osn_sink_readings_total", {**name, "outcome": outcome}, readings
    yield "osn_sink_open_frames", name, sink["open_frames"]
    yield "osn_sink_blocked", name, bool(sink["blocked_reason"])
    if sink["last_accepted_ms"] is not None:
        passed_s = (now_ms - sink["last_accepted_ms"]) / 1000
        yield "osn_sink_last_accepted_seconds", name, passed_s


def program_version() -> str:
    """The installed version, "unknown" when run from a bare checkout."""
    try:
        return version("opencities-osn")
    except PackageNotFoundError:
        return "unknown"


def ill(status: Status) -> str:
    """Why the collector does not do its work, "" when it does."""
    if not status["collector"]["accepting"]:
        return "the disk is nearly full"
    if status["storage"]["failing"]:
        return f"commits fail: {status['storage']['last_failure']}"
    return ""


async def serve(settings: WebSettings, gather: GatherStatus) -> None:
    """Serves both pages until it is cancelled."""

    async def metrics(request: web.Request) -> web.Response:
        body = render(await gather()).encode()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def health(request: web.Request) -> web.Response:
        reason = ill(await gather())
        return web.Response(status=503 if reason else 200, text=(reason or "ok") + "\n")

    application = web.Application(client_max_size=1024)
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/healthz", health)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        log.info("metrics at http://%s:%d/metrics", settings.host, settings.port)
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()
