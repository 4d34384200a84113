"""What users' scripts and dashboards depend on, pinned in files; see `pinned`."""
