"""The attempts of one call, decided without I/O."""
