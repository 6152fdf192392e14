"""The paper's own numbers, to stand beside a run on the real data; never beside the zoo's.

Rows of Tables 1 to 3 and 4 are in the order of the scores, those of Table 5 in the order of the shots, those of
Table 6 by pair. Rows that are not run here (other people's methods) are shown with the paper's numbers alone.
"""

from __future__ import annotations

from genloc.splits import TABLE_6

METRICS: dict[str, dict[str, tuple[float | None, ...]]] = {
    "1": {  # AP, AP50, AP75, APM, APL on AP-10K after 10 epochs
        "Cross Attention": (60.9, 92.3, 65.8, 49.7, 61.2),
        "CKHE = MSE loss": (70.7, 94.3, 78.5, 53.4, 71.0),
        "HEL = + LoRA = no noise": (73.3, 96.8, 80.9, 55.1, 73.7),
        "Only condition": (60.1, 93.1, 64.6, 37.9, 60.7),
        "noise t=601": (15.4, 41.3, 8.5, 7.0, 15.7),
        "noise t=21": (71.3, 94.9, 79.0, 57.1, 71.6),
    },
    "2": {  # AP, AP50, AP75, APM, APL on AP-10K after 100 epochs
        "GenLoc": (80.1, 97.3, 87.6, 59.3, 80.5),
        "SimplePose": (69.9, None, None, None, None),
        "Hourglass": (72.9, None, None, None, None),
        "HRFormer-B": (73.5, None, None, None, None),
        "RTMPose": (72.2, 93.9, 78.8, 56.9, 72.8),
        "CLAMP-B": (74.3, None, None, None, None),
        "CLAMP-L": (77.8, None, None, None, None),
    },
    "3": {  # AP, AP50, AP75, APM, APL, AR on COCO val
        "GenLoc": (77.6, 94.6, 85.7, 74.8, 82.6, 80.7),
        "SimplePose": (74.4, 92.6, 82.5, 71.5, 79.2, 77.6),
        "ViT": (77.4, 93.6, 84.8, 74.7, 81.9, 80.2),
        "DeepPose": (53.8, 82.6, 59.2, 52.2, 57.3, 66.8),
        "RLE": (74.0, 91.5, 81.6, 70.9, 78.5, 76.8),
        "HRNet": (76.8, 93.6, 83.6, 74.0, 81.5, 79.6),
        "SimCC": (76.5, 93.2, 83.1, 73.6, 81.5, 79.7),
    },
    "4": {  # AP, AP50, AP75, APM, APL, AR on Human-Art, trained on COCO; the last AR is not legible
        "GenLoc": (67.0, 87.9, 72.5, 43.2, 69.9, None),
        "SimplePose": (48.4, 73.0, 50.7, 27.2, 50.7, 52.8),
        "ViT": (53.8, 77.9, 57.4, 31.4, 56.6, 58.7),
        "SimCC": (51.7, 75.2, 54.8, 26.2, 54.3, 57.0),
        "HRNet": (53.4, 76.3, 56.5, 30.4, 55.9, 57.5),
        "LocLLM": (64.8, 87.4, 70.4, 40.9, 67.4, 69.3),
    },
}

SHOTS: dict[str, tuple[float, ...]] = {  # AP with 5, 10, 15, 20, 25 shots on AP-10K's test set
    "GenLoc": (62.8, 66.8, 68.8, 69.2, 71.1),
    "UDA": (42.9, 51.9, 56.6, 58.0, 62.8),
    "FixMatch": (47.8, 54.4, 58.9, 60.1, 63.1),
    "FlexMatch": (46.6, 55.5, 59.6, 61.8, 64.6),
    "ScarceNet": (53.3, 59.7, 63.2, 65.4, 68.1),
    "HRNet": (36.0, 46.3, 51.1, 54.7, 58.8),
}

PAIR_SCORES = ("AP", "AP50", "AP75", "AR")
PAIRS: dict[str, tuple[tuple[float, float, float, float], ...]] = {  # AP, AP50, AP75, AR of each pair
    "SimplePose": (
        (41.3, 79.4, 36.4, 49.1), (41.9, 71.8, 40.3, 46.6), (22.0, 52.4, 15.0, 28.4),
        (39.6, 74.1, 34.5, 46.6), (16.1, 41.7, 10.1, 26.0), (20.5, 43.9, 16.6, 25.3),
    ),
    "CLAMP": (
        (46.9, 84.4, 45.6, 53.8), (46.6, 75.6, 47.5, 51.2), (28.7, 67.6, 18.9, 36.3),
        (48.4, 85.7, 44.0, 55.1), (22.0, 51.1, 14.1, 31.6), (28.4, 59.1, 23.1, 34.1),
    ),
    "GenLoc": (
        (72.8, 97.4, 82.4, 75.8), (76.0, 95.7, 83.1, 80.7), (64.3, 94.7, 69.2, 69.2),
        (73.4, 95.8, 80.9, 77.4), (50.2, 84.2, 51.0, 55.8), (61.2, 85.4, 61.5, 66.0),
    ),
}  # fmt: skip


def paper_numbers(
    table: str, set_name: str, columns: tuple[str, ...], scores: tuple[str, ...]
) -> dict[str, dict[str, dict[str, float]]]:
    """Row -> column -> score -> the paper's number, 0 to 100; empty on the zoo.

    Args:
        table, set_name: of the definitions. columns, scores: the table's, by name.
    """
    if set_name == "zoo":
        return {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    if table in METRICS:
        for row, values in METRICS[table].items():
            known = {s: v for s, v in zip(scores, values, strict=True) if v is not None}
            # The paper does not say whether Tables 1 and 2 are on val or on test.
            found[row] = dict.fromkeys(columns, known)
    elif table == "5":
        for row, shots in SHOTS.items():
            found[row] = {c: {"AP": v} for c, v in zip(columns, shots, strict=False)}
    elif table in ("6", "words"):
        names = [f"{a} to {b}" for a, b in TABLE_6]
        for row, pairs in PAIRS.items():
            found[row] = {
                name: dict(zip(PAIR_SCORES, values, strict=True))
                for name, values in zip(names, pairs, strict=True)
                if name in columns
            }
    return found
