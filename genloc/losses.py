"""The two losses of the paper: HEL (Eq. 9) and the mean squared error it replaces (Eq. 8); the language model's.

The first two take one value per keypoint, leave out what is not visible, and reduce alike. With ``"mean"``,
the mean over the visible keypoints of a crop, then the mean over the crops of the batch, a crop
without any visible keypoint counting 0. The divisor is the number of crops and nothing else, so
that one batch of 8 equals four batches of 2 with accumulated gradients. With ``"sum"`` (Eq. 5 sums
over the keypoints), the sum over the visible keypoints of a crop, then again the mean over crops.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Reduction = Literal["mean", "sum"]


class HEL(nn.Module):
    """Heatmap expectation loss: ``-log sum_j C[j] H*[j]``, from the log-expectation (Eq. 9).

    It is, up to a constant, the negative log-likelihood of the true point under a mixture of
    Gaussians centred on the cells with the map's values as weights. 0 is its minimum, reached by
    all mass on a cell at whose centre the point lies; a uniform map gives ``log(h * w / (2 pi
    sigma^2))``, 5.094 at 64x64 cells and sigma 2.

    Args:
        reduction: "mean" or "sum", see the module.

    Raises:
        ValueError: another reduction.
    """

    needs: Literal["log_expectation", "maps"] = "log_expectation"

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = _check_reduction(reduction)

    def forward(
        self,
        log_expectation: Tensor,  # [B, K]
        visible: Tensor,  # [B, K] bool
    ) -> Tensor:  # []
        """Loss of a batch.

        Args:
            log_expectation: ``[B, K]``, as ``GenLoc.log_expectation`` returns it.
            visible: ``[B, K]`` bool, False for keypoints that are not labelled or outside the crop.

        Returns:
            Scalar of log_expectation's dtype; 0 with zero gradients for an empty batch.

        Raises:
            TypeError, ValueError: the argument, what came, what was expected.
        """
        if log_expectation.dim() != 2:
            raise ValueError(
                f"log_expectation: expected shape [B, K], got {tuple(log_expectation.shape)}"
            )
        _check_visible(visible, log_expectation.shape)
        return _reduce(-log_expectation, visible, self.reduction)


class HeatmapMSE(nn.Module):
    """Squared L2 distance between map and target heatmap, as Eq. 8 prints it.

    Per keypoint ``sum_j (C[j] - H*[j])^2``, summed and not averaged over the cells; its gradient is
    ``-2 (H* - C)``. ``C`` sums to 1 while ``H*`` is an unnormalised Gaussian with peak 1, so the
    minimum is not 0: the paper compares exactly this with HEL.

    Args:
        reduction: "mean" or "sum", see the module.

    Raises:
        ValueError: another reduction.
    """

    needs: Literal["log_expectation", "maps"] = "maps"

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = _check_reduction(reduction)

    def forward(
        self,
        maps: Tensor,  # [B, K, h, w]
        target: Tensor,  # [B, K, h, w]
        visible: Tensor,  # [B, K] bool
    ) -> Tensor:  # []
        """Loss of a batch.

        Args:
            maps: ``[B, K, h, w]``, predicted.
            target: ``[B, K, h, w]``, as ``genloc.codecs.heatmap.gaussian_target`` gives it.
            visible: ``[B, K]`` bool, False for keypoints that are not labelled or outside the crop.

        Returns:
            Scalar of maps' dtype; 0 with zero gradients for an empty batch.

        Raises:
            TypeError, ValueError: the argument, what came, what was expected.
        """
        if maps.dim() != 4 or maps.shape != target.shape:
            raise ValueError(
                f"maps, target: expected two equal shapes [B, K, h, w], "
                f"got {tuple(maps.shape)} and {tuple(target.shape)}"
            )
        _check_visible(visible, maps.shape[:2])
        # Left out before squaring: the gradient of a square is 0 * NaN where the map is NaN.
        difference = (maps - target).where(visible[..., None, None], 0)
        return _reduce(difference.square().sum((-2, -1)), visible, self.reduction)


class AnswerLoss(nn.Module):
    """Cross-entropy of the next token, on the tokens of answers alone (LocLLM).

    The mean over the answer tokens of a crop, then the mean over the crops of the batch, a crop without
    a question counting 0: accumulation changes nothing, as for the other losses.
    """

    needs: Literal["answers"] = "answers"
    ignored = -100

    def forward(
        self,
        logits: Tensor,  # [R, L, V]
        labels: Tensor,  # [R, L] int64
        owner: Tensor,  # [R] int64
        crops: int,
    ) -> Tensor:  # []
        """Loss of a batch.

        Args:
            logits: ``[R, L, V]`` of R texts.
            labels: ``[R, L]``, the token that comes, or -100 where it is no part of an answer.
            owner: ``[R]``, the crop that each text is about, 0 to ``crops - 1``.
            crops: B.

        Raises:
            ValueError: shapes that do not fit.
        """
        if logits.shape[:-1] != labels.shape or owner.shape != labels.shape[:1]:
            raise ValueError(
                f"logits, labels, owner: expected [R, L, V], [R, L] and [R], got {tuple(logits.shape)}, "
                f"{tuple(labels.shape)} and {tuple(owner.shape)}"
            )
        learned = labels != self.ignored
        # Chosen before the softmax: what is left out may be infinite or NaN, and must not leak.
        surprise = F.cross_entropy(logits[learned].float(), labels[learned], reduction="none")
        of = owner[:, None].expand_as(labels)[learned]
        total = surprise.new_zeros(crops).index_add(0, of, surprise)
        count = torch.bincount(of, minlength=crops).clamp_min(1)
        return (total / count).sum() / max(1, crops)


def _check_reduction(reduction: Reduction) -> Reduction:
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction: expected "mean" or "sum", got {reduction!r}')
    return reduction


def _check_visible(visible: Tensor, shape: torch.Size) -> None:
    if visible.dtype != torch.bool:
        raise TypeError(f"visible: expected a bool tensor, got {visible.dtype}")
    if visible.shape != shape:
        raise ValueError(
            f"visible: expected shape [B, K] = {list(shape)}, got {list(visible.shape)}"
        )


def _reduce(value: Tensor, visible: Tensor, reduction: Reduction) -> Tensor:
    """``value`` ``[B, K]`` -> scalar, over the visible keypoints and then over all crops."""
    # where, not a product: what is left out may be infinite or NaN, and must not leak.
    per_crop = value.where(visible, 0).sum(1)
    if reduction == "mean":
        per_crop = per_crop / visible.sum(1).clamp_min(1)
    return per_crop.sum() / max(1, value.shape[0])
