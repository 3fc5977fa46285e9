"""How frames reach the collector: MQTT and serial."""
