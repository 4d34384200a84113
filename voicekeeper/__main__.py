"""``python -m voicekeeper`` is the ``voicekeeper`` command."""

from voicekeeper.cli import main

if __name__ == "__main__":
    main()
