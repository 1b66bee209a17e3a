"""What carries a run out: workers, the store of artifacts, records of runs, journals, the code version, the display."""
