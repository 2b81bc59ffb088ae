"""Intervals, jackknife influence, paired tests and ranks."""
