from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from lxml import etree

from airflow_provider_mm7.exceptions import SmilError
from airflow_provider_mm7.media import auto_smil, validate_smil
from airflow_provider_mm7.protocol.parts import Part
from tests.media.samples import SMIL_DOCTYPE

PIC = Part(content_type="image/gif", body=b"", content_id="pic.gif", content_location="pic.gif")
PIC2 = Part(content_type="image/jpeg", body=b"", content_id="two.jpg", content_location="two.jpg")
CLIP = Part(content_type="video/3gpp", body=b"", content_id="clip.3gp", content_location="clip.3gp")
SOUND = Part(content_type="audio/amr", body=b"", content_id="s.amr", content_location="s.amr")
SOUND2 = Part(content_type="audio/mpeg", body=b"", content_id="s.mp3", content_location="s.mp3")
TEXT = Part(content_type="text/plain; charset=us-ascii", body=b"hi", content_id="text_0.txt")
TEXT2 = Part(content_type="text/plain; charset=utf-8", body=b"ho", content_id="text_1.txt")
CARD = Part(content_type="text/vcard; charset=us-ascii", body=b"", content_id="ann.vcf")
ALL = (PIC, PIC2, CLIP, SOUND, SOUND2, TEXT, TEXT2, CARD)


def slides(parts: Sequence[Part]) -> list[list[str]]:
    """What each slide of the automatic SMIL shows, as ``element:cid``."""
    smil = auto_smil(parts)
    assert smil is not None
    root = etree.fromstring(smil.body)
    assert [child.tag for child in root] == ["head", "body"]
    assert all(par.tag == "par" and par.get("dur", "").endswith("s") for par in root[1])
    return [[f"{medium.tag}:{medium.get('src', '').removeprefix('cid:')}" for medium in par] for par in root[1]]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((TEXT,), [["text:text_0.txt"]]),
        ((PIC,), [["img:pic.gif"]]),
        ((TEXT, PIC), [["img:pic.gif", "text:text_0.txt"]]),
        ((TEXT, TEXT2, PIC), [["img:pic.gif", "text:text_0.txt"], ["text:text_1.txt"]]),
        ((TEXT, PIC, CLIP), [["img:pic.gif", "text:text_0.txt"], ["video:clip.3gp"]]),
        ((PIC, SOUND), [["img:pic.gif", "audio:s.amr"]]),
        ((CLIP, SOUND), [["video:clip.3gp"], ["audio:s.amr"]]),
        ((CLIP, PIC, SOUND), [["video:clip.3gp"], ["img:pic.gif", "audio:s.amr"]]),
        ((TEXT, SOUND, SOUND2), [["text:text_0.txt", "audio:s.amr"], ["audio:s.mp3"]]),
        ((SOUND,), [["audio:s.amr"]]),
        ((TEXT, CARD), [["text:text_0.txt"]]),
    ],
)
def test_slides_pair_the_parts_in_order(parts: tuple[Part, ...], expected: list[list[str]]) -> None:
    assert slides(parts) == expected


@pytest.mark.parametrize(
    "parts", [(TEXT,), (PIC,), (SOUND,), (TEXT, PIC), (TEXT, TEXT2, PIC, PIC2, CLIP, SOUND, SOUND2, CARD)]
)
def test_automatic_smil_is_valid_and_lays_out_what_it_uses(parts: tuple[Part, ...]) -> None:
    smil = auto_smil(parts)
    assert smil is not None
    assert validate_smil(smil.body, parts).body == smil.body
    root = etree.fromstring(smil.body)
    used = {medium.get("region") for medium in root.iter("img", "video", "text")}
    regions = {region.get("id"): region for region in root.iter("region")}
    assert set(regions) == used
    assert len(list(root.iter("root-layout"))) == 1
    # The regions tile the screen.
    assert not regions or sum(int(region.get("height", "")) for region in regions.values()) == 320


def test_a_slide_with_sound_or_video_is_not_cut_short() -> None:
    smil = auto_smil((TEXT, TEXT2, CLIP))
    assert smil is not None
    video, still = etree.fromstring(smil.body).iter("par")
    assert (video.get("dur"), still.get("dur")) == ("60s", "8s")


def test_vendor_spelling_does_not_turn_a_video_into_a_picture() -> None:
    assert slides((Part(content_type="image/mpeg", body=b"", content_id="v.mp4"),)) == [["video:v.mp4"]]


def test_nothing_to_show_means_no_smil() -> None:
    assert auto_smil((CARD,)) is None


def test_name_of_the_smil_part_is_its_own() -> None:
    taken = Part(content_type="image/gif", body=b"", content_id="Presentation.smil")
    smil = auto_smil((taken,))
    assert smil is not None
    assert smil.content_type == "application/smil"
    assert (smil.content_id, smil.content_location) == ("presentation_1.smil", "presentation_1.smil")


def body_of(inner: str, *, head: str = "") -> bytes:
    return f"<smil><head>{head}</head><body>{inner}</body></smil>".encode()


