"""Generated C++ computes what the module does, bit for bit."""

import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
from fixed_cases import GOOGLE, fixed, mixed

from edgenet.clstm import LstmShape, Stage, lstm_graph, schedule
from edgenet.errors import BackendError, ConfigError, PlanError, ShapeError
from edgenet.fixed import Compiled, compile_, generate
from edgenet.fixed.compiled import FLAGS

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on the PATH, which compiles generated code")

QUICK = ("-std=c++17", "-O0", "-shared", "-fPIC")  # as fast to compile as it can be; the numbers are the same
PORTABLE = (*QUICK, "-DEDGENET_PORTABLE")
LONGEST = 20


def sequences(number, size):
    """(20, number, size) int16 of all amounts, some of them the extreme ones all along; and their lengths."""
    codes = torch.randint(-32768, 32768, (LONGEST, number, size)) >> torch.randint(0, 12, (1, number, 1))
    extreme = torch.tensor([-32768, 32767])
    codes[:, ::10] = extreme[torch.randint(0, 2, codes[:, ::10].shape)]
    codes[:, 1::20], codes[:, 2::20] = -32768, 32767
    return codes.to(torch.int16), torch.randint(1, LONGEST + 1, (number,)).tolist()


def assert_equal(model, compiled, number):
    codes, lengths = sequences(number, model.input_size)
    wanted = model.run(codes.long())[0].to(torch.int16)  # what comes later changes nothing before it
    assert wanted.abs().max() > 1000
    for place, length in enumerate(lengths):
        assert torch.equal(compiled.run(codes[:length, place]), wanted[:length, place])


