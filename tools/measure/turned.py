"""How often a photo is read the right way up, as it is and turned by 90, 180 and 270 degrees.

    python tools/measure/turned.py LFW CELEBA        # → docs/results/turned.json

Each folder holds photos that are upright, in any folders below it. Some heads in them are not: people lie on the
beach. A photo counts as read rightly if its central face is upright where the photo is; one without a face does not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facerec._files import ROOT, write_json
from facerec.detection import detect_faces_batch, pick_face
from facerec.errors import BadArgument, run
from facerec.photos import load_image

AT_ONCE = 32


def read_rightly(files: Sequence[Path], turn: int) -> int:
    """How many of these photos are read the right way up, if each must be turned by ``turn`` degrees clockwise."""
    right = 0
    for start in tqdm(range(0, len(files), AT_ONCE), desc=f"turned by {turn}°", unit="batch"):
        photos = [np.rot90(load_image(file), turn // 90) for file in files[start : start + AT_ONCE]]
        photos = [np.ascontiguousarray(photo) for photo in photos]
        found = detect_faces_batch(photos)
        right += sum(pick_face(f, p, "central")["turn"] == turn for f, p in zip(found, photos, strict=True) if f)
    return right


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--photos", type=int, default=1000, help="how many of each folder, drawn at random")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "turned.json")
    args = parser.parse_args()
    result = {"command": "python tools/measure/turned.py LFW CELEBA", "folders": {}}
    for folder in args.folders:
        files = sorted(folder.rglob("*.jpg"))
        if not files:
            raise BadArgument(f"{folder} holds no .jpg files")
        chosen = np.random.default_rng(0).permutation(len(files))[: args.photos]
        chosen = [files[row] for row in sorted(chosen)]
        right = {str(turn): read_rightly(chosen, turn) for turn in (0, 90, 180, 270)}
        result["folders"][folder.name] = {"photos": len(chosen), "read_rightly": right}
    write_json(args.to, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    run(main)
