"""Faults of network, power, files, clock and bus: small, seeded, composable."""
