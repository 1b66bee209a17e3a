"""Conversations as text: templates, what of a text they make, and how engines are told of them."""
