"""The run folder: its record, samples, images and scores. The only place that knows the names inside it."""

from ccbench.runs.run_folder import RunFolder, default_run_folder

__all__ = ["RunFolder", "default_run_folder"]
