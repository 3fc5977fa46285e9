"""Whatever is put into a batch comes out of the decoders, through as many frames as it takes."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from protocol.decoder import decode_body, open_frame
from protocol.registry import REGISTRY
from protocol.schema import FRAME
from tests.protocol import agreement
from tests.protocol.encoding import encode
from tests.protocol.refusals import KEY
from tests.protocol.test_vectors import decoded, expected

INT32 = st.integers(-(2**31), 2**31 - 1)
NUMBER = st.one_of(
    st.integers(-20, 20), st.integers(-5000, 5000), INT32, st.integers(-(2**40), 2**40)
)
QUALITY = st.one_of(st.just(0), st.integers(0, 8), st.integers(0, 255))
IDS = sorted(set(REGISTRY) - {0})


@st.composite
def channels(draw: st.DrawFn) -> list[list[Any]]:
    count = draw(st.integers(1, 8))
    pairs = st.tuples(st.sampled_from([*IDS, 0x60, 0xC0, 0xFE]), st.sampled_from([0, 0, 0, 1, 255]))
    chosen = draw(st.lists(pairs, min_size=count, max_size=count, unique=True))
    found = []
    for quantity, instance in chosen:
        exponent = draw(st.one_of(st.none(), st.integers(-9, 9)))
        if quantity >= 0xC0 and exponent is None:
            exponent = 0
        bands = draw(st.sampled_from([0, 0, 0, 1, 3, 31, 60]))
        first_band = draw(st.integers(0, 256 - bands - 1)) if bands else 0
        found.append([quantity, instance, exponent, bands, first_band])
    return found


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    columns = draw(channels())
    count = draw(st.integers(1, 20))
    rows = []
    start = draw(st.sampled_from([0, 1000, 2**31, 2**47]))
    period = draw(st.sampled_from([0, 1, 1000, 60_000, 148_000]))
    instant = start
    held = draw(st.booleans())
    for _ in range(count):
        row: list[Any] = []
        for at, (_, _, _, bands, _) in enumerate(columns):
            if held and rows and draw(st.booleans()):
                row.append(rows[-1][1][at])
            elif bands:
                values = draw(st.lists(INT32, min_size=bands, max_size=bands))
                row.append({"bands": values, "quality": draw(QUALITY)})
            else:
                row.append([draw(st.one_of(st.none(), NUMBER)), draw(QUALITY)])
        rows.append([instant, row])
        instant += period + draw(st.sampled_from([0, 0, 0, 1, 17, 100_000]))
    size = draw(st.sampled_from([240, 512, 1024, 4096]))
    return {"channels": columns, "period_ms": period, "size": size, "rows": rows}


def unique_times(recipe: dict[str, Any]) -> bool:
    instants = [instant for instant, _ in recipe["rows"]]
    return len(set(instants)) == len(instants)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(recipes().filter(unique_times))
def test_any_batch(recipe: dict[str, Any]) -> None:
    frames = encode(recipe, KEY)
    assert all(len(frame) <= recipe["size"] for frame in frames)
    recipe["frames"] = [frame.hex() for frame in frames]
    assert decoded(recipe) == expected(recipe)
    for frame in frames:
        agreement.check(frame, KEY)
        assert FRAME.build(FRAME.parse(frame)) == frame


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(INT32, min_size=1, max_size=255))
def test_any_scalar_column(values: list[int]) -> None:
    rows = [[60_000 * row, [value]] for row, value in enumerate(values)]
    recipe = {"channels": [[18, 0, None, 0, 0]], "period_ms": 60_000, "size": 4096, "rows": rows}
    (frame,) = encode(recipe, KEY)
    (samples,) = decode_body(open_frame(frame, KEY)).samples
    assert samples.columns[0].values == values


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.integers(1, 60), st.data())
def test_any_vector_column(count: int, bands: int, data: st.DataObject) -> None:
    near = st.integers(-40, 40)
    value = data.draw(st.sampled_from([near, INT32]))
    spectra = data.draw(
        st.lists(st.lists(value, min_size=bands, max_size=bands), min_size=count, max_size=count)
    )
    rows = [[1000 * row, [{"bands": spectrum}]] for row, spectrum in enumerate(spectra)]
    recipe = {"channels": [[64, 0, None, bands, 0]], "period_ms": 1000, "size": 4096, "rows": rows}
    found: list[int] = []
    for frame in encode(recipe, KEY):
        (samples,) = decode_body(open_frame(frame, KEY)).samples
        found += samples.columns[0].values
    assert found == [value for spectrum in spectra for value in spectrum]
