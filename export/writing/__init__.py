"""How the next token of a text is chosen: drawn, or by a search; the same numbers here and in apps."""
