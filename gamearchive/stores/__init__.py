"""Objects by key: where packs and dictionaries lie as plain bytes, on whatever keeps them.

A store knows keys and bytes, and nothing of games, catalogs or queues. `base` is the contract, `registry` finds the store
that a URL means.
"""
