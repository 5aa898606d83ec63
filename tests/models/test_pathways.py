"""Pathways: each closed form against automatic differentiation of the matrix alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.pathways import CASES, moved_pathway

from gramdyn._errors import InputError
from gramdyn.kernels import as_matrix, orthogonal_conjugate, orthogonal_forward
from gramdyn.models import PATHWAYS, convolving_pathways, make_pathway
from gramdyn.models.orthogonal_pathways import cayley, cayley_at
from gramdyn.models.pathway import generic_kernel, split

# float64 rounding of sums of some dozen terms; measured worst 2e-15.
RTOL = 1e-12
N_SAMPLES, N_OUTPUTS = 5, 2


def close(found, wanted, rtol=RTOL):
    scale = float(jnp.max(jnp.abs(wanted))) + 1e-300
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * scale)


def rows(n_out, n_in):
    keys = jax.random.split(jax.random.key(9), 3)
    act = jax.random.normal(keys[0], (N_SAMPLES, n_in))
    sens = jax.random.normal(keys[1], (N_SAMPLES, N_OUTPUTS, n_out))
    return act, sens, jax.random.normal(keys[2], (N_SAMPLES, n_out))


def test_every_pathway_has_a_case():
    assert {kind for kind, *_ in CASES} == set(PATHWAYS)


@pytest.mark.parametrize("case", CASES, ids=str)
class TestCases:
    def test_products_are_those_of_the_matrix(self, case):
        pathway = moved_pathway(*case)
        matrix = pathway.matrix()
        act, sens, _ = rows(*matrix.shape)
        close(pathway(act), act @ matrix.T)
        close(pathway.pull(sens), sens @ matrix)

    def test_kernel_is_that_of_the_derivatives_of_the_matrix(self, case):
        pathway = moved_pathway(*case)
        act, sens, _ = rows(*pathway.matrix().shape)
        found = eqx.filter_jit(type(pathway).kernel)(pathway, act, sens)
        close(found, generic_kernel(pathway, act, sens))

    def test_own_field_laws_are_those_of_the_induced_metric(self, case):
        pathway = moved_pathway(*case)
        act, sens, drive = rows(*pathway.matrix().shape)
        moved = pathway.moved(drive.T @ act)
        trained, rest = split(pathway)
        matrix = lambda own: eqx.combine(own, rest).matrix()  # noqa: E731
        slopes = jax.jacfwd(matrix)(trained) if jax.tree.leaves(trained) else ()
        flat = [leaf.reshape(moved.size, -1) for leaf in jax.tree.leaves(slopes)]
        wanted = sum((one @ (one.T @ (drive.T @ act).ravel()) for one in flat), 0.0 * moved.ravel())
        close(moved, wanted.reshape(moved.shape))
        close(pathway.learn_pre(2.0 * act, act, drive), 2.0 * act @ moved.T)
        close(pathway.learn_conj(sens, act, drive), sens @ moved)

    def test_lipschitz_bound_is_the_largest_singular_value(self, case):
        pathway = moved_pathway(*case)
        wanted = np.linalg.svd(pathway.matrix(), compute_uv=False)[0]
        np.testing.assert_allclose(pathway.lipschitz(), wanted, rtol=1e-12)

    def test_frozen_arrays_are_no_part_of_what_trains(self, case):
        pathway = moved_pathway(*case)
        trained, rest = split(pathway)
        for name in pathway.frozen:
            part = pathway
            for step in name.split("."):
                part = getattr(part, step)
            leaves = [] if part is None else jax.tree.leaves(part)
            assert all(any(leaf is one for one in jax.tree.leaves(rest)) for leaf in leaves)
        sizes = sum(leaf.size for leaf in jax.tree.leaves(trained))
        kernel = as_matrix(pathway.kernel(*rows(*pathway.matrix().shape)[:2]))
        assert np.linalg.matrix_rank(kernel) <= sizes
        assert eqx.combine(trained, rest).matrix().shape == pathway.matrix().shape

    def test_float32_stays_float32(self, case):
        kind, n_out, n_in, options = case
        made = make_pathway(kind, n_out, n_in, key=jax.random.key(0), dtype="float32", **options)
        assert made.matrix().dtype == jnp.float32
        act, sens, drive = (one.astype(jnp.float32) for one in rows(n_out, n_in))
        assert made(act).dtype == made.kernel(act, sens).dtype == jnp.float32
        assert made.learn_pre(act, act, drive).dtype == jnp.float32


def test_the_cayley_map_has_the_derivatives_of_its_formula():
    """The second ones too: laws of fields differentiate what gradients are made of."""
    eye, low = jnp.eye(6), jnp.tril_indices(6, -1)
    plain = lambda skew: jnp.linalg.solve(eye - skew / 2, eye + skew / 2)  # noqa: E731

    @jax.jit
    def seen(entries):
        skew = lambda own: (below := jnp.zeros((6, 6)).at[low].set(own)) - below.T  # noqa: E731
        found = []
        for cay in (
            plain,
            cayley,
            lambda skew: cayley_at(skew, jax.lax.stop_gradient(plain(skew))),
        ):
            of = lambda own, cay=cay: jnp.sum(jnp.sin(cay(skew(own))))  # noqa: E731
            found.append((of(entries), jax.grad(of)(entries), jax.hessian(of)(entries)))
        return found

    wanted, *found = seen(jax.random.normal(jax.random.key(0), (15,)))
    for one in found:
        jax.tree.map(close, one, wanted)


@pytest.mark.parametrize(
    "case", [("orthogonal", 6, 8, {"gain": 1.3}), ("svd", 6, 6, {})], ids=lambda case: case[0]
)
def test_made_ready_it_is_the_same_function_of_what_trains(case):
    pathway = moved_pathway(*case)
    ready = pathway.ready()
    act, sens, drive = rows(*pathway.matrix().shape)
    close(ready.matrix(), pathway.matrix())
    close(ready.kernel(act, sens), pathway.kernel(act, sens))
    close(ready.moved(drive.T @ act), pathway.moved(drive.T @ act))
    assert jax.tree.structure(split(ready)[0]) == jax.tree.structure(split(pathway)[0])
    # Of other parameters it is made anew.
    trained, rest = split(ready)
    other = jax.tree.map(lambda leaf: 2.0 * leaf, trained)
    close(eqx.combine(other, rest).ready().matrix(), eqx.combine(other, split(pathway)[1]).matrix())


def test_recentred_it_is_the_same_matrix_ready_or_not():
    pathway = moved_pathway("orthogonal", 7, 7, {})
    close(pathway.ready().recentred().matrix(), pathway.matrix())


# Dimension of what each structure can move at N = 8, away from its start.
RANKS = [
    ("identity", {}, 0),
    ("diagonal", {}, 8),
    ("circulant", {}, 8),
    ("butterfly", {}, 12),
    ("toeplitz", {}, 15),
    ("orthogonal", {"method": "householder", "reflectors": 3}, 18),
    ("lowrank", {"rank": 2}, 28),
    ("orthogonal", {}, 28),
    ("orthogonal", {"method": "exp"}, 28),
    ("block", {"blocks": 2}, 32),
    ("spectral", {"mode": "normalise"}, 63),
    ("dense", {}, 64),
]


@pytest.mark.parametrize(("kind", "options", "wanted"), RANKS)
def test_rank_of_the_kernel_is_the_dimension_of_the_structure(kind, options, wanted):
    pathway = moved_pathway(kind, 8, 8, options)
    keys = jax.random.split(jax.random.key(9))
    act, sens = jax.random.normal(keys[0], (50, 8)), jax.random.normal(keys[1], (50, 2, 8))
    assert np.linalg.matrix_rank(as_matrix(pathway.kernel(act, sens)), rtol=1e-10) == wanted


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in ("circulant", "toeplitz")])
def test_transforms_give_what_the_matrix_gives(case, monkeypatch):
    act, sens, drive = rows(case[1], case[2])

    def seen():
        pathway = moved_pathway(*case)
        laws = pathway.learn_pre(act, act, drive), pathway.learn_conj(sens, act, drive)
        return pathway(act), pathway.pull(sens), pathway.kernel(act, sens), *laws

    plain = seen()
    monkeypatch.setattr(convolving_pathways, "FFT_FROM", 0)
    monkeypatch.setattr(convolving_pathways, "ROUGH_FFT_FROM", 0)
    for found, wanted in zip(seen(), plain, strict=True):
        close(found, wanted)


def test_laws_of_the_orthogonal_group_are_those_of_cayley_coordinates_at_their_start():
    pathway = make_pathway("orthogonal", 8, 8, key=jax.random.key(3), gain=1.3)
    act, sens, drive = rows(8, 8)
    pre, pulled = pathway(act), pathway.pull(drive[:, None])[:, 0]
    found = orthogonal_forward(act @ act.T, pre, drive, 1.3)
    close(found, pathway.learn_pre(act, act, drive))
    found = orthogonal_conjugate(sens, act, pre, drive, pulled, 1.3)
    close(found, pathway.learn_conj(sens, act, drive))


@pytest.mark.parametrize("method", ["cayley", "exp"])
def test_angles_are_those_of_the_rotation_and_recentring_keeps_it(method):
    pathway = moved_pathway("orthogonal", 7, 7, {"method": method})
    turned = pathway.frame.T @ pathway.rotation()
    wanted = np.sort(np.abs(np.angle(np.linalg.eigvals(turned))))[::-1]
    np.testing.assert_allclose(pathway.angles(), wanted, atol=1e-12)
    again = pathway.recentred()
    close(again.matrix(), pathway.matrix())
    np.testing.assert_allclose(again.angles(), 0.0, atol=1e-12)


def test_unknown_kinds_options_and_sizes_are_told():
    key = jax.random.key(0)
    with pytest.raises(InputError, match="Unknown pathway `None`; allowed: "):
        make_pathway({"rank": 2}, 4, 4, key=key)
    with pytest.raises(InputError, match="`gain` must be a finite number"):
        make_pathway("dense", 4, 4, key=key, gain=float("nan"))
    with pytest.raises(InputError, match=r"`high` must be a finite number above 1\.5"):
        make_pathway("svd", 4, 4, key=key, low=1.5)
    with pytest.raises(InputError, match="`m` must be a finite number above 0"):
        make_pathway("monotone", 4, 4, key=key, m=-1.0)
    with pytest.raises(InputError, match="Unknown pathway `densé`"):
        make_pathway("densé", 4, 4, key=key)
    with pytest.raises(InputError, match="Unknown option of pathway dense `rank`"):
        make_pathway("dense", 4, 4, key=key, rank=2)
    with pytest.raises(InputError, match="be equal for this pathway"):
        make_pathway("circulant", 4, 5, key=key)
    with pytest.raises(InputError, match="power of 2"):
        make_pathway("butterfly", 6, 6, key=key)
    with pytest.raises(InputError, match="divide"):
        make_pathway("block", 6, 6, key=key, blocks=4)
    with pytest.raises(InputError, match="at most 4"):
        make_pathway("lowrank", 4, 8, key=key, rank=5)
    with pytest.raises(InputError, match="left out for method cayley"):
        make_pathway("orthogonal", 4, 4, key=key, reflectors=2)
