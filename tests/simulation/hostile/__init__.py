"""
Simulate task runs of the provider against a hostile service, other users and a hostile Airflow.

A *history* is drawn from a seed (:mod:`hostile.drawing`): the service's properties, the actions of other
users, the task and its interruptions. :mod:`hostile.player` plays it on a virtual clock, in this process and
without sockets. :mod:`hostile.invariants` compares the outcomes of the tasks with the service's own record.
:mod:`hostile.shrinking` makes a failing history small.

Importing this package imports nothing of the provider, so that the service cannot share code with it.
"""
