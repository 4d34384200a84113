"""Tests of the gateway's client."""
