"""What the drivers and `run` share."""
