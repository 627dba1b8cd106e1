"""How near calibrations of simulated recordings come to the truth, over many seeds. No test itself.

    python test/calibration/bench_seeds.py --seeds 20 [--cloud] [--charuco] [--moving 6] [--out FILE.json]

Each seed has another error of the claimed camera (2 to 5 cm along and 1.5 to 4 degrees about each axis), other board poses and
other noise: 1 cm of the LiDAR, 3/255 of the camera, whose lens distorts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
from board_drive import CHARUCO, CHESSBOARD, board_poses, record, robot

from mm_nav.calibration.calibrate import calibrate
from mm_nav.errors import MmNavError


def one_seed(seed, folder, args):
    """Return errors (6,) in degrees and cm, and their standard deviations, of one recording."""
    board = CHARUCO if args.charuco else CHESSBOARD
    truth = robot(seed, cloud=args.cloud, samples=1, board=board)
    rng = np.random.default_rng([seed, 7])
    poses = board_poses(rng, args.poses, near=1.1, far=2.2)
    late = int(rng.uniform(-40e6, 40e6)) if args.moving else 0
    path = record(folder / f"{seed}", truth, poses, frames=5, seed=seed, moving=args.moving, late_ns=late)
    begin = time.perf_counter()
    found = calibrate(path, board)
    took = time.perf_counter() - begin
    pose, true, s = found.solution.lidar_T_camera, truth.lidar_T_camera, found.solution.deviation
    turn = Rotation.from_matrix(pose[:3, :3] @ true[:3, :3].T).as_rotvec()
    return {
        "seed": seed, "views": int(found.solution.used.sum()), "seconds": took,
        "error": [*np.degrees(turn), *(100 * (pose[:3, 3] - true[:3, 3]))],
        "sigma": [*np.degrees(s[:3]), *(100 * s[3:6])],
        "claimed_cm": 100 * float(np.linalg.norm(found.claimed[:3, 3] - true[:3, 3])) if found.claimed is not None else None,
        "offset_error_ms": 1e3 * found.solution.offset_s - late / 1e6, "offset_sigma_ms": 1e3 * s[6],
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--poses", type=int, default=16)
    parser.add_argument("--moving", type=int, default=0)
    parser.add_argument("--cloud", action="store_true")
    parser.add_argument("--charuco", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(args.first, args.first + args.seeds):
            try:
                rows.append(one_seed(seed, Path(scratch), args))
            except MmNavError as error:
                print(f"seed {seed}: {error}")
                continue
            print(json.dumps(rows[-1]), flush=True)
    error, sigma = np.array([r["error"] for r in rows]), np.array([r["sigma"] for r in rows])
    shift, turn = np.linalg.norm(error[:, 3:], axis=1), np.linalg.norm(error[:, :3], axis=1)
    summary = {
        "seeds": len(rows), "failed": args.seeds - len(rows),
        "mean_cm": shift.mean(), "max_cm": shift.max(), "mean_deg": turn.mean(), "max_deg": turn.max(),
        "rms_by_axis_deg_cm": np.sqrt((error**2).mean(axis=0)).round(3).tolist(),
        "within_2_sigma": float((np.abs(error) < 2 * sigma).mean()),
        "within_1_sigma": float((np.abs(error) < sigma).mean()),
        "seconds": float(np.mean([r["seconds"] for r in rows])),
    }  # fmt: skip
    if args.moving:
        off = np.array([[r["offset_error_ms"], r["offset_sigma_ms"]] for r in rows])
        summary["offset_rms_ms"] = float(np.sqrt((off[:, 0] ** 2).mean()))
        summary["offset_within_2_sigma"] = float((np.abs(off[:, 0]) < 2 * off[:, 1]).mean())
    print(json.dumps(summary, indent=1))
    if args.out is not None:
        args.out.write_text(json.dumps({"summary": summary, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
