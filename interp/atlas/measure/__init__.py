"""What the bundled model can do: one module a kind of measurement, each figure beside its controls."""
