"""How fast is this machine at this work? `games` makes up games, `measure` puts them through an archive of its own."""
