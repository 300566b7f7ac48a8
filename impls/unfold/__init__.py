"""Windows in two dimensions, and convolution."""
