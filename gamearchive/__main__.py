"""``python -m gamearchive``: the command line, without the script that installing puts on the path."""

import sys

from gamearchive.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
