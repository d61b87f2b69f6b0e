"""The Processing provider: one algorithm per card."""
