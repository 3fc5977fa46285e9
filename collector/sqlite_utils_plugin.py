"""The hook where the entry points of an editable installation look that was not renewed yet."""

from opencities_osn import prepare_connection

__all__ = ["prepare_connection"]
