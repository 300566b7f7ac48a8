"""The old place of `opjury.judge`. It goes with the next release."""
