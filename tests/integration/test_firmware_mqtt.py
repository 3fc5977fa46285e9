"""The MQTT transport on the MicroPython VM against a real mosquitto, through faults."""

import json
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from firmware.rtc import STEP_S
from firmware.version import BUILT_S
from simulator import vm as micropython
from simulator.devices.base import Steady
from simulator.devices.microphone import Ics43434
from simulator.faults.proxy import Mode, Proxy
from tests.firmware.boards import BOOT, NODE
from tests.firmware.pier import Pier
from tests.integration.certificates import Authority, ShiftingBroker
from tests.integration.conftest import Mosquitto

SCRIPT = Path(__file__).parent.parent / "device" / "mqtt_node.py"
QUICK = {
    "sample_interval_s": 1,
    "report_interval_s": 1,
    "spool_sync_s": 0,
    "broker_host": "127.0.0.1",
}


class Run:
    """A node on the VM in the background; ended() gives its events and its summary."""

    def __init__(self, folder: Path, seconds: int, *options: str, **settings: Any) -> None:
        self.folder = folder
        executable = micropython.find()
        assert executable is not None
        arguments = [json.dumps({**QUICK, **settings}), str(seconds), *options]
        self.process = subprocess.Popen(
            micropython.command(executable, SCRIPT, *arguments, heap="512K"),
            env=micropython.environment(),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        output, errors = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, errors
        lines = [json.loads(line) for line in output.splitlines()]
        return lines[:-1], lines[-1]


@pytest.fixture
def node(vm: Any, tmp_path: Path) -> Iterator[Any]:
    """Starts nodes on the VM in a folder of their own, and ends them with the test."""
    runs: list[Run] = []

    def start(seconds: int, *options: str, **settings: Any) -> Run:
        folder = tmp_path / f"node{len(runs)}"
        folder.mkdir()
        runs.append(Run(folder, seconds, *options, **settings))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()


def test_frames_go_up_and_acks_and_time_come_down(node: Any, mosquitto: Any) -> None:
    broker = mosquitto()
    with Pier(broker.port) as pier:
        before_ms = int(time.time() * 1000)
        events, summary = node(4, broker_port=broker.port).ended()
    assert [event["connected"] for event in events][-1] is True
    assert summary["rows"] >= 3
    assert pier.seqs(BOOT + 1) == set(range(1, summary["issued"] + 1))
    assert summary["settled"] >= summary["issued"] - 1
    assert summary["refused"] == 0
    assert summary["synchronised"]
    assert summary["error_ms"] < 500
    assert abs(summary["unix_ms"] - before_ms - 4000) < 1500


FAULT_AT_S = 4
HEALED_AT_S = 17
END_S = 30
BACK_WITHIN_MS = 10_000
HELD_MS = 700
LAEQ_DB = 70.0
WIFI = MappingProxyType({"wifi_ssid": "street", "wifi_password": "secret"})


class Scene:
    """A node behind a proxy of its own, a fault of its own, and how it is healed."""

    options: tuple[str, ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    reason = ""

    def __init__(self, proxy: Proxy, run: Run) -> None:
        self.proxy = proxy
        self.run = run

    def fail(self) -> None:
        self.proxy.mode = Mode.REFUSE

    def heal(self) -> None:
        self.proxy.mode = Mode.OPEN


class Refused(Scene):
    """Whoever connects is thrown out."""

    reason = "ECONNRESET"


class SilentBroker(Scene):
    """The broker accepts and says nothing."""

    reason = "mqtt"

    def fail(self) -> None:
        self.proxy.mode = Mode.SILENT


class Portal(Scene):
    """A captive portal takes every connection for a browser's, and answers in HTTP."""

    reason = "mqtt"

    def fail(self) -> None:
        self.proxy.mode = Mode.PORTAL


class HalfOpen(Scene):
    """The connection is dead for good and nobody says so; new ones work."""

    reason = "silent"

    def fail(self) -> None:
        self.proxy.strand()

    def heal(self) -> None:
        """It heals by reconnecting."""


class HangingNames(Scene):
    """DNS blocks for 30 s while nothing can be reached."""

    options = ("dns=30",)
    settings = MappingProxyType({"broker_host": "localhost"})
    reason = "dns"

    def fail(self) -> None:
        (self.run.folder / "dns").touch()
        super().fail()


class StalledHandshake(Scene):
    """TLS begins and never ends; as on an ESP32 its arithmetic lets nothing else run."""

    options = (f"held={HELD_MS}",)
    settings = MappingProxyType({"broker_host": "localhost", "broker_tls": 1})
    reason = "tls"

    def fail(self) -> None:
        self.proxy.stall_after_bytes = 40
        self.proxy.mode = Mode.REFUSE
        time.sleep(0.1)
        self.proxy.mode = Mode.OPEN

    def heal(self) -> None:
        self.proxy.stall_after_bytes = None


class NoWifi(Scene):
    """The access point is gone."""

    options = ("wifi",)
    settings = WIFI
    status = "201"
    reason = "wifi"

    def fail(self) -> None:
        (self.run.folder / "network").write_text(self.status)
        super().fail()

    def heal(self) -> None:
        (self.run.folder / "network").write_text("up")
        super().heal()


class WrongPassword(NoWifi):
    """The access point knows another password."""

    status = "202"


class FlappingWifi(NoWifi):
    """The access point comes and goes every second and a half."""

    def fail(self) -> None:
        self.ended = threading.Event()
        threading.Thread(target=self._flap, daemon=True).start()

    def _flap(self) -> None:
        while True:
            for state in ("200", "up"):
                (self.run.folder / "network").write_text(state)
                if self.ended.wait(1.5):
                    return

    def heal(self) -> None:
        self.ended.set()
        time.sleep(0.05)
        super().heal()


SCENES: tuple[type[Scene], ...] = (
    Refused,
    SilentBroker,
    Portal,
    HalfOpen,
    HangingNames,
    StalledHandshake,
    NoWifi,
    WrongPassword,
    FlappingWifi,
)


def two_seconds_of_sound() -> bytes:
    """What the model of an ICS-43434 gives for noise of LAEQ_DB, settled."""
    microphone = Ics43434(Steady(laeq=LAEQ_DB), random.Random(4))
    return microphone.words(48_000, 96_000).astype("<i4").tobytes()


Played = dict[type[Scene], tuple[list[dict[str, Any]], dict[str, Any], set[int]]]


@pytest.fixture(scope="module")
def brokers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str | None], Mosquitto]]:
    """Starts mosquittos that live as long as this module's tests."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    started: list[Mosquitto] = []

    def start(configuration: str | None) -> Mosquitto:
        broker = Mosquitto(program, tmp_path_factory.mktemp("broker"), configuration)
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.kill()


@pytest.fixture(scope="module")
def played(
    tmp_path_factory: pytest.TempPathFactory, brokers: Callable[[str | None], Mosquitto]
) -> Iterator[Played]:
    """All scenes at the same time: each node's events, summary, and the frames that arrived."""
    if micropython.find() is None:
        pytest.skip("no MicroPython VM on this machine")
    authority = Authority(tmp_path_factory.mktemp("authority"))
    sound = two_seconds_of_sound()
    plain, secure = brokers(None), brokers(authority.mosquitto())
    scenes: list[Scene] = []
    piers: list[Pier] = []
    try:
        for index, kind in enumerate(SCENES):
            tls = kind.settings.get("broker_tls")
            broker = secure if tls else plain
            proxy = Proxy(broker.port).__enter__()
            folder = tmp_path_factory.mktemp(kind.__name__)
            (folder / "ca.der").write_bytes(authority.der)
            (folder / "sound").write_bytes(sound)
            node = NODE + index
            pier = Pier(broker.port, node, tls=authority.context if tls else None)
            piers.append(pier.__enter__())
            settings = {"broker_port": proxy.port, **kind.settings}
            run = Run(folder, END_S, f"node={node}", "sound", *kind.options, **settings)
            scenes.append(kind(proxy, run))
        time.sleep(FAULT_AT_S)
        for scene in scenes:
            scene.fail()
        time.sleep(HEALED_AT_S - FAULT_AT_S)
        for scene in scenes:
            scene.heal()
        yield {
            type(scene): (*scene.run.ended(), pier.seqs(BOOT + 1))
            for scene, pier in zip(scenes, piers, strict=True)
        }
    finally:
        for scene in scenes:
            scene.run.process.kill()
            scene.run.process.wait()
            scene.proxy.__exit__(None, None, None)
        for pier in piers:
            pier.__exit__(None, None, None)


