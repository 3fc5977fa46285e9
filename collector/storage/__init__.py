"""What puts frames, ledger, timeline and quarantine together and keeps them in step."""
