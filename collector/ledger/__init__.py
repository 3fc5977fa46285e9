"""The ledger: what became of every frame and every reading."""
