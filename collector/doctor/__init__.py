"""The doctor: looks at everything a collector depends on, and saves what can be read."""
