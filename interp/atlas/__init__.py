"""The bundled model `atlas`: how it was made, and everything that it was told."""

from interp.atlas.facts import Facts, card, checkpoints, facts

__all__ = ["Facts", "card", "checkpoints", "facts"]
