"""InfLoRA (Liang and Li 2024): adapters in directions that old tasks leave free."""
