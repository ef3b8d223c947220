"""``python -m fa_repro`` is ``fa-repro``."""

from fa_repro.cli import main

if __name__ == "__main__":
    main()
