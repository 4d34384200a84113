"""voicekeeper keeps custom voices alive on the APIXO gateway.

The gateway deletes a custom voice that no speech call has used for seven consecutive days.
voicekeeper holds a team's voices in a registry, follows each one, and uses each one in time.
"""

__version__ = "0.1.0"
