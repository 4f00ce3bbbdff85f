"""SD-LoRA (Wu et al. 2025): directions and magnitudes trained apart."""
