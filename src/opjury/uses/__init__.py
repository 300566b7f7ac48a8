"""The three uses: audit, choose, track."""
