"""`python -m partial_embed`: the command `partial-embed`."""

from partial_embed.command.main import main

if __name__ == "__main__":
    main()
