"""Tests of the log, of what it never holds, and of readers that stand still."""
