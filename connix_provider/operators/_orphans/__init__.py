"""The parts of the operator that deletes orphaned agents."""
