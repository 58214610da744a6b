"""The parts of the fleet operator."""
