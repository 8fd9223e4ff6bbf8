"""Backends: where the bytes of games are kept. `base` says what a backend is."""
