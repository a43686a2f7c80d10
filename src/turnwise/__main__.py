"""`python -m turnwise` is the command line."""

from .frontends.cli.main import main

if __name__ == "__main__":
    main()
