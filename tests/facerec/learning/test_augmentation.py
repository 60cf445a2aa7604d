"""The named augmentations, and the degradations of photographs."""

import numpy as np
import pytest

from facerec.learning.augmentation import AUGMENTATIONS, DEGRADATIONS, augment, degrade
from tests.facerec.learning.toys import make_face


def test_named_augmentations_do_what_they_are_called():
    face = np.random.default_rng(0).uniform(0.3, 0.7, (4, 4, 3)).astype(np.float32)
    changed = {name: np.asarray(change(face)) for name, change in AUGMENTATIONS.items()}
    assert len(changed) == 9
    spread, colour = face.std(axis=(0, 1)).mean(), face.std(axis=2).mean()
    np.testing.assert_allclose(changed["brighter"], np.clip(face + 0.2, 0, 1), atol=1e-6)
    np.testing.assert_allclose(changed["darker"], np.clip(face - 0.2, 0, 1), atol=1e-6)
    assert changed["more contrast"].std(axis=(0, 1)).mean() > 1.3 * spread
    assert changed["less contrast"].std(axis=(0, 1)).mean() == pytest.approx(0.6 * spread, rel=1e-4)
    np.testing.assert_array_equal(changed["flipped"], face[:, ::-1])
    assert changed["more saturated"].std(axis=2).mean() == pytest.approx(1.6 * colour, rel=0.05)
    assert changed["less saturated"].std(axis=2).mean() == pytest.approx(0.4 * colour, rel=1e-4)
    np.testing.assert_allclose(changed["flipped, brighter"], np.clip(face[:, ::-1] + 0.15, 0, 1), atol=1e-6)
    assert changed["darker, less contrast"].mean() == pytest.approx(face.mean() - 0.15, abs=1e-3)
    assert all(c.shape == face.shape and c.min() >= 0 and c.max() <= 1 for c in changed.values())


def test_augment_puts_nine_variations_after_every_face():
    faces = np.random.default_rng(0).uniform(0, 1, (3, 8, 8, 3)).astype(np.float32)
    varied = augment(faces)
    assert varied.shape == (30, 8, 8, 3)
    np.testing.assert_array_equal(varied[::10], faces)
    np.testing.assert_allclose(varied[15], faces[1][:, ::-1], atol=1e-6)


@pytest.mark.parametrize("change", [change for _, change in DEGRADATIONS], ids=lambda c: c.__name__)
def test_each_degradation_returns_a_changed_picture_and_keeps_the_original(change):
    face = make_face(np.random.default_rng(0))[:96, :96]
    before = face.copy()
    for seed in range(5):
        changed = change(face, np.random.default_rng(seed))
        assert changed.shape == face.shape and changed.dtype == np.uint8
    assert (changed != before).any()
    np.testing.assert_array_equal(face, before)


def test_degrade_depends_on_the_seed_alone():
    face = make_face(np.random.default_rng(0))
    once, again = (degrade(face, np.random.default_rng(4), 2.0) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(degrade(face, np.random.default_rng(4), 0.0), face)
