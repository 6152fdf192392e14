"""How good located keypoints are. Import the modules themselves."""
