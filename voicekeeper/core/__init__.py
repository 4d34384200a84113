"""The rules: values and ``now`` in, a decision out; and the words that all rooms share."""
