"""BOP's csv: a line written by hand means what it says, ours come back exactly, wrong ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoirecon.data.datasets.bop import BopPose, read_bop, write_bop
from hoirecon.errors import InputError
from hoirecon.pose import ObjectPose

HEAD = "scene_id,im_id,obj_id,score,R,t,time\n"
LINE = "2,17,5,0.75,0 -1 0 1 0 0 0 0 1,100 -200.5 1500,0.25\n"


def test_a_line_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "cosy_behave-test.csv"
    path.write_text(HEAD + LINE)
    (row,) = read_bop(path)
    assert (row.scene_id, row.im_id, row.obj_id, row.score, row.time) == (2, 17, 5, 0.75, 0.25)
    assert np.allclose(row.pose.apply([1.0, 0, 0]), [0.1, 0.7995, 1.5])  # a quarter turn takes x to y; metres


def test_ours_come_back_exactly(tmp_path: Path) -> None:
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    poses = [
        BopPose.of(ObjectPose(Rotation.random(random_state=k).as_matrix(), [0, 0, 1] + rng.normal(size=3) / 9), 1, k, 3,
                   float(rng.random()), 0.5)
        for k in range(5)
    ]  # fmt: skip
    path = tmp_path / "ours_behave-test_v2.csv"
    write_bop(poses, path)
    for said, true in zip(read_bop(path), poses, strict=True):
        assert np.array_equal(said.R, true.R)
        assert np.array_equal(said.t_mm, true.t_mm)
        assert (said.score, said.time, said.im_id) == (true.score, true.time, true.im_id)
    with pytest.raises(InputError, match="METHOD_DATASET-SPLIT"):
        write_bop(poses, tmp_path / "ours.csv")
    with pytest.raises(InputError, match="no scale"):
        BopPose.of(ObjectPose(np.eye(3), [0, 0, 1], 1.1), 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scene_id,obj_id,im_id,score,R,t,time\n" + LINE, "in this order"),
        (HEAD + "2,17,5,0.75,1 0 0 0 1 0 0 0,1 2 1500,1\n", "line 2: R has 8 numbers"),
        (HEAD + "2,17,5,0.75,1 0 0 0 1 0 0 0 -1,1 2 1500,1\n", "line 2: .*left-handed"),
        (HEAD + "2,17,5,0.75,1 0 0 0 1 0 0 0 1,0.1 0.2 1.5,1\n", "in metres"),
        (HEAD + "2,17,5,nan,1 0 0 0 1 0 0 0 1,1 2 1500,1\n", "finite"),
        (HEAD + "2,17,5,0.75,1 0 0 0 1 0 0 0 1,1 2 nan,1\n", "NaN"),
        (HEAD + "a,17,5,0.75,1 0 0 0 1 0 0 0 1,1 2 1500,1\n", "line 2"),
        (HEAD + LINE + LINE.replace(",0.25", ",0.5"), "two times"),
        (HEAD + "2,17\n", "2 columns"),
        ("", "begins with 'nothing'"),
    ],
)
def test_wrong_lines_are_named(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a_b-test.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_bop(path)
