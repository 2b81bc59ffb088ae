"""What is frozen so that rows compare, and the configuration of a run under it."""
