"""The units of ``systemd/`` under a real systemd, on a machine that is thrown away."""
