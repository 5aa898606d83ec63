from gramdyn.sweep.assign import Board


def played(board, workers, compile_seconds, chunk_seconds):
    """Wall seconds and programs compiled of workers that take chunks as they come free."""
    free, compiled, wall = dict.fromkeys(workers, 0.0), set(), 0.0
    while free:
        worker = min(free, key=lambda w: free[w])
        chunk = board.take(worker)
        if chunk is None:
            wall = max(wall, free.pop(worker))
            continue
        fresh = (worker, chunk[0]) not in compiled
        compiled.add((worker, chunk[0]))
        free[worker] += compile_seconds * fresh + chunk_seconds
    return wall, len(compiled)


def board_of(groups, chunks):
    names = [f"g{i}" for i in range(groups)]
    return Board({n: range(chunks) for n in names}, dict.fromkeys(names, 1.0))


def test_every_chunk_is_given_out_once_and_none_is_kept_from_a_free_worker():
    board = Board({"a": range(0, 20, 4), "b": [0], "c": []}, {"a": 1.0, "b": 9.0, "c": 5.0})
    given = [board.take(f"w{i % 3}") for i in range(6)]
    assert sorted(given) == [*(("a", start) for start in range(0, 20, 4)), ("b", 0)]
    assert not board
    assert board.take("w0") is None


def test_a_worker_stays_with_its_group_and_then_goes_where_most_is_left():
    board = Board({"a": range(3), "b": range(5), "c": range(2)}, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert [board.take("one")[0] for _ in range(4)] == ["b"] * 4
    assert board.take("two") == ("a", 0)
    assert board.take("one") == ("b", 4)
    # "a" has two chunks and a worker, "c" two and none.
    assert board.take("one") == ("c", 0)


def test_a_chunk_put_back_is_given_out_again_and_the_dead_count_no_more():
    board = Board({"a": [0, 4], "b": [0]}, {"a": 1.0, "b": 1.5})
    assert board.take("dead") == ("a", 0)
    board.put_back("a", 0)
    board.keep(["alive"])
    assert [board.take("alive") for _ in range(3)] == [("a", 0), ("a", 4), ("b", 0)]


def test_programs_compiled_are_about_as_many_as_groups_or_workers():
    """Eight groups of 20 chunks on 4 workers; in order of groups each would compile all eight."""
    wall, programs = played(board_of(8, 20), "wxyz", compile_seconds=5.0, chunk_seconds=1.0)
    assert programs <= 8 + 4
    assert wall <= (8 * 20 * 1.0 + programs * 5.0) / 4 + 5.0 + 1.0
    # One group: all help, each having compiled it.
    assert played(board_of(1, 20), "wxyz", 5.0, 1.0) == (10.0, 4)
