"""Tests of the settings and of finding the API key."""
