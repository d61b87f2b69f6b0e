"""Makes the environment in which the worker runs: one Python, torch, and a few libraries."""
