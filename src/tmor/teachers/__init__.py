"""The frozen encoders, E_V and E_T."""
