"""``python -m vballoond``: the same as the ``vballoond`` command."""

from .cli.entry import main

if __name__ == "__main__":
    main()
