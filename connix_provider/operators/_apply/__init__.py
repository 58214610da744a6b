"""The parts of the apply operator."""
