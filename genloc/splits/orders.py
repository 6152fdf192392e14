"""The zoological order of each family of AP-10K; its annotation files say species and family only."""

from __future__ import annotations

ORDERS = {
    **dict.fromkeys(
        ("Bovidae", "Cervidae", "Giraffidae", "Hippopotamidae", "Suidae"), "Artiodactyla"
    ),
    **dict.fromkeys(
        ("Canidae", "Felidae", "Mephitidae", "Mustelidae", "Procyonidae", "Ursidae"), "Carnivora"
    ),
    **dict.fromkeys(("Castoridae", "Cricetidae", "Muridae", "Sciuridae"), "Rodentia"),
    **dict.fromkeys(("Cercopithecidae", "Hominidae"), "Primates"),
    **dict.fromkeys(("Equidae", "Rhinocerotidae"), "Perissodactyla"),
    "Elephantidae": "Proboscidea",
    "Leporidae": "Lagomorpha",
    "Talpidae": "Eulipotyphla",
    "Vespertilionidae": "Chiroptera",
}
"""Family -> order."""
