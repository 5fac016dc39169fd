"""A package, so that its tests may be named as others are."""
