"""What Airflow stores of the rendered fields of tasks."""

from __future__ import annotations

import pytest
from dag_store import airflow_version


@pytest.fixture(autouse=True)
def masker() -> None:
    """Forget what other tests had masked: Airflow 2 hides a secret of one letter in every word."""
    if airflow_version() < (3,):
        from airflow.utils.log.secrets_masker import _secrets_masker

        masker = _secrets_masker()
        masker.patterns, masker.replacer = set(), None


def stored_fields(*instances):
    """Read what Airflow stored; from 3.4 on the rows are found by task instance only."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if hasattr(Rendered, "task_instance_id"):
        is_theirs = Rendered.task_instance_id.in_([instance.id for instance in instances])
    else:
        is_theirs = Rendered.dag_id == instances[0].dag_id
    with create_session() as session:
        return [row.rendered_fields for row in session.scalars(select(Rendered).where(is_theirs))]
