"""``python -m vballoond``: the same as the ``vballoond`` command."""

from .cli.main import main

if __name__ == "__main__":
    main()
