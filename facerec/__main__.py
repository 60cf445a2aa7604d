"""The command line: ``python -m facerec``, or ``facerec``. The commands are in ``facerec.command``."""

from facerec.command.app import main

if __name__ == "__main__":
    main()
