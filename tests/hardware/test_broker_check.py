"""The self-test's last step: the board enters a real broker, and a real collector acknowledges."""

import asyncio
from pathlib import Path

import pytest

from hardware import bench, boardfile, selftest
from hardware.bench import Plan
from hardware.session import session
from simulator.broker import Broker, find_mosquitto
from simulator.demo.collector import CollectorProcess
from tests.hardware.conftest import MakeBoard


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_one_frame_is_acknowledged_end_to_end(plug_in: MakeBoard, tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    settings = {"broker_host": "127.0.0.1", "broker_port": broker.port, "wifi_ssid": "city"}
    plan = Plan(
        board=boardfile.load("classic"),
        records=tmp_path / "boards.jsonl",
        sheets=tmp_path / "sheets",
        settings=settings,
    )
    collector = CollectorProcess(tmp_path / "collector", broker.port, "http://127.0.0.1:9")
    with asyncio.Runner() as runner, plug_in(board=plan.board.board_json()) as board:
        runner.run(broker.start())
        bench.put_firmware(board.path, plan)
        bench.give_identity(board.path, plan, "Carrer Gran 7")
        with session(board.path) as opened:
            before = selftest.acknowledged(opened, wait_ms=4_000)
        runner.run(collector.adopt(plan.records.read_text()))
        runner.run(collector.start())
        try:
            with session(board.path) as opened:
                after = selftest.acknowledged(opened)
        finally:
            runner.run(collector.stop())
            runner.run(broker.stop())
    assert before.state == "failed"
    assert "import the record there first" in before.detail
    assert after.state == "passed", after
    assert "acknowledged by collector" in after.detail
