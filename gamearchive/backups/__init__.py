"""What a backup is, and where backups lie; how they are made, checked and put back is in `operations`."""
