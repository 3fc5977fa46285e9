"""python -m collector is osn-collector."""

from collector.cli import main

main(prog_name="osn-collector")
