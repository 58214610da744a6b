"""
Measure the provider beside the HTTP provider and beside the service's rate limits.

Each line of the table in ``docs/performance.md`` is a :class:`benchmarks.row.Row`. Each kind of row has a
module, which says how to measure and whether the result is good enough.
"""
