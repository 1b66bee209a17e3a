"""A recipe: its schema, its file, its gates."""
