"""The parts of the models: lenient field types, times, pages."""
