"""gamearchive keeps finished games: compact packs, a catalog to find them by, and their exact bytes back."""
