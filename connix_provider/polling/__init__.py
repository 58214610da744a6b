"""Wait for agents: one set of rules behind operators, sensors and triggers."""
