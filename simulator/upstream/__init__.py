"""Stand-ins for the open sensor networks, as strict as the real ones."""
