"""One file per open sensor network."""
