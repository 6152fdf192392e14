"""GenLoc: keypoints of animals and people with the prior of an image generator.

Importing this package imports nothing heavy; ask for the parts by their modules, such as
``genloc.models.genloc`` for the model.
"""

__version__ = "0.1.0"
