"""What of a status needs a person, a sentence each; docs/operate.md says what to do."""

from collections.abc import Iterator, Sequence

from collector.doctor.checkup import card_wear
from collector.operate.status import Status

NAMES_SHOWN = 5
REJECTED_SHARE_MAX = 0.01


def worries(found: Status) -> list[str]:
    """What needs a person; empty when all is well. A status of an older version says less."""
    return [
        *(f"alarm: {alarm['text']} (node {alarm['node']:08x})" for alarm in found["alarms"]),
        *_collector(found),
        *_links(found),
        *_nodes(found),
        *_strangers(found.get("strangers", [])),
        *(line for sink in found["sinks"] for line in _sink(sink)),
    ]


def _collector(found: Status) -> Iterator[str]:
    head, storage = found["collector"], found.get("storage", {})
    if not found["running"]:
        yield "the collector is not running"
    elif not head["accepting"]:
        yield "the disk is nearly full: nothing is taken in"
    if head.get("file_fault"):
        yield f"{head['file_fault']}; what was read before is in force"
    if head.get("clock") == "kernel" and not head.get("clock_synchronised", True):
        yield (
            "the clock is not synchronised: boards get no time from us, and what only we could "
            "date does not go out; set up NTP"
        )
    if head.get("restored"):
        yield "the archive is older than what this collector acknowledged"
    if storage.get("failing"):
        yield f"commit failed: {storage['last_failure']}"
    for finding in card_wear(storage):
        if not finding.well:
            yield f"{finding.what}: {finding.text}"


def _links(found: Status) -> Iterator[str]:
    for link in found["transports"]:
        if not link["connected"]:
            yield f"{link['name']} is not connected: {link['reason']}"


def _nodes(found: Status) -> Iterator[str]:
    for node in found["nodes"]:
        if node["frames"]["lost"]:
            yield f"{node['name']} lost {node['frames']['lost']} frames"
        if node["conflicts"]:
            yield f"{node['name']} has {node['conflicts']} conflicts: nodes resolve"
    if keyless := found.get("keyless", []):
        yield (
            f"no key for {_some(keyless)}: what they send is refused; import their records again, "
            "or restore a backup"
        )
    if misnamed := found.get("misnamed", []):
        yield f"names that harm other programs: {_some(misnamed)}; osn-collector nodes set"
    if deaf := [node["name"] for node in found["nodes"] if node.get("deaf")]:
        yield (
            f"boards do not hear us: {_some(deaf)} send again what was "
            "acknowledged; see that the broker lets our user write PREFIX/1/+/d and theirs read it"
        )


def _strangers(strangers: Sequence[Status]) -> Iterator[str]:
    if strangers:
        named = [f"{one['node']} ({one['frames']} frames)" for one in strangers]
        yield (
            f"{len(strangers)} unknown board{'s' if len(strangers) > 1 else ''} held in "
            f"quarantine: {_some(named)}; osn-collector quarantine list"
        )


def _sink(sink: Status) -> Iterator[str]:
    if sink.get("blocked_reason"):
        yield f"{sink['name']} is held up: {sink['blocked_reason']}"
    closed = sink.get("closed_addresses", {})
    for address, reason in sorted(closed.items())[:NAMES_SHOWN]:
        yield f"{sink['name']} is held up for {address}: {reason}"
    if len(closed) > NAMES_SHOWN:
        yield f"{sink['name']} is held up for {len(closed) - NAMES_SHOWN} more addresses"
    share = sink.get("rejected_share", 0.0)
    if share > REJECTED_SHARE_MAX:
        reason = sink["rejected_reason"]
        yield f"{sink['name']} rejects {share:.0%} of the latest readings: {reason}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
