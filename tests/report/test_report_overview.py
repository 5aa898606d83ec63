import pytest
from matplotlib.legend import Legend

from gramdyn._errors import InputError
from gramdyn.report import save_overview
from gramdyn.report.cells import cells_of, manifest_of
from gramdyn.report.figures import draw_overview
from gramdyn.store import open


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_a_figure_of_each_kind(finished, tmp_path, suffix, start):
    path = save_overview(finished, tmp_path / f"overview{suffix}")
    assert path.read_bytes().startswith(start)


def test_three_panels(tree):
    figure = draw_overview(cells_of(tree), manifest_of(tree))
    titles = [part.axes[0].get_title(loc="left") for part in figure.subfigs]
    assert [titles[0], titles[2]] == ["Loss", "Kernel movement"]
    assert figure.subfigs[1].get_suptitle() == "Kernel of layer 2, width 8, depth 2"


def test_nothing_overlaps(tree):
    figure = draw_overview(cells_of(tree), manifest_of(tree))
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(a.overlaps(b) for a, b in pairs)


def test_the_two_keys_of_the_loss_stand_side_by_side(made):
    figure = draw_overview(cells_of(made(widths=(8, 128, 16384)).tree()), {})
    figure.draw_without_rendering()
    axes = figure.axes[0]
    one, two = (part.get_window_extent() for part in axes.findobj(Legend))
    assert not one.overlaps(two)
    assert max(one.x1, two.x1) < axes.get_window_extent().x1


def test_panels_without_a_record_are_left_out(made):
    tree = made(widths=(8,)).tree()
    assert len(draw_overview(cells_of(tree), {}).subfigs) == 1


def test_runs_that_failed_are_tolerated(diverged, tmp_path):
    assert save_overview(diverged, tmp_path / "overview.png").exists()


def test_another_ending_is_refused(finished, tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        save_overview(finished, tmp_path / "overview.jpg")


def test_nothing_to_draw(made):
    tree = made().tree()
    bare = tree.map_over_datasets(lambda data: data.drop_vars(list(data.data_vars)))
    assert draw_overview(cells_of(bare), {}) is None


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="no manifest"):
        save_overview(tmp_path, tmp_path / "overview.png")


def test_results_are_only_read(finished):
    before = sorted(path.name for path in (finished / "results.zarr").iterdir())
    open(finished)
    assert before == sorted(path.name for path in (finished / "results.zarr").iterdir())
