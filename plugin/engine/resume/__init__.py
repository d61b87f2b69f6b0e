"""Finished tiles of a job that was stopped, kept for the next run of the same job."""
