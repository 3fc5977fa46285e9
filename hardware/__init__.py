"""Board files and the technician's tool."""
