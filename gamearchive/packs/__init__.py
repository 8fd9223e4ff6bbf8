"""Packs: many games in one immutable, compressed file, and the dictionaries they are compressed with."""
