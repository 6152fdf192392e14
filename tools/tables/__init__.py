"""The paper's tables as trainings: what they are, in which order they run, and what is written of them."""
