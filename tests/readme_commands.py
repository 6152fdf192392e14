"""How each command of the README is run by its test: as it stands (""), or in a reduced form."""

from __future__ import annotations

SOURCE = "--model.model.init_args.prior.init_args.source"
# Small crops and a random net of Stable Diffusion's make instead of an hour with the real one.
SMALL = "--data.crop_size 64 --data.batch_size 2 --data.effective_batch 2 --data.num_workers 0"
QUICK = f"{SOURCE} prior {SMALL}"
ONE_STEP = f"{QUICK} --trainer.fast_dev_run 1"

# README's command -> what is run for it; "" means: as it stands.
RUN_AS = {
    "bash tools/quickstart": f"bash tools/quickstart --trainer.max_epochs 1 {QUICK}",
    "bash tools/quickstart --trainer.max_epochs 3": f"bash tools/quickstart --trainer.max_epochs 3 {SMALL}",
    "bash tools/test": "bash tools/test --no-lint --collect-only -q tests/test_conftest.py",
    "source .venv/bin/activate": "",
    "genloc fit --config configs/ap10k.yaml --data.root data/ap10k": (
        f"genloc fit --config configs/ap10k.yaml --data.root data/ap10k {ONE_STEP}"
    ),
    "genloc test --config configs/ap10k.yaml --data.root data/ap10k": (
        f"genloc test --config configs/ap10k.yaml --data.root data/ap10k {ONE_STEP} --ckpt_path none"
    ),
    "genloc fit --config configs/ap10k.yaml --config configs/ablation/mse.yaml "
    "--config configs/ablation/ten_epochs.yaml --data.root data/ap10k": (
        "genloc fit --config configs/ap10k.yaml --config configs/ablation/mse.yaml "
        f"--config configs/ablation/ten_epochs.yaml --data.root data/ap10k {ONE_STEP}"
    ),
    "genloc evaluate results.json data/ap10k/annotations/ap10k-val-split1.json --skeleton ap10k": "",
    "genloc split few-shot data/ap10k/annotations/ap10k-train-split1.json --shots 5 --seed 0 "
    "--out data/splits/shots_5.json": "",
    "genloc split zero-shot data/ap10k/annotations --train Bovidae --test Canidae "
    "--out data/splits/bovidae_canidae.json": "",
    "genloc fit --config configs/ap10k.yaml --config configs/protocol/scarcenet.yaml "
    "--config configs/ablation/ten_epochs.yaml --data.least_steps 46 "
    "--data.root data/ap10k --data.split data/splits/shots_5.json --name shots_5": (
        "genloc fit --config configs/ap10k.yaml --config configs/protocol/scarcenet.yaml "
        "--config configs/ablation/ten_epochs.yaml --data.least_steps 46 "
        f"--data.root data/ap10k --data.split data/splits/shots_5.json --name shots_5 {ONE_STEP}"
    ),
    "genloc fit --config configs/ap10k.yaml --config configs/protocol/zero_shot.yaml "
    "--data.root data/ap10k --data.split data/splits/bovidae_canidae.json --name bovidae_canidae": (
        "genloc fit --config configs/ap10k.yaml --config configs/protocol/zero_shot.yaml --data.root data/ap10k "
        f"--data.split data/splits/bovidae_canidae.json --name bovidae_canidae {ONE_STEP}"
    ),
    "genloc fit --config configs/zoo.yaml --data.split configs/splits/zoo/few_shot_5_seed_0.json "
    "--name zoo_shots_5": (  # the kept splits are of a larger zoo than the one here, and refused
        "genloc fit --config configs/zoo.yaml --data.root data/ap10k --data.split data/splits/shots_5.json "
        f"--name zoo_shots_5 {ONE_STEP}"
    ),
    "genloc zoo data/zoo_cartoon --style cartoon": (
        "genloc zoo data/drawn --style cartoon --per-species 3 --size 64 --workers 1"
    ),
    "genloc fit --config configs/zoo.yaml --data.split configs/splits/zoo/photo_to_cartoon.json "
    "--data.test.annotations ../zoo_cartoon/annotations/ap10k-test-split1.json "
    "--data.test.images ../zoo_cartoon/data --name photo_to_cartoon": (
        "genloc fit --config configs/zoo.yaml --data.root data/ap10k --data.split data/splits/photo_to_cartoon.json "
        "--data.test.annotations ../zoo_cartoon/annotations/ap10k-test-split1.json "
        f"--data.test.images ../zoo_cartoon/data --name photo_to_cartoon {ONE_STEP}"
    ),
    "genloc fit --config configs/zoo.yaml --config configs/words/text.yaml --name words": (
        "genloc fit --config configs/zoo.yaml --config configs/words/text.yaml --name words "
        f"--data.root data/ap10k {ONE_STEP}"
    ),
    "genloc fit --config configs/zoo.yaml --config configs/words/text.yaml "
    "--config configs/words/held_out.yaml --data.split configs/splits/zoo/held_out.json "
    "--name words_held_out": (
        "genloc fit --config configs/zoo.yaml --config configs/words/text.yaml "
        "--config configs/words/held_out.yaml --data.split data/splits/held_out.json "
        f"--name words_held_out --data.root data/ap10k {ONE_STEP}"
    ),
    "genloc fit --config configs/coco.yaml --config configs/words/text.yaml --name coco_words": (
        "genloc fit --config configs/coco.yaml --config configs/words/text.yaml --name coco_words "
        f"{ONE_STEP}"
    ),
    "genloc import data/mpii/mpii_human_pose_v1_u12_1.mat data/mpii/labels.json": (
        "genloc import mine/mpii.json mine/mpii_labels.json"
    ),
    "python -m benchmarks.elsewhere --adapter runs/coco_words/adapter --descriptions mpii "
    "--annotations data/mpii/labels.json --images data/mpii --ask pelvis upper_neck": (
        "python -m benchmarks.elsewhere --adapter runs/told/adapter --descriptions mpii "
        "--annotations data/mpii/labels.json --images data/mpii/images --ask left_wrist upper_neck"
    ),
    "genloc split few-shot data/ap10k/annotations/ap10k-train-split1.json "
    "--shots 5 10 15 20 25 --seeds 0 1 2 --out data/splits": "",
    "python tools/paper_tables.py --table 5 --on ap10k --splits data/splits --prior models/sd15": (
        "python tools/paper_tables.py --table 5 --on ap10k --splits data/splits --prior prior --dry-run"
    ),
    "genloc split zero-shot data/ap10k/annotations --table-6 --out data/splits": "",
    "python tools/paper_tables.py --table 6 --on ap10k --splits data/splits --prior models/sd15": (
        "python tools/paper_tables.py --table 6 --on ap10k --splits data/splits --prior prior --dry-run"
    ),
    "python tools/paper_tables.py --table 1 --on zoo --dry-run": (
        "python tools/paper_tables.py --table 1 --on zoo --dry-run --prior prior --root data/ap10k"
    ),
    "python tools/paper_tables.py --table 1 --on zoo --quick": (
        "python tools/paper_tables.py --table 1 --on zoo --quick --prior prior "
        "--rows 'CKHE = MSE loss' 'Only condition'"
    ),
    "genloc report runs/quickstart": "",
    "genloc zoo data/zoo": "genloc zoo data/zoo --per-species 3 --size 64 --workers 1",
    "genloc zoo data/categories --bodies all": (
        "genloc zoo data/bodies --bodies all --per-species 10 --size 48 --workers 1"
    ),
    "genloc fit --config configs/visual.yaml": f"genloc fit --config configs/visual.yaml {ONE_STEP}",
    "genloc test --config configs/visual.yaml": (
        f"genloc test --config configs/visual.yaml {ONE_STEP} --ckpt_path none"
    ),
    "genloc fit --config configs/visual.yaml --config configs/prior/sd15.yaml --config configs/visual/mp100.yaml": (
        "genloc fit --config configs/visual.yaml --config configs/prior/sd15.yaml --config configs/visual/mp100.yaml "
        f"--data.root data/categories {ONE_STEP}"
    ),
    "genloc fit --config configs/visual.yaml --config configs/prior/sd15.yaml --config configs/visual/mp100.yaml "
    "--data.train.annotations cross_category_annotations/fewshot_train_humanface.json --data.val null "
    "--data.test.annotations cross_category_annotations/fewshot_test_humanface.json --name mp100_humanface": (
        "genloc fit --config configs/visual.yaml --config configs/prior/sd15.yaml --config configs/visual/mp100.yaml "
        "--data.train.annotations cross_category_annotations/fewshot_train_humanface.json --data.val null "
        "--data.test.annotations cross_category_annotations/fewshot_test_humanface.json --name mp100_humanface "
        f"--data.root data/categories {ONE_STEP}"
    ),
    "genloc predict lake.jpg --adapter runs/visual/adapter --like heron.jpg --points heron.json": (
        "genloc predict lake.jpg --adapter runs/asked/adapter --like heron.jpg --points heron.json"
    ),
    "genloc fit --config configs/language.yaml": (
        f"genloc fit --config configs/language.yaml --data.root data/ap10k {ONE_STEP}"
    ),
    "genloc test --config configs/language.yaml": (
        f"genloc test --config configs/language.yaml --data.root data/ap10k {ONE_STEP} --ckpt_path none"
    ),
    "genloc fit --config configs/language.yaml --config configs/language/sd15.yaml "
    "--config configs/language/vicuna.yaml --data.root data/ap10k --name vicuna": (
        "genloc fit --config configs/language.yaml --config configs/language/sd15.yaml "
        f"--config configs/language/vicuna.yaml --data.root data/ap10k --name vicuna {ONE_STEP}"
    ),
    # The page itself runs in tests/app; here its command is understood.
    "genloc app --adapter runs/quickstart/adapter": "genloc app --adapter runs/made/adapter --help",
    "genloc predict clips/horse.mp4 --adapter runs/quickstart/adapter --track": (
        "genloc predict clips/horse.mp4 --adapter runs/made/adapter --track"
    ),
    "genloc predict data/ap10k/data --boxes data/ap10k/annotations/ap10k-val-split1.json "
    "--adapter runs/quickstart/adapter --out predictions/val": (
        "genloc predict data/ap10k/data --boxes data/ap10k/annotations/ap10k-val-split1.json "
        "--adapter runs/made/adapter --out predictions/val"
    ),
    "genloc evaluate predictions/val/results.json data/ap10k/annotations/ap10k-val-split1.json "
    "--skeleton ap10k": "",
    "genloc import mine/CollectedData.csv mine/labels.json": "",
    "genloc check mine/labels.json": "",
    "genloc fit --config configs/own_data.yaml --data.annotations mine/labels.json": (
        f"genloc fit --config configs/own_data.yaml --data.annotations mine/labels.json {ONE_STEP}"
    ),
    "genloc predict film.mp4 --adapter runs/own_data/adapter --zoom": (
        "genloc predict clips/horse.mp4 --adapter runs/made/adapter --zoom --out predictions/film"
    ),
    "genloc fit --config configs/own_data.yaml --config configs/prior/sd15.yaml "
    "--data.annotations mine/labels.json --name own_sd15": (
        "genloc fit --config configs/own_data.yaml --config configs/prior/sd15.yaml "
        f"--data.annotations mine/labels.json --name own_sd15 {ONE_STEP}"
    ),
    "genloc fit --config configs/own_data.yaml --data.annotations mine/annotations.json "
    "--data.skeleton mine/skeleton.yaml --name own_skeleton": (
        "genloc fit --config configs/own_data.yaml --data.annotations mine/annotations.json "
        f"--data.skeleton mine/skeleton.yaml --name own_skeleton {ONE_STEP}"
    ),
}
