"""What an object is, read from its bytes.

The library ``filetype`` knows most binary types; the tables here cover what it gets wrong or does not know for the
types MMS carries (docs/decisions/media-type-detection.rst has the comparison). A name only breaks ties, and makes do
with a shorter signature of the type that it says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import filetype

from airflow_provider_mm7.exceptions import MediaTypeUnknown

#: Registered type -> file extensions, the usual one first. These are the types that are sent, and no others.
SUPPORTED_TYPES: Mapping[str, tuple[str, ...]] = {
    "image/jpeg": ("jpg", "jpeg", "jpe"),
    "image/bmp": ("bmp",),
    "image/gif": ("gif",),
    "image/png": ("png",),
    "image/tiff": ("tif", "tiff"),
    "image/heic": ("heic", "heif"),
    "audio/amr": ("amr",),
    "audio/amr-wb": ("awb",),
    "audio/mpeg": ("mp3",),
    "audio/midi": ("mid", "midi"),
    "audio/wav": ("wav",),
    "audio/basic": ("au", "snd"),
    "audio/mp4": ("m4a",),
    "video/mpeg": ("mpg", "mpeg"),
    "video/mp4": ("mp4", "m4v"),
    "video/3gpp": ("3gp", "3gpp"),
    "video/x-msvideo": ("avi",),
    "video/quicktime": ("mov", "qt"),
    "text/plain": ("txt", "text"),
    "text/calendar": ("ics", "ical"),
    "text/vcard": ("vcf", "vcard"),
    "application/smil": ("smil", "smi"),
}

#: The literal spellings of the vendor's page where they differ from the registered types.
VENDOR_SPELLINGS: Mapping[str, str] = {
    "audio/mpeg": "audio/mpeg3",
    "video/mpeg": "image/mp4",
    "video/mp4": "image/mpeg",
    "video/3gpp": "image/3gpp",
    "video/quicktime": "image/quicktime",
}
_REGISTERED_OF_VENDOR = {vendor: registered for registered, vendor in VENDOR_SPELLINGS.items()}

#: filetype's names -> ours.
_LIBRARY_NAMES = {"audio/x-wav": "audio/wav"}
#: Types that are judged here; the library's word on them is not taken.
_JUDGED_HERE = frozenset(
    {"image/bmp", "audio/mpeg", "audio/aac", "video/mp4", "audio/mp4", "video/3gpp", "video/quicktime", "image/heic"}
)

#: Bytes that decide; every signature stands within them.
_HEAD_BYTES = 8192

_BINARY_EXTENSIONS = frozenset(
    extension
    for name, extensions in SUPPORTED_TYPES.items()
    if not name.startswith(("text/", "application/"))
    for extension in extensions
)

_TEXT_MARKUP = re.compile(
    rb"<(\?xml|!doctype|!--|html|head|body|title|script|svg|error|(?P<smil>smil)[\s/>])", re.IGNORECASE
)
_PROLOGUE = re.compile(rb"(\s+|<\?xml.*?\?>|<!--.*?-->|<!doctype[^>\[]*>)*", re.IGNORECASE | re.DOTALL)
#: C0 controls that no text holds (tab, LF, VT, FF, CR and ESC may).
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")

#: Each of its properties may be in a charset of its own; later versions are in UTF-8.
_OLD_VCARD = re.compile(rb"\s*BEGIN:VCARD[ \t]*\r?\n(?:.*\n)*?VERSION:2\.1\s", re.IGNORECASE)

#: Nothing but the header, with the offset that every writer gives (TIFF 6.0 section 2).
_TIFF_HEADERS = frozenset({b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"})

#: Bytes of a box that may end beyond what is there: the length of a larger one could be four letters of a text.
_LARGEST_CUT_BOX = 0xFFFFFF

#: Sizes of the headers that follow the file header of a bitmap, from OS/2 to BITMAPV5HEADER.
_DIB_HEADER_BYTES = frozenset({12, 40, 52, 56, 64, 108, 124})

#: Brands of ISO 14496-12 and its relatives (mp4ra.org), as they stand in the ftyp box.
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis"})
#: A picture and a sequence of pictures in whatever codec (ISO 23008-12), and the codecs that HEIC is not.
_HEIF_BRANDS = frozenset({b"mif1", b"msf1"})
_OTHER_HEIF_BRANDS = frozenset({b"avif", b"avis", b"avci", b"avcs", b"jpeg", b"jpgs", b"j2ki", b"j2is", b"vvic"})
_MP4_BRANDS = frozenset({b"isom", b"mp41", b"mp42", b"avc1", b"MSNV", b"M4V ", b"M4VH", b"M4VP", b"dash", b"mp71"})
_AUDIO_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P "})
#: The releases and profiles of TS 26.244 (3gp5, 3ge6...); 3g2 is another format.
_3GP_BRAND = re.compile(rb"3g[pegrs]")
#: Boxes that a QuickTime file older than the ftyp box begins with.
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def detect_type(body: bytes, *, name: str = "", declared: str | None = None, source: str = "") -> str:
    """Tell the registered media type of an object.

    :param body: its bytes.
    :param name: its file name; decides only where the bytes leave two readings, or are too few to tell.
    :param declared: type the store keeps; decides likewise, after the name.
    :param source: the object's name for an error; the file name when empty.
    :return: one of :data:`SUPPORTED_TYPES`.
    :raises MediaTypeUnknown: the bytes are of no supported type.
    """
    head = body[:_HEAD_BYTES]
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    hint = extension or _extension_of(declared)
    found = _binary_type(head, body, hint)
    if found is None:
        found = _text_type(body)
        if found == "text/plain" and extension in _BINARY_EXTENSIONS:
            raise _unknown(source or name, f"holds text, not what .{extension} promises")
    if found is None:
        raise _unknown(source or name, "is of no type known to MMS")
    if found not in SUPPORTED_TYPES:
        raise _unknown(source or name, f"is {found}, which MMS does not carry")
    return found


def media_type_on_wire(registered: str, spelling: str) -> str:
    """Spell a registered type as the connection wants it.

    :param registered: type from :func:`detect_type`.
    :param spelling: ``registered`` or ``vendor`` (the literal spellings of the vendor's page).
    """
    if spelling == "vendor":
        return VENDOR_SPELLINGS.get(registered, registered)
    return registered


def registered_type(content_type: str) -> str:
    """Registered type of a Content-Type value, whichever spelling it is in and without its parameters."""
    bare = content_type.partition(";")[0].strip().lower()
    return _REGISTERED_OF_VENDOR.get(bare, bare)


def _binary_type(head: bytes, body: bytes, hint: str) -> str | None:
    """Type by signature; a foreign type by its own name; None when it may be text."""
    found = _own_signature(head, body, hint)
    if found is not None:
        return found
    kind = filetype.guess(head)
    if kind is None or kind.mime in _JUDGED_HERE:
        return None
    mime: str = kind.mime
    return _LIBRARY_NAMES.get(mime, mime)


def _own_signature(head: bytes, body: bytes, hint: str) -> str | None:
    if head[4:8] == b"ftyp":
        return _brand_type(head, hint)
    if head[4:8] in _QUICKTIME_BOXES and _is_box(head, body, hint):
        return "video/quicktime"
    if head.startswith(b"#!AMR\n"):  # RFC 4867 section 5.1
        return "audio/amr"
    if head.startswith(b"#!AMR-WB\n"):
        return "audio/amr-wb"
    if head.startswith(b".snd") and (len(head) >= 24 or hint in SUPPORTED_TYPES["audio/basic"]):
        return "audio/basic"
    if head.startswith(b"ID3") or _is_mpeg_audio(body, hint):
        return "audio/mpeg"
    if head.startswith(b"BM") and _is_bitmap(head, hint):
        return "image/bmp"
    if head in _TIFF_HEADERS:
        return "image/tiff"
    return None


def _brand_type(head: bytes, hint: str) -> str | None:
    """Type of an ISO base media file by its brands; several may be listed, so the name breaks the tie."""
    end = min(int.from_bytes(head[:4]), len(head))
    major = head[8:12]
    brands = {major, *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if major in _HEIC_BRANDS or (major in _HEIF_BRANDS and _is_heic(brands, hint)):
        return "image/heic"
    if major in _AUDIO_BRANDS:
        return "audio/mp4"
    if major == b"qt  ":
        return "video/quicktime"
    has_3gp = any(map(_3GP_BRAND.match, brands))
    if _3GP_BRAND.match(major) or (has_3gp and hint in SUPPORTED_TYPES["video/3gpp"]):
        return "video/3gpp"
    if major in _MP4_BRANDS or re.fullmatch(rb"iso[2-9a-c]", major):
        return "audio/mp4" if hint in SUPPORTED_TYPES["audio/mp4"] else "video/mp4"
    return f"an ISO media file of brand {major.decode('ascii', 'replace').strip()!r}"


def _is_heic(brands: set[bytes], hint: str) -> bool:
    """Whether a HEIF file is HEIC: a brand says so, or its name does and no brand says otherwise."""
    return bool(brands & _HEIC_BRANDS) or (hint in SUPPORTED_TYPES["image/heic"] and not brands & _OTHER_HEIF_BRANDS)


def _is_box(head: bytes, body: bytes, hint: str) -> bool:
    """Whether the first box has a length that fits; under a name of QuickTime it may end beyond what is there."""
    size = int.from_bytes(head[:4])
    if size in (0, 1):
        return True
    return 8 <= size <= max(len(body), _LARGEST_CUT_BOX if hint in SUPPORTED_TYPES["video/quicktime"] else 0)


def _is_mpeg_audio(body: bytes, hint: str) -> bool:
    """Whether frames of MPEG audio begin here (ISO 11172-3 section 2.4.1.3).

    One header is eleven set bits, which chance brings about. Unless the name says MP3, a second one must stand where
    the first one's length says.
    """
    length = _frame_bytes(body[:4])
    if length is None:
        return False
    if hint in SUPPORTED_TYPES["audio/mpeg"]:
        return True
    return len(body) == length or bool(_frame_bytes(body[length : length + 4]))


#: Bit rates of layer III in kbit/s, for MPEG-1 and for MPEG-2 and 2.5.
_BIT_RATES = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
#: Sampling rates by the version bits: 2.5, reserved, 2, 1.
_SAMPLE_RATES = ((11025, 12000, 8000), None, (22050, 24000, 16000), (44100, 48000, 32000))


def _frame_bytes(header: bytes) -> int | None:
    """Length of the frame with this header; 0 in the free format, which does not tell; None when it is no header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0 or header[1] & 0x06 != 0x02:
        return None
    version, bit_rate, sample_rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    rates = _SAMPLE_RATES[version]
    if rates is None or sample_rate == 3 or bit_rate == 15:
        return None
    if bit_rate == 0:
        return 0
    first = version == 3
    kbits = _BIT_RATES[0 if first else 1][bit_rate - 1]
    return (144 if first else 72) * kbits * 1000 // rates[sample_rate] + (header[2] >> 1 & 1)


def _is_bitmap(head: bytes, hint: str) -> bool:
    """Whether a DIB header of a known size follows ``BM``, two letters that any text may begin with.

    Under a bitmap's name the zeros of the file header do.
    """
    dib = int.from_bytes(head[14:18], "little")
    return head[6:10] == bytes(4) and (dib in _DIB_HEADER_BYTES or hint in SUPPORTED_TYPES["image/bmp"])


def is_utf8(body: bytes) -> bool:
    """Whether bytes decode as UTF-8."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text_type(body: bytes) -> str | None:
    """Type of text by how it begins; None when it is no text, or in another charset than UTF-8 and no vCard 2.1."""
    if not is_utf8(body) and not _OLD_VCARD.match(body):
        return None
    if not body or _CONTROLS.intersection(body):
        return None
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    begins = text[:15].upper()
    if begins == b"BEGIN:VCALENDAR":
        return "text/calendar"
    if begins.startswith(b"BEGIN:VCARD"):
        return "text/vcard"
    if _TEXT_MARKUP.match(text):
        prologue = _PROLOGUE.match(text)
        root = _TEXT_MARKUP.match(text, prologue.end() if prologue else 0)
        return "application/smil" if root and root["smil"] else "markup (HTML or XML)"
    return "text/plain"


def _extension_of(declared: str | None) -> str:
    extensions = SUPPORTED_TYPES.get(registered_type(declared or ""))
    return extensions[0] if extensions else ""


def _unknown(source: str, problem: str) -> MediaTypeUnknown:
    return MediaTypeUnknown(
        source or "object",
        problem,
        "Convert it to a type that handsets show: JPEG, PNG, GIF, MP3, AMR, MP4, 3GP or UTF-8 text",
    )
