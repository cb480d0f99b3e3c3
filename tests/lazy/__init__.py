"""How long real pullers take from nothing to a started image, and what they fetch."""
