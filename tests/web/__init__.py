"""The ports: what they show, and what they survive."""
