"""Metrics of sets of features: distances, manifolds, diversity, memorisation."""
