"""Act on many agents."""

from __future__ import annotations

from connix_provider.operators.orphans import ConnixDeleteOrphanedAgentsOperator

__all__ = ["ConnixDeleteOrphanedAgentsOperator"]
