"""What an operator sees and does: status, export, backup, leaving, and the way to the daemon."""
