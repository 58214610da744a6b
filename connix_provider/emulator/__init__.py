"""A Connix service on loopback, for tests of DAGs and of this provider."""
