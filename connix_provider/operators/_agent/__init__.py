"""The parts of the operators on one agent."""
