"""One module a command, each with its `typer.Typer` named ``app``; `gamearchive.cli.app` has the list of them."""
