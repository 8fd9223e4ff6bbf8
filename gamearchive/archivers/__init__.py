"""Where the work of archiving is done beside a game server: in threads of its process, or in a process of its own."""
