"""
Simulate task runs of the provider against a service, other users and an Airflow that are all hostile.

A *history* is drawn from a seed (:mod:`hostile.drawing`): what the service is like, what others do, which
task Airflow runs and what happens to it. :mod:`hostile.playing` plays it on a virtual clock, in this process
and without sockets, :mod:`hostile.invariants` compares what the tasks claimed with the service's own record,
and :mod:`hostile.shrinking` makes a failing history small.

Importing this package imports nothing of the provider, so that the service cannot share code with it.
"""
