"""What goes to boards: acknowledgements, commands, settings, firmware."""