@pytest.mark.parametrize("block", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("options", [{}, GOOGLE], ids=["small", "google"])
def test_the_code_equals_the_module_bit_for_bit(block, options, tmp_path):
    model = fixed(block, scale=2.0, **options)
    assert_equal(model, compile_(generate(model), tmp_path, flags=QUICK if options else PORTABLE), 100)


def test_a_thousand_sequences_are_equal_with_the_vectors_of_this_processor(tmp_path):
    model = fixed(8, layers=2, scale=2.0, hidden=32, **GOOGLE)
    assert_equal(model, compile_(generate(model, "google"), tmp_path, "google", FLAGS), 1000)


@pytest.mark.parametrize(("block", "hidden", "flags"), [
    (1, 70, FLAGS), (1, 70, (*QUICK, "-mavx2")), (2, 18, QUICK),
])  # fmt: skip
def test_sizes_beyond_and_between_tiles_are_equal(block, hidden, flags, tmp_path):
    model = fixed(block, inputs=3, hidden=hidden, layers=1, scale=2.0)
    assert_equal(model, compile_(generate(model), tmp_path, flags=flags), 50)


def test_blocks_may_differ_from_matrix_to_matrix(tmp_path):
    model = mixed(**GOOGLE)
    assert_equal(model, compile_(generate(model), tmp_path, flags=QUICK), 100)


def one_by_one(graph):
    """A schedule with a stage for the products of a gate, last gate first, and for every other operator."""
    stages = []
    for gate in "ogfi":
        stages.append(Stage(tuple(graph.operators[f"{side}_{gate}"] for side in ("input", "state")), "circulant"))
    stages += [Stage((one,), "pointwise") for one in graph if one.kind != "circulant"]
    return [*stages, Stage((graph.operators["h"],), "circulant")]


def test_other_schedules_give_other_code_and_equal_numbers(tmp_path):
    model = fixed(4, layers=1, scale=2.0, **GOOGLE)
    text = generate(model, scheduled=one_by_one)
    assert text.count("void layer0_stage") == len(one_by_one(lstm_graph(LstmShape(13, 16, 11, True)))) > 20
    assert_equal(model, compile_(text, tmp_path, flags=QUICK), 50)


def test_units_may_be_called_anything():
    model = fixed(4, layers=1)
    other = generate(model, scheduled=lambda graph: [replace(stage, unit="dsp") for stage in schedule(graph)])
    assert other.replace(", dsp:", "") == generate(model).replace(", circulant:", "").replace(", pointwise:", "")


def test_stages_of_the_default_schedule_are_three_a_layer_and_two_without_projection():
    assert generate(fixed(4, **GOOGLE)).count("void layer") == 6
    assert generate(fixed(4)).count("void layer") == 4


@pytest.mark.parametrize(("change", "text"), [
    (lambda stages: stages[1:], "before what it takes"),
    (lambda stages: stages[:-1], "leave out h"),
    (lambda stages: [stages[0], stages[0], *stages[1:]], "twice"),
    (lambda stages: [Stage(stages[0].operators[:-1], "circulant"), Stage(stages[0].operators[-1:], "circulant"),
                     *stages[1:]], "belong in one stage"),
    (lambda stages: [Stage(tuple(one for stage in stages for one in stage.operators), "circulant")], "products alone"),
])  # fmt: skip
def test_schedules_that_cannot_run_are_refused(change, text):
    with pytest.raises(PlanError, match=text):
        generate(fixed(4, layers=1, **GOOGLE), scheduled=lambda graph: change(schedule(graph)))


def test_gates_that_end_inside_a_block_have_no_code():
    model = fixed(8, hidden=12, layers=1)
    assert model.run(torch.ones(2, 1, 13).long())[0].shape == (2, 1, 12)
    with pytest.raises(PlanError, match="no whole number of blocks"):
        generate(model)


def test_the_same_model_gives_the_same_text_and_it_says_what_it_is():
    model = fixed(4, **GOOGLE)
    text = generate(model, "net")
    assert text == generate(model, "net") != generate(fixed(4, **GOOGLE), "net")
    assert text.startswith("// net: an LSTM of 16-bit numbers")
    assert f"Fraction bits: input {model.layers[0].formats['input']}, output" in text
    assert "// Layer 1: 11 numbers to 11, 16 cells" in text and "stage 2, circulant: h" in text
    assert "malloc" not in text and "new " not in text


@pytest.mark.parametrize("name", ["", "1a", "a-b", "_a", "a b", "a\n#include <x>", "é", "a" * 101])
def test_names_that_are_no_identifiers_are_refused(name):
    with pytest.raises(ConfigError, match="C functions are named by a letter"):
        generate(fixed(4, layers=1), name)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    model, folder = fixed(2, layers=1), tmp_path_factory.mktemp("small")
    return model, compile_(generate(model, "small"), folder, "small", QUICK), folder


def test_states_go_on_and_do_not_mix(small):
    model, compiled, folder = small
    codes = torch.randint(-3000, 3000, (8, 2, 13)).to(torch.int16)
    one, other = compiled.begin(), compiled.begin()
    found = [torch.stack([compiled.run(frame[k : k + 1], s)[0] for k, s in enumerate((one, other))]) for frame in codes]
    assert torch.equal(torch.stack(found).long(), model.run(codes.long())[0])
    assert torch.equal(Compiled(folder / "small.so", "small").run(codes[:, 0]).long(), model.run(codes.long())[0][:, 0])
    formats = model.layers[0].formats
    assert (compiled.input_size, compiled.output_size, compiled.layers) == (13, 16, 1)
    assert (compiled.input_bits, compiled.output_bits) == (formats["input"], formats["output"])
    assert compiled.run(codes[:0, 0]).shape == (0, 16)
    assert torch.equal(compiled.run(codes[::2, 0]), compiled.run(codes[::2, 0].clone()))  # strided frames


@pytest.mark.parametrize("x", [
    torch.zeros(3, 12).short(), torch.zeros(13).short(), torch.zeros(3, 13).int(), torch.zeros(3, 13),
])  # fmt: skip
def test_no_pointer_of_another_kind_reaches_the_code(small, x):
    with pytest.raises(ShapeError, match=r"frames are \(T, 13\) int16 on the CPU"):
        small[1].run(x)


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s.short(), lambda s: torch.stack([s, s], 1)[:, 0]])
def test_no_other_state_reaches_the_code(small, change):
    with pytest.raises(ShapeError, match="a state is what begin"):
        small[1].run(torch.zeros(1, 13).short(), change(small[1].begin()))


