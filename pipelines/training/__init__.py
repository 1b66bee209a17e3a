"""The training loop and what recipes can choose for it."""