@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__)
def test_a_fault_of_the_network_costs_no_sample_and_ends_by_itself(
    played: Played, kind: type[Scene]
) -> None:
    events, summary, arrived = played[kind]
    assert events[0]["connected"] or events[1]["connected"]
    assert any(kind.reason in event["reason"] for event in events), events
    back = [event["at_ms"] for event in events if event["connected"]]
    assert events[-1]["connected"], events
    assert back[-1] <= HEALED_AT_S * 1000 + BACK_WITHIN_MS, events
    assert len(back) >= 2, "the fault was never noticed"
    assert summary["missed"] == 0
    assert summary["rows"] >= END_S - 2
    assert summary["longest_step_ms"] < 500
    assert arrived >= set(range(1, summary["issued"] - 3))


STARTING_MS = 500  # the microphone and the filters settle
RINGING_MS = 70  # left out after each gap, and up to a buffer before it
IN_BUFFERS_MS = 200


@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__)
def test_the_noise_meter_tells_what_it_did_not_hear(played: Played, kind: type[Scene]) -> None:
    _, summary, _ = played[kind]
    noise = summary["noise"]
    assert noise["rows"] == summary["rows"]
    assert noise["valid_ms"] <= noise["given_ms"], "it claims sound that never came"
    untold_ms = noise["period_ms"] - noise["valid_ms"]
    assert untold_ms >= noise["lost_ms"], "sound was lost silently"
    left_out_ms = STARTING_MS + IN_BUFFERS_MS + RINGING_MS * noise["gaps"]
    assert untold_ms <= noise["lost_ms"] + left_out_ms
    assert abs(noise["lowest"] / 10 - LAEQ_DB) < 1, "a gap was averaged over"
    assert abs(noise["highest"] / 10 - LAEQ_DB) < 1


