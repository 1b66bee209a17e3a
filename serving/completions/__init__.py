"""OpenAI's API of completions, of the language models that a server has."""
