"""The demonstration: three boards, a broker, a collector and an open network, live."""
