"""A method as text and back: whatever the library has, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stc_core import METHODS, STC, Edited, InputError
from stc_core.method_text import (
    NAMES,
    RETENTION,
    WRAPPERS,
    MethodText,
    make_method,
    read_call,
    read_method,
    read_short,
)
from stc_core.methods import DyToK, FastV, Frames, Method, SToP, Then, VidCom2, VisionZip

ROOT = Path(__file__).resolve().parents[2]
EDIT = {"remove": [4, 2, 4], "add": [7], "only": None}
WHOLE = {"seed": 0, "layer": 0, "contribution_layer": 0}  # and from 1 where not named here
RANGES = {
    "tau": (-1, 1),
    "temperature": (1e-9, 1000),
    "candidates": (1, 100),
    "keep_inside": (1e-9, 1),
    "retention": (1e-9, 1),
}
WORDS = {
    "positions": ("original", "compact"),
    "signal": ("received", "cls", "head"),
    "walk": ("raster", "spread"),
    "place": ("middle", "first"),
}


def test_names_are_those_of_the_library():
    assert NAMES == {name: kind.__name__ for name, kind in METHODS.items()}


def test_reading_needs_no_torch():
    code = (
        "import sys, stc_core.method_text as m; m.read_method('STC(retention=0.02, tau=0.7)');"
        "m.read_short('stc@0.02'); import viz.server.origin;"
        "assert not {'torch', 'gradio', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# --- there and back ------------------------------------------------------------------------------


@st.composite
def methods(draw):
    """A method of the library with valid settings of every kind."""
    kind = METHODS[draw(st.sampled_from(sorted(METHODS)))]
    given_settings = {}
    for one in fields(kind):
        if one.name != "retention" and not draw(st.booleans()):
            continue  # its default
        given_settings[one.name] = draw(setting(one))
    try:
        return kind(**given_settings)
    except InputError:
        assume(False)  # settings that do not go together


def setting(one):
    """Valid values of a field."""
    if one.name in WORDS:
        return st.sampled_from(WORDS[one.name])
    if one.type == "bool":
        return st.booleans()
    if one.type == "float":
        return st.floats(*RANGES.get(one.name, (0, 1))) | st.just(1)
    least = WHOLE.get(one.name, 1)
    whole = st.integers(least, 10**6)
    return whole | st.none() if one.type == "int | None" else whole


@given(methods())
def test_text_to_method_to_text_is_the_identity(method):
    text = repr(method)
    assert make_method(text) == method and repr(make_method(text)) == text
    assert str(read_method(text)) == text


@given(methods(), st.sets(st.integers(0, 99)), st.sets(st.integers(0, 99)), st.booleans())
def test_so_it_is_with_edits(method, remove, add, only):
    edited = Edited(method, remove=remove - add, add=add, only={200, 100} if only else None)
    text = repr(edited)
    assert make_method(text) == edited and repr(make_method(text)) == text
    assert str(read_method(text)) == text


@st.composite
def nested(draw, depth=3):
    """Methods around methods, as far as they go together."""
    if depth == 0 or draw(st.booleans()):
        return draw(methods())
    method, kind = draw(nested(depth - 1)), draw(st.sampled_from((SToP, DyToK, Then, Frames)))
    try:
        if kind is SToP:
            return SToP(method, draw(st.none() | st.floats(0, 1e6)))
        if kind is DyToK:
            return DyToK(method, draw(st.floats(0.01, 1)))
        if kind is Then:
            return Then(method, draw(nested(depth - 1)))
        choose = draw(st.sampled_from(("even", "unlike")))
        return Frames(method, keep=draw(st.integers(1, 10**6)), choose=choose)
    except InputError:
        return method


@settings(max_examples=200, deadline=None)
@given(nested(), st.sets(st.integers(0, 99)))
def test_methods_around_methods_are_read_and_written(method, removed):
    for whole in (method, Edited(method, remove=removed)):
        text = repr(whole)
        assert make_method(text) == whole and repr(make_method(text)) == text
        assert str(read_method(text)) == text
    read = read_method(repr(method))
    assert read_short(read.short) == read and read.retention == method.retention
    name, values = read_call(repr(method))
    assert name == read.title and values["retention"] == method.retention


@pytest.mark.parametrize(
    ("text", "method", "short"),
    [
        ("SToP(VisionZip())", SToP(VisionZip(retention=RETENTION)), "stop(visionzip@0.02)"),
        (
            "Then(STC(retention=0.1), FastV(retention=0.5, layer=1))",
            Then(STC(retention=0.1), FastV(retention=0.5, layer=1)),
            "then(stc@0.1,fastv@0.5,layer=1)",
        ),
        (
            "Then(inner=FastV(retention=0.5), "
            "method=SToP(Frames(VisionZip(), keep=8), strength=2))",
            Then(SToP(Frames(VisionZip(), keep=8), 2), FastV(retention=0.5)),
            "then(stop(frames(visionzip@0.02),keep=8),strength=2,fastv@0.5)",
        ),
        ("Frames(retention=0.1)", Frames(retention=0.1), "frames@0.1"),
    ],
)
def test_how_methods_around_methods_are_written(text, method, short):
    assert make_method(text) == method == make_method(str(read_short(short)))
    assert read_method(text).short == short


def test_a_retention_is_given_to_those_that_say_none():
    assert make_method("SToP(VisionZip())", 0.3) == SToP(VisionZip(retention=0.3))
    assert make_method("Then(VidCom2(retention=0.1), FastV())", 0.3) == Then(
        VidCom2(retention=0.1), FastV(retention=0.3)
    )
    assert make_method("VisionZip()", 0.3) == VisionZip(retention=0.3)
    assert RETENTION == Method().retention
    kinds = {"stop": SToP, "dytok": DyToK, "then": Then, "frames": Frames}
    assert {name: kind.__name__ for name, kind in kinds.items()} == {
        name: kind for name, (kind, _) in WRAPPERS.items()
    }


@given(methods())
def test_the_short_text_says_the_same(method):
    read = read_method(repr(method))
    assert read_short(read.short) == read and "(" not in read.short
    assert make_method(str(read_short(read.short))) == method


@pytest.mark.parametrize("name", NAMES)
def test_settings_that_are_left_out_are_the_defaults(name):
    text = f"{NAMES[name]}(retention=0.1)"
    assert make_method(text) == METHODS[name](retention=0.1)
    assert str(read_short(f"{name}@0.1")) == text


def test_the_short_text_is_short():
    assert read_method("STC(retention=0.02)").short == "stc@0.02"
    text = MethodText("holitom", {"retention": 0.1, "layer": None, "few_neighbors": True})
    assert text.short == "holitom@0.1,layer=null,few_neighbors=true"
    with pytest.raises(InputError, match="edited"):
        MethodText("stc", {"retention": 0.02}, EDIT).short  # noqa: B018


def test_an_edit_is_sorted_and_complete():
    text = MethodText("stc", {"retention": 0.02}, EDIT)
    assert text.edit == {"remove": (2, 4), "add": (7,), "only": None}
    only = MethodText("stc", {"retention": 0.02}, {"only": [3, 1]})
    assert only.edit == {"remove": (), "add": (), "only": (1, 3)}
    assert make_method(str(only)) == Edited(STC(retention=0.02), only=(1, 3))
    assert read_method("STC(retention=0.02)").edit is None


# --- what is none --------------------------------------------------------------------------------

WRONG = [
    ("", "is no method; write it as STC"),
    ("none", "is no method"),
    ("STC", "is no method"),
    ("STC(0.02)", "is no method"),
    ("a.b(retention=1)", "is no method"),
    ("1 +", "is no method"),
    ("STC(**{'retention': 0.1})", "is no method"),
    ("STC(retention=0.1, retention=0.2)", "is no method"),
    ("STC(retention=open)", "is no method"),
    ("STC(retention=__import__('os').system('true'))", "is no method"),
    ("STC(retention=0.1) or STC(retention=0.2)", "is no method"),
    ("(lambda retention: 1)(retention=0.1)", "is no method"),
    ("STC(retention=" + "-" * 5000 + "1)", "is no method"),
    ("STC(retention=" + "(" * 5000 + "1" + ")" * 5000 + ")", "is no method"),
    ("STC(retention=0.1, tau=" + "9" * 5000 + ")", "is no method"),
    ("STC(retention=0.1" + " " * (1 << 20) + ")", "is no method"),
    ("STC(retention=0.1)\0", "is no method"),
    ("STC\ud800(retention=0.1)", "is no method"),
    (None, "is no method"),
    (b"STC(retention=0.1)", "is no method"),
    ("open(retention=1)", "no method 'open'"),
    ("Magic(retention=0.1)", "no method 'Magic'"),
    ("stc(retention=0.1)", "no method 'stc'; choose one of STC, SpaceTimeDPP"),
    ("STC()", "retention ratio must be above 0 to 1"),
    ("STC(tau=0.7)", "retention ratio must be above 0 to 1"),
    ("STC(retention=7)", "retention ratio"),
    ("STC(retention=True)", "retention ratio"),
    ("STC(retention='0.1')", "retention ratio"),
    ("STC(retention=1e999)", "retention ratio"),
    (f"STC(retention={10**400})", "retention ratio"),
    ("STC(retention=0x" + "f" * 5000 + ")", "retention ratio"),
    ("STC(retention=0.1, tau=[1])", "the option tau must be"),
    ("STC(retention=0.1, tau=1e999)", "the option tau must be"),
    ("STC(retention=0.1, tau=1+2j)", "the option tau must be"),
    ("STC(retention=0.1, tau=(0x" + "f" * 5000 + ",))", "the option tau must be"),
    ("STC(retention=0.1, signal='a b;c')", "the option signal must be"),
    ("STC(retention=0.1, __class__=1, A=2)", "'A' is no name of an option"),
    ("STC(retention=0.1, edit=1)", "has no option edit"),
    (f"STC(retention=1, {', '.join(f'x{chr(97 + i)}=1' for i in range(25))})", "at most 21"),
    ("Edited(retention=0.1)", "an edited method is written as"),
    ("Edited(method=3)", "an edited method is written as"),
    ("Edited(method='STC(retention=0.1)')", "an edited method is written as"),
    ("Edited(method=STC(0.1))", "an edited method is written as"),
    ("Edited(method=Edited(retention=0.1))", "no method 'Edited'"),
    ("Edited(method=Edited(method=STC(retention=0.1)))", "no method 'Edited'"),
    ("Edited(method=STC(retention=0.1), swap=(1,))", "lists remove, add and only"),
    ("Edited(method=STC(retention=0.1), remove=(-1,))", "remove must be a list of tokens"),
    ("Edited(method=STC(retention=0.1), remove=(0x" + "f" * 5000 + ",))", "remove must be a list"),
    ("Edited(method=STC(retention=0.1), add=(True,))", "add must be a list of tokens"),
    ("Edited(method=STC(retention=0.1), only='12')", "only must be a list of tokens"),
    ("Edited(method=STC(retention=0.1), add=(1,), remove=(1,))", "cannot be removed and stay"),
    ("STC(retention=0.1, seed=1)", "stc has no option seed"),
    ("STC(retention=0.1, tau=3)", "tau"),
    ("STC(retention=0.1, layer=1.5)", "layer"),
    ("SToP()", "SToP needs a method as its method; write it as SToP"),
    ("SToP(3)", "is no method; write it as SToP"),
    ("SToP(method='VisionZip()')", "is no method; write it as SToP"),
    ("SToP(VisionZip(), method=VisionZip())", "is no method; write it as SToP"),
    ("SToP(VisionZip(), VisionZip())", "SToP is around 1 of other methods, not 2"),
    ("SToP(VisionZip(), retention=0.1)", "SToP has no retention"),
    ("SToP(VisionZip(retention=7))", "retention ratio"),
    ("SToP(VisionZip(), strength=-1)", "strength must be"),
    ("SToP(VisionZip(), force=1)", "stop has no option force"),
    ("SToP(EVS())", "EVS reads no attention"),
    ("SToP(open('x'))", "is no method"),
    ("SToP(Magic())", "no method 'Magic'"),
    ("SToP(Edited(method=VisionZip()))", "no method 'Edited'"),
    ("Then(STC())", "Then needs a method as its inner"),
    ("Then(STC(), VisionZip())", "has no stage inside the LLM"),
    ("Frames(VisionZip())", "say how many frames"),
    ("Frames(FastV(), keep=3)", "drops nothing before the LLM"),
    ("DyToK(EVS())", "cannot meet any budget in a single frame"),
    ("DyToK(VisionZip(), weights=(1, 2))", "the option weights must be a number"),
    ("SToP(SToP(SToP(SToP(SToP(SToP(VisionZip()))))))", "at most 4 deep"),
    ("SToP(" * 4000 + "1" + ")" * 4000, "is no method"),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_is_no_method_is_refused_in_a_sentence(text, words):
    with pytest.raises(InputError, match=words) as caught:
        make_method(text)
    one_sentence(caught.value)


PIECES = st.sampled_from(
    ["STC", "Edited", "SToP", "Then", "Frames", "VisionZip()", "stop", "visionzip@0.1",
     "Uniform", "method", "retention", "tau", "remove", "only", "open", "(", ")",
     "=", ",", "0.1", "1", "-", "None", "True", "'a'", "*", "**", ".", "[", "{", ":", "lambda",
     "\n", "\\", "f'{1}'", "@", " ", "\ud800", "\0", "#", "1e999", "0x" + "f" * 4000]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.text() | st.lists(PIECES, max_size=25).map("".join) | VALUES)
def test_hostile_text_is_refused_in_a_sentence_or_a_method(text):
    for read in (read_method, read_short, read_call):
        try:
            read(text)
        except InputError as error:
            one_sentence(error)


@settings(max_examples=300)
@given(st.sampled_from(sorted(METHODS)), st.data())
def test_any_value_of_a_setting_is_taken_or_refused_in_a_sentence(name, data):
    names = [one.name for one in fields(METHODS[name])]
    chosen = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=3))
    values = ", ".join(f"{key}={value!r}" for key, value in ({"retention": 0.1} | chosen).items())
    try:
        made = make_method(f"{NAMES[name]}({values})")
    except InputError as error:
        one_sentence(error)
    else:
        assert make_method(repr(made)) == made


@pytest.mark.parametrize("text", [
    "", "stc", "stc@", "stc@x", "@0.1", "stc@0.1,", "stc@0.1,tau", "stc@0.1,retention=1",
    "stc@0.1,tau=[1]", "stc@0", "stc@NaN", "stc@0.1 ", "nothing@0.1", None, 3, "a" * 10_000,
    "stop(visionzip@0.1", "stop()", "stop(visionzip@0.1))", "then(stc@0.1)", "stop@0.1",
    "magic(stc@0.1)", "stop(visionzip@0.1,stc@0.1)", "stop(" * 90, "stc(stc@0.1)",
    "stop(visionzip@0.1),retention=0.1", "stc@0.1,tau=1,tau=2",
    "stc@0.1,tau=" + "[" * 300, "STC(retention=0.1)", "STC@0.1",
])  # fmt: skip
def test_other_short_texts_are_refused_in_a_sentence(text):
    with pytest.raises(InputError) as caught:
        read_short(text)
    one_sentence(caught.value)


@pytest.mark.parametrize("text", ["stc@0.1,edit=null", "stc@0.1,name=stc"])
def test_a_short_text_has_no_settings_of_its_own(text):
    with pytest.raises(InputError, match="has no option"):
        make_method(str(read_short(text)))


def one_sentence(error: InputError) -> None:
    assert len(str(error)) < 250 and "\n" not in str(error)
