"""The command ``ham``."""
