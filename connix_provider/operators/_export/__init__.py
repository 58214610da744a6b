"""The parts of the export operators."""