VENDOR_SAMPLE = b"""<?xml version="1.0"?>
<smil><!--The SMIL file must start with a <smil> tag and end with the </smil> closing tag.-->
  <head> <!-- SMIL file header, specify meta information in the multimedia presentation-->
    <meta name="author" content="Spoon"/>
  </head>
  <body>
    <par>
      <image src="cid:000001.png"/>
    </par>
  </body>
</smil>
"""


def test_vendors_sample_is_taken_byte_for_byte() -> None:
    png = Part(content_type="image/png", body=b"", content_id="000001.png")
    assert validate_smil(VENDOR_SAMPLE, [png]).body == VENDOR_SAMPLE


LAYOUT = '<layout><root-layout width="1" height="1"/><region id="Image"/></layout>'


@pytest.mark.parametrize(
    "document",
    [
        body_of('<par><img src="cid:pic.gif"/><text src="cid:text_0.txt"/><audio src="cid:s.amr"/></par>'),
        body_of('<par><img src="pic.gif"/></par>'),
        body_of('<par><img src="cid:pic%2Egif"/></par>'),
        body_of('<par><seq><video src="cid:clip.3gp"/></seq></par><par><ref src="cid:pic.gif"/></par>'),
        body_of('<par><img src="cid:pic.gif" region="Image"/></par>', head=LAYOUT),
        body_of('<par><ref src="cid:ann.vcf"/></par>'),
        b'<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><body><par><img src="cid:pic.gif"/></par></body></smil>',
        b"\xef\xbb\xbf" + body_of('<par><img src="cid:pic.gif"/></par>'),
        b'\n<?xml version="1.0" encoding="utf-8"?>' + SMIL_DOCTYPE + body_of('<par><img src="cid:pic.gif"/></par>'),
    ],
)
def test_good_documents_are_taken_as_they_are(document: bytes) -> None:
    smil = validate_smil(document, ALL)
    assert (smil.content_type, smil.body) == ("application/smil", document)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not well-formed"),
        (b"<smil><body>", "not well-formed"),
        (b"<html><body/></html>", "<html>, not <smil>"),
        (b"<smil><head/></smil>", "no <body>"),
        (body_of("<par/>"), "shows nothing"),
        (body_of("<par><img/></par>"), "no src"),
        (body_of('<par><img src="cid:gone.gif"/></par>'), "'cid:gone.gif' names no part"),
        (body_of('<par><img src="http://evil.example/x.gif"/></par>'), "names no part"),
        (body_of('<par><img src="cid:text_0.txt"/></par>'), "is text/plain"),
        (body_of('<par><audio src="cid:clip.3gp"/></par>'), "is video/3gpp"),
        (body_of('<par><img src="cid:pic.gif"/><img src="cid:two.jpg"/></par>'), "more than one image"),
        (body_of('<par><img src="cid:pic.gif"/><video src="cid:clip.3gp"/></par>'), "more than one image or video"),
        (body_of('<par><text src="cid:text_0.txt"/><text src="cid:text_1.txt"/></par>'), "more than one text"),
        (body_of('<par><audio src="cid:s.amr"/><audio src="cid:s.mp3"/></par>'), "more than one audio"),
        (body_of('<par><video src="cid:clip.3gp"/><audio src="cid:s.amr"/></par>'), "audio beside a video"),
        (body_of('<par><img src="cid:pic.gif" region="Photo"/></par>', head=LAYOUT), "region 'Photo'"),
        (body_of("<par>&nbsp;</par>"), "not well-formed"),
        (b"<smil/>" * 20_000, "140000 bytes"),
        ("<smil/>".encode("utf-16"), "not UTF-8"),
        (b'<!DOCTYPE smil [<!ENTITY a "x">]><smil><body>&a;</body></smil>', "internal subset"),
        (b'<!DOCTYPE smil SYSTEM "file:///etc/passwd"><smil><body>&a;</body></smil>', "entity"),
        (b'<!DOCTYPE smil SYSTEM "x" [<!ATTLIST img src CDATA "cid:pic.gif">]><smil/>', "internal subset"),
    ],
)
def test_bad_documents_are_refused_with_the_reason(document: bytes, reason: str) -> None:
    with pytest.raises(SmilError) as caught:
        validate_smil(document, ALL)
    assert reason in caught.value.problem
    assert caught.value.field == "smil"


def test_hostile_documents_end_at_once() -> None:
    levels = "".join(f'<!ENTITY l{n} "&l{n - 1};&l{n - 1};">' for n in range(1, 60))
    bomb = f'<!DOCTYPE smil [<!ENTITY l0 "ha">{levels}]><smil><body>&l59;</body></smil>'.encode()
    deep = b"<smil>" + b"<par>" * 5_000 + b"</par>" * 5_000 + b"</smil>"
    outside = b'<!DOCTYPE smil SYSTEM "http://127.0.0.1:9/x.dtd"><smil><body/></smil>'
    begin = time.monotonic()
    for document in (bomb, deep, outside):
        with pytest.raises(SmilError):
            validate_smil(document, ALL)
    assert time.monotonic() - begin < 1
