"""`genloc report`: what a run's results say, on one HTML page. Needs matplotlib (extra `report`)."""
