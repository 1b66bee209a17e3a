"""What a run tells: results, the report, the model card, tracking."""
