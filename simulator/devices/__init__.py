"""Models of the sensors, at the level of their own bytes."""