def test_a_handshake_that_holds_the_interpreter_shows_as_gaps(played: Played) -> None:
    _, summary, _ = played[StalledHandshake]
    noise = summary["noise"]
    assert summary["missed"] == 0
    assert noise["gaps"] >= 2
    assert noise["lost_ms"] >= 2 * (HELD_MS - 200)
    assert noise["shortest_ms"] <= 1000 - (HELD_MS - 200)


def test_a_certificate_of_later_than_the_clock_moves_the_clock_on(
    vm: Any, mosquitto: Any, tmp_path: Path
) -> None:
    """The VM's TLS goes by this machine's clock, so it is refused however far the board's moves."""
    authority = Authority(tmp_path, starts_in_days=10)
    broker = mosquitto(authority.mosquitto())
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "ca.der").write_bytes(authority.der)
    run = Run(folder, 4, broker_port=broker.port, broker_host="localhost", broker_tls=1)
    events, summary = run.ended()
    assert any("starts in the future" in event["reason"] for event in events), events
    assert summary["rtc_sets"] >= 3
    assert summary["rtc_s"] == BUILT_S + (summary["rtc_sets"] - 1) * STEP_S


@pytest.mark.parametrize("year", [2000, 2029, 2080])
def test_no_clock_locks_a_board_out_of_tls(
    vm: Any, mosquitto: Any, tmp_path: Path, year: int
) -> None:
    """The certificate is as far from this machine's clock as the true one is from the board's."""
    broker = mosquitto()
    folder = tmp_path / "node"
    folder.mkdir()
    clock = datetime(year, 6, 1, tzinfo=UTC)
    with (
        Pier(broker.port) as pier,
        ShiftingBroker(tmp_path, folder / "rtc", broker.port) as secure,
    ):
        (folder / "ca.der").write_bytes(secure.der)
        run = Run(folder, 45, f"clock={int(clock.timestamp())}", "until=settled",
                  broker_port=secure.port, broker_host="localhost", broker_tls=1)  # fmt: skip
        events, summary = run.ended()
    assert pier.seqs(BOOT + 1), events
    assert summary["settled"] >= 1
    assert abs(summary["unix_ms"] / 1000 - time.time()) < 5
    if year == 2029:
        assert any("has expired" in event["reason"] for event in events), events
