"""The collector: archives, acknowledges and forwards what the boards send."""
