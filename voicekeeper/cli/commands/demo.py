"""``voicekeeper demo``: four voices live and die in a minute."""

import click

from voicekeeper import demo


@click.command
def demo_command() -> None:
    """Watch four voices live and die in a minute, without a key.

    The sandbox stands in for the gateway, with a window of 20 seconds
    instead of 7 days, and the real daemon keeps three of four voices.
    Nothing leaves this machine, nothing costs money, and nothing stays
    behind; your own configuration and registry are not touched.

    It exits with 0 if the three are alive after three windows and the
    fourth was deleted, else with 1.
    """
    demo.run(click.echo)
