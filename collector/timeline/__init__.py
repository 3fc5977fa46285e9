"""What the uptime of a board was in Unix time, and how wrong that may be."""