def test_no_freed_memory_reaches_the_code(small):
    state, x = small[1].begin(), torch.zeros(1, 13).short()
    with pytest.raises(BackendError, match="has 0 bytes: it was freed"):
        state.untyped_storage().resize_(0)
        small[1].run(x, state)
    with pytest.raises(BackendError, match="has 0 bytes: it was freed"):
        x.untyped_storage().resize_(0)
        small[1].run(x)


def test_frames_may_be_the_negative_of_what_is_stored(small):
    x = torch.randint(-3000, 3000, (4, 13)).short()
    assert torch.equal(small[1].run(torch._neg_view(-x)), small[1].run(x))


def test_c_functions_refuse_null_pointers_and_negative_lengths(small):
    _, compiled, _ = small
    state, x = compiled.begin(), torch.zeros(1, 13).short()
    with pytest.raises(ConfigError):
        compiled._called(compiled._run, 0, x.data_ptr(), 1, x.data_ptr())
    with pytest.raises(ConfigError):
        compiled._called(compiled._run, state.data_ptr(), x.data_ptr(), -1, x.data_ptr())
    with pytest.raises(ConfigError):
        compiled._called(compiled._reset, 0)


def test_a_library_that_is_made_anew_is_the_new_one_and_the_old_one_goes_on(tmp_path):
    models = [fixed(2, layers=1, hidden=hidden) for hidden in (8, 8, 16)]
    made = [compile_(generate(model), tmp_path, flags=QUICK) for model in models]  # one path for all
    codes = torch.randint(-3000, 3000, (6, 13)).to(torch.int16)
    for model, compiled in zip(models, made, strict=True):
        assert torch.equal(compiled.run(codes).long(), model.run(codes[:, None].long())[0][:, 0])


def test_what_is_no_library_is_refused(small, tmp_path, monkeypatch):
    _, _, folder = small
    with pytest.raises(BackendError, match="no compiled LSTM called 'other'"):
        Compiled(folder / "small.so", "other")
    with pytest.raises(BackendError, match="no compiled LSTM"):
        Compiled(tmp_path / "nothing.so")
    with pytest.raises(BackendError, match="g\\+\\+ does not take"):
        compile_("int main( {", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackendError, match="there is no g"):
        compile_("", tmp_path)


MAIN = """
#include <cstdio>
#include <cstdlib>
#include <vector>
int main() {
  int64_t sizes[6];
  if (net_sizes(sizes)) return 2;
  void* state = std::malloc(sizes[2]);
  net_reset(state);
  std::vector<int16_t> x(300 * sizes[0]), y(300 * sizes[1]);
  for (size_t n = 0; n < x.size(); ++n) x[n] = n % 7 ? int16_t(std::rand()) : n % 2 ? -32768 : 32767;
  int wrong = net_run(state, x.data(), 300, y.data());
  std::free(state);
  return wrong;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["-DEDGENET_PORTABLE"], ["-march=native"]], ids=["portable", "native"])
@pytest.mark.parametrize(("block", "hidden"), [(1, 70), (2, 16), (8, 16), (16, 32)])
def test_the_code_runs_clean_under_sanitizers(block, hidden, flags, tmp_path):
    source, program = tmp_path / "main.cpp", tmp_path / "main"
    source.write_text(generate(fixed(block, hidden=hidden, scale=2.0, **GOOGLE), "net") + MAIN)
    watch = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", "-std=c++17", "-O1", *watch, *flags, str(source), "-o", str(program)], check=True)
    subprocess.run([str(program)], check=True)
