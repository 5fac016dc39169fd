"""How good is an SAE? Everything that `interp.sae` measures of one, in one result with its controls."""

from __future__ import annotations

from analyses.evaluation.run import eval_sae_command, evaluate

__all__ = ["eval_sae_command", "evaluate"]
