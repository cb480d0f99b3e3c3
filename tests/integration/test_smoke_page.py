"""The report's page in a real browser: on a desk, on a phone, on paper; pictures stay in build/."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuilder.model.pylock import read_lock
from envbuilder.smoke import LayerSize, Report, to_html
from envbuilder.smoke.layer_sizes import layer_sizes
from tests.browser import Browser, open_browser
from tests.unit.smoke_documents import Document, stating

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PHONE, DESK = 360, 1100
ODD = "[...document.querySelectorAll('.odd')].filter(e => e.checkVisibility())"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


def _red() -> Report:
    """Spoil one count, and state what the seed's engine reserved for a video."""
    document = Document()
    document.item("tokens.audio", "2.74 s")["placeholders"] = 67
    stated = {"audio": 750, "image": 16384, "video": 16384}
    return document.report(stating(stated))


@pytest.fixture(scope="module", params=["green", "red"])
def page(request: pytest.FixtureRequest) -> Path:
    """Return the page of a report, with the layers that the CPU environment was sealed with."""
    report = _red() if request.param == "red" else Document().report()
    target = ROOT / "build" / f"smoke-{request.param}.html"
    target.parent.mkdir(exist_ok=True)
    target.write_text(to_html(report, layers=_layers()), encoding="utf-8")
    return target


def _layers() -> tuple[LayerSize, ...]:
    lock = read_lock(ROOT / "lockfiles" / "pylock.omni-cpu.toml")
    assert lock.seal is not None
    return layer_sizes(lock.seal.layers, lock)


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_it_fits_loads_nothing_and_complains_of_nothing(
    browser: Browser, page: Path, width: int
) -> None:
    browser.open(page, width=width)
    browser.screenshot(page.with_name(f"{page.stem}-{width}.png"))
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("[...document.querySelectorAll('body *')].every("
                         f"e => e.getBoundingClientRect().right <= {width})")  # fmt: skip
    asked = [what["request"]["url"] for how, what in browser.seen if how.endswith("WillBeSent")]
    assert asked == [page.absolute().as_uri()]
    complaints = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
    assert not complaints & {how for how, _ in browser.seen}


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_disagreeing_numbers_stand_out(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    marked = browser.value(f"{ODD}.map(e => e.innerText)")
    assert marked == (["67", "729", "16384"] if "red" in page.stem else [])
    if marked:  # by colour, and by a sign where there is no colour
        plain = browser.value(
            "getComputedStyle(document.querySelector('td.count:not(.odd)')).color"
        )
        assert browser.value(f"{ODD}.map(e => getComputedStyle(e).color)") != [plain] * 3
        signs = browser.value(f"{ODD}.map(e => getComputedStyle(e, '::before').content)")
        assert all("\N{NOT EQUAL TO}" in sign for sign in signs)


def test_what_a_person_looks_for_is_there(browser: Browser, page: Path) -> None:
    browser.open(page, width=PHONE)
    text = browser.value("document.body.innerText")
    assert ("KNOWN GOOD" in text) is ("green" in page.stem)
    assert ("Likely cause: Audio length computed two ways." in text) is ("red" in page.stem)
    assert "libtorch2.6" in text  # the layer of Debian's packages says what it is heavy of
    assert re.search(r"transformers 4\.52\.4\s+12 MB", text)
    drawn = browser.value("[...document.querySelectorAll('figure svg')].map("
                          "e => [e.clientWidth, e.clientHeight])")  # fmt: skip
    assert len(drawn) == len(Document().report().tokens)
    assert all(wide > 0 and high > 0 for wide, high in drawn)


def test_it_prints(browser: Browser, page: Path) -> None:
    browser.open(page, width=DESK)
    target = page.with_suffix(".pdf")
    browser.print(target)
    pages = len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))
    assert 2 <= pages <= 6
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.send("Emulation.setEmulatedMedia", media="")


def test_dark_and_light_keep_their_contrast(browser: Browser, page: Path) -> None:
    browser.open(page, width=DESK)
    ink = "getComputedStyle(document.body).color + getComputedStyle(document.body).backgroundColor"
    seen = set()
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.send("Emulation.setEmulatedMedia", features=[feature])
        numbers = [int(each) for each in re.findall(r"\d+", browser.value(ink))]
        assert abs(sum(numbers[:3]) - sum(numbers[3:])) > 450  # of 765
        seen.add(tuple(numbers))
    browser.send("Emulation.setEmulatedMedia", features=[])
    assert len(seen) == 2
