"""The kinds of check: each looks at one thing."""
