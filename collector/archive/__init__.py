"""The archive: frames in SQLite, when they were, and what is derived from them."""
