"""Forecasts of carbon intensity, price and GPU demand, with their uncertainty."""
