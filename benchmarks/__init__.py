"""Measure the provider beside the HTTP provider and beside what the service's limits allow, in one run."""
