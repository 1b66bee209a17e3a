"""What app teams receive, and check."""
