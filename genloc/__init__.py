"""GenLoc: keypoints of animals and people with the prior of an image generator.

"The paper", wherever it is named, is D. Wang, J. Duan, L. Wen, S. Xuan, H. Chen and S. Zhang, "Generalizable Object
Keypoint Localization from Generative Priors", CVPR 2025, pages 20265 to 20274.

Importing this package imports nothing heavy; ask for the parts by their modules, such as
``genloc.models.genloc`` for the model.
"""

__version__ = "0.1.0"
