"""An append-only record that a stranger can verify offline."""
