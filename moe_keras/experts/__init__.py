"""Layers that run all experts at once, and the products behind them."""
